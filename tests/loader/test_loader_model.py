"""A loader under any sequence of uses, beside a model that is an epoch and a batch number."""

from collections.abc import Iterator

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from image_sets import Batch, as_bytes, expected, random_set
from mnist_sgd import DataLoader


class AnyUse(RuleBasedStateMachine):
    """Whatever a program does with one loader, its batches are those of a model of two integers."""

    @initialize(
        count=st.integers(1, 30),
        batch_size=st.integers(1, 12),
        drop_last=st.booleans(),
        threads=st.sampled_from([1, 2]),
    )
    def make(self, count: int, batch_size: int, drop_last: bool, threads: int) -> None:
        self.loader = DataLoader(
            random_set(count), batch_size, True, drop_last, seed=5, num_threads=threads
        )
        self.batches = len(self.loader)
        self.whole = self.batches * batch_size if drop_last else count
        self.newest: list[int] = [0, 0]  # epoch and batches given: the position of the newest
        self.started = False
        self.running: list[tuple[Iterator[Batch], list[int]]] = []
        self.saved: list[tuple[dict[str, int], list[int]]] = []

    @rule()
    def begin(self) -> None:
        if self.started:
            self.newest = [self.newest[0] + 1, 0]
        self.started = True
        self.running.append((iter(self.loader), self.newest))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), wanted=st.integers(1, 5))
    def take(self, data: st.DataObject, wanted: int) -> None:
        index = data.draw(st.integers(0, len(self.running) - 1))
        iterator, position = self.running[index]
        for _ in range(wanted):
            epoch, given = position
            batch = next(iterator, None)
            if batch is None:
                assert given == self.batches
                position[:] = epoch + 1, 0
                self.started = self.started and position is not self.newest
                del self.running[index]
                break
            assert as_bytes(batch) == expected(self.loader, epoch)[given]
            position[1] += 1
        self.stands()

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        del self.running[data.draw(st.integers(0, len(self.running) - 1))]

    @rule()
    def save(self) -> None:
        self.saved.append((self.loader.state_dict(), list(self.newest)))

    @precondition(lambda self: self.saved)
    @rule(data=st.data())
    def load(self, data: st.DataObject) -> None:
        state, position = data.draw(st.sampled_from(self.saved))
        self.loader.load_state_dict(state)
        self.newest, self.started = list(position), False
        self.stands()

    @rule(epoch=st.integers(0, 5))
    def jump(self, epoch: int) -> None:
        self.loader.set_epoch(epoch)
        self.newest, self.started = [epoch, 0], False

    def stands(self) -> None:
        epoch, given = self.newest
        state = self.loader.state_dict()
        assert state["epoch"] == epoch
        assert state["samples_seen"] == min(given * self.loader.batch_size, self.whole)


AnyUse.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
test_any_use_of_one_loader_gives_the_batches_of_the_model = AnyUse.TestCase
