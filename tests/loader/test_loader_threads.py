"""Loops that are broken off, threads, forks and the limits of the machine leave nothing behind."""

import gc
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, islice

import numpy as np
import pytest
import torch

from image_sets import Bytes, as_bytes, expected, random_set, shuffled, taken
from memory import address_space
from mnist_sgd import DataLoader, _core
from mnist_sgd.data import ImageSet
from processes import gone, in_child, loader_threads
from waiting import PATIENCE

any_threads = pytest.mark.parametrize("num_threads", [1, 2, 4])


@contextmanager
def no_thread_left() -> Iterator[Callable[[], int]]:
    """Gives a function that counts the threads of loaders; at both ends none may be left."""
    gc.collect()
    assert gone(loader_threads), loader_threads()
    yield lambda: len(loader_threads())
    assert gone(loader_threads), loader_threads()


@any_threads
def test_threads_run_while_an_epoch_does_and_end_with_it(num_threads: int) -> None:
    loader = shuffled(num_threads=num_threads)
    with no_thread_left() as begun:
        assert begun() == 0
        for _ in loader:
            assert begun() == num_threads - 1


@any_threads
def test_a_break_ends_the_threads(num_threads: int) -> None:
    loader = shuffled(num_threads=num_threads)
    with no_thread_left():
        for _ in range(50):
            for _ in loader:
                break


@any_threads
def test_an_exception_in_the_loop_ends_the_threads_and_the_loader_goes_on(num_threads: int) -> None:
    loader = shuffled(num_threads=num_threads)

    def fail() -> None:
        for xb, _ in loader:
            len(xb) / 0

    with no_thread_left():
        for _ in range(50):
            with pytest.raises(ZeroDivisionError):
                fail()
        gc.collect()  # pytest's record of the exception holds the loop
    assert taken(loader) == expected(loader, 50)


@any_threads
def test_closing_an_iterator_ends_the_threads(num_threads: int) -> None:
    loader = shuffled(num_threads=num_threads)
    with no_thread_left() as begun:
        batches = iter(loader)
        next(batches)
        assert begun() == num_threads - 1
        batches.close()
        assert next(batches, None) is None


@any_threads
def test_ctrl_c_at_any_moment_ends_the_threads_and_the_loader_goes_on(num_threads: int) -> None:
    loader = shuffled(num_threads=num_threads)

    def interrupted_again_and_again() -> tuple[bool, int, list[Bytes]]:
        """Until twenty epochs were broken off, later and later: the slowest machine gets there."""
        signal.signal(signal.SIGPROF, signal.default_int_handler)
        broken_off = rounds = 0
        while broken_off < 20:
            rounds += 1
            try:
                # And once more, for an exception in a destructor is lost there.
                signal.setitimer(signal.ITIMER_PROF, 0.0005 + rounds * 0.0002, 0.1)
                while True:
                    for _ in loader:
                        pass
            except KeyboardInterrupt:
                signal.setitimer(signal.ITIMER_PROF, 0)
            broken_off += loader.state_dict()["samples_seen"] > 0
        batches = taken(loader)
        return gone(loader_threads), loader.state_dict()["epoch"] - 1, batches

    ended, epoch, batches = in_child(interrupted_again_and_again)
    assert ended
    assert batches == expected(loader, epoch)


def core_epoch(num_threads: int, batch_size: int = 8) -> _core.Epoch:
    data = random_set(400)
    return _core.Loader(
        data.images,
        data.labels,
        flatten=True,
        batch_size=batch_size,
        shuffle=True,
        drop_last=False,
        seed=7,
        rank=0,
        world_size=1,
        num_threads=num_threads,
        mean=0.0,
        std=1.0,
        dtype="float32",
        exchange=getattr(torch.Tensor, "__dlpack_c_exchange_api__", torch.utils.dlpack.from_dlpack),
    ).epoch(0, 0)


def run_together(work: Callable[[], None], workers: int) -> None:
    crew = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in crew), "a thread waits for a batch for ever"


@any_threads
def test_threads_that_share_an_epoch_get_each_batch_once_and_all_come_home(
    num_threads: int,
) -> None:
    def shared_by(workers: int) -> list[bytes]:
        epoch = core_epoch(num_threads)
        got: list[bytes] = []
        run_together(lambda: got.extend(xb.numpy().tobytes() for xb, _ in epoch), workers)
        return sorted(got)

    alone = shared_by(1)
    for _ in range(20):
        assert shared_by(4) == alone


@any_threads
def test_threads_with_their_own_iterators_over_one_loader_get_whole_epochs(
    num_threads: int,
) -> None:
    loader = shuffled(num_threads=num_threads)
    iterators = [iter(loader) for _ in range(4)]
    numbers = count()
    got: dict[int, list[Bytes]] = {}

    def work() -> None:
        number = next(numbers)
        got[number] = taken(iterators[number])

    run_together(work, workers=4)
    assert got == {epoch: expected(loader, epoch) for epoch in range(4)}


@any_threads
def test_a_fork_at_any_batch_goes_on_in_both_processes(num_threads: int) -> None:
    loader = shuffled(128, num_threads=num_threads)
    first, second = expected(loader, 0), expected(loader, 1)
    batches = iter(loader)
    held = [next(batches)]
    for given in range(1, len(first) + 1):

        def go_on() -> tuple[list[Bytes], dict[str, int], list[Bytes], bool]:
            held.clear()  # what the parent holds is let go here
            rest = taken(batches)
            state = loader.state_dict()
            return rest, state, taken(loader), gone(loader_threads)

        rest, state, later, ended = in_child(go_on)
        assert rest == first[given:]
        assert (state["epoch"], state["samples_seen"]) == (1, 0)
        assert later == second
        assert ended
        assert loader.state_dict()["samples_seen"] == 8 * given
        held.extend(batch for batch in [next(batches, None)] if batch)
    assert taken(held) == first
    assert taken(loader) == second


@any_threads
def test_a_grandchild_goes_on_too(num_threads: int) -> None:
    loader = shuffled(num_threads=num_threads)
    wanted = expected(loader, 0)
    batches = iter(loader)
    parts = [as_bytes(next(batches))]

    def child() -> tuple[list[Bytes], list[Bytes]]:
        parts.append(as_bytes(next(batches)))
        return in_child(lambda: parts + taken(batches)), parts + taken(batches)

    assert in_child(child) == (wanted, wanted)
    assert parts + taken(batches) == wanted


@any_threads
def test_a_child_that_only_lets_go_ends(num_threads: int) -> None:
    loader = shuffled(num_threads=num_threads)
    batches = iter(loader)
    held = [next(batches)]

    def let_go() -> bool:
        nonlocal batches, loader
        held.clear()
        del batches, loader
        return True

    assert in_child(let_go)


def test_threads_that_the_machine_does_not_have_are_an_error_and_no_end() -> None:
    loader = shuffled(num_threads=256)
    wanted = expected(loader, 0)  # an iterator that could not begin begins no epoch

    def without_room_for_stacks() -> tuple[str, bool, list[Bytes]]:
        with address_space(64 * 2**20), pytest.raises(RuntimeError) as caught:
            next(iter(loader))
        return str(caught.value), gone(loader_threads), taken(loader)

    text, ended, later = in_child(without_room_for_stacks)
    assert re.fullmatch(
        r"thread \d+ of num_threads 256 could not be started \(Resource temporarily unavailable\); "
        "choose a smaller num_threads",
        text,
    )
    assert ended
    assert later == wanted


@pytest.mark.parametrize("num_threads", [1, 2])
def test_memory_that_runs_out_is_an_error_and_the_loader_goes_on(num_threads: int) -> None:
    """A batch of 38 MB is beyond what malloc keeps: each takes from the address space."""
    blank = ImageSet(
        np.zeros((300_000, 28, 28), np.uint8), np.zeros(300_000, np.uint8), ("no", "yes")
    )
    loader = DataLoader(blank, 12_000, mean=-1.0, num_threads=num_threads)

    def hold_all() -> tuple[int, bool, list[bool]]:
        batches = iter(loader)
        held = [next(batches)]
        with address_space(64 * 2**20), pytest.raises(MemoryError):
            held.extend(batches)
        number = len(held)
        del batches, held
        good = [bool(np.all(xb.numpy() == 1)) for xb, _ in islice(loader, 3)]
        return number, gone(loader_threads), good

    number, ended, good = in_child(hold_all)
    assert number < len(loader)
    assert ended
    assert good == [True] * 3
