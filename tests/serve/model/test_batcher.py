"""Batches: every answer goes to its request, whatever comes together, waits, leaves or fails."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.typing import NDArray

from mnist_sgd_serve.model.batcher import Batcher, InferenceError
from mnist_sgd_serve.protocol.errors import ClientDisconnected, DeadlineExceeded, QueueFull

Images = NDArray[np.uint8]


def images(first: int, count: int = 1) -> Images:
    """Images that tell their number, by which a model can answer."""
    numbers = np.arange(first, first + count, dtype=np.uint32)
    batch = np.zeros((count, 28, 28), np.uint8)
    batch.reshape(count, 784)[:, :4] = numbers.view(np.uint8).reshape(count, 4)
    return batch


DEADLINE = 3600.0
"""Seconds that a request may wait, of which no test comes near by itself."""


def numbers(batch: Images) -> NDArray[np.float32]:
    first = np.ascontiguousarray(batch.reshape(len(batch), 784)[:, :4])
    return first.view(np.uint32)[:, 0].astype(np.float32)


@dataclass
class Model:
    """Answers an image with its number, and remembers what it ran."""

    runs: list[list[float]] = field(default_factory=list)
    seen: list[tuple[int, int]] = field(default_factory=list)
    queued: list[int] = field(default_factory=lambda: [0])
    waited: list[float] = field(default_factory=list)
    next: "Model | None" = None  # takes its place

    @property
    def current(self) -> "Model":
        return self.next or self

    def run(self, batch: Images) -> NDArray[np.float32]:
        self.runs.append(numbers(batch).tolist())
        return numbers(batch)

    def on_batch(self, requests: int, count: int, seconds: float, queued: float) -> None:
        assert seconds >= 0
        self.waited.append(queued)
        self.seen.append((requests, count))

    def batcher(self, **limits: Any) -> "Batcher[Model]":
        given = {"max_batch_size": 8, "max_queue_size": 100, "queue_timeout": DEADLINE} | limits
        return Batcher(
            lambda: self.current,
            on_batch=self.on_batch,
            on_queue_size=self.queued.append,
            **given,
        )


async def answer(
    batcher: Batcher[Model], batch: Images, is_disconnected: Callable[[], bool]
) -> NDArray[np.float32]:
    """The answer to a request, which must be by the model that says so."""
    model, probabilities = await batcher.infer(batch, is_disconnected)
    assert set(probabilities.tolist()) <= {number for run in model.runs for number in run}
    return probabilities


def stays() -> bool:
    return False


async def gather(*requests: Coroutine[Any, Any, Any]) -> list[Any]:
    return list(await asyncio.gather(*requests, return_exceptions=True))


def outcomes(results: list[Any]) -> list[Any]:
    """Lists of numbers, and the classes of what was raised."""
    return [type(one) if isinstance(one, BaseException) else one.tolist() for one in results]


def test_a_request_that_comes_alone_is_run_where_it_stands() -> None:
    model = Model()
    batcher = model.batcher()

    async def go() -> None:
        for number in range(3):
            request = answer(batcher, images(number), stays)
            with pytest.raises(StopIteration) as answered:
                request.send(None)  # no wait between question and answer
            assert answered.value.value.tolist() == [number]
            await asyncio.sleep(0)

    asyncio.run(go())
    assert model.seen == [(1, 1)] * 3


def test_requests_that_come_together_share_runs_up_to_the_limit() -> None:
    model = Model()
    batcher = model.batcher(max_batch_size=4)
    results = asyncio.run(gather(*(answer(batcher, images(n), stays) for n in range(11))))
    assert outcomes(results) == [[n] for n in range(11)]
    assert [len(run) for run in model.runs] == [1, 4, 4, 2]
    assert batcher.waiting == 0


def test_a_request_that_is_too_large_for_a_run_is_run_in_pieces_and_lets_others_between() -> None:
    model = Model()
    batcher = model.batcher(max_batch_size=4)
    counts = [1, 3, 3, 9, 1, 1]
    firsts = np.cumsum([0, *counts]).tolist()
    results = asyncio.run(
        gather(
            *(answer(batcher, images(f, n), stays) for f, n in zip(firsts, counts, strict=False))
        )
    )
    assert outcomes(results) == [
        list(range(f, f + n)) for f, n in zip(firsts, counts, strict=False)
    ]
    large = list(range(7, 16))
    assert model.runs == [[0], [1, 2, 3], large[:4], [4, 5, 6, 16], large[4:8], [17], large[8:]]
    assert model.queued[-3:] == [2, 1, 0]


def test_the_wait_of_every_request_and_piece_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Model):
        now = 0.0

        def run(self, batch: Images) -> NDArray[np.float32]:
            self.now += 1
            return super().run(batch)

    model = Slow()
    clock = SimpleNamespace(monotonic=lambda: model.now)
    monkeypatch.setattr("mnist_sgd_serve.model.batcher.time", clock)
    batcher = model.batcher(max_batch_size=2)
    requests = [images(0), images(1), images(2), images(3), images(4, 4)]
    asyncio.run(gather(*(answer(batcher, one, stays) for one in requests)))
    assert model.runs == [[0], [1, 2], [4, 5], [3], [6, 7]]
    assert model.waited == [0, 0, 1, 2, 1]


def test_a_large_request_gives_the_loop_a_turn_after_each_piece() -> None:
    """Also one that comes alone."""
    model = Model()
    batcher = model.batcher(max_batch_size=10)

    async def go() -> list[int]:
        asked = asyncio.ensure_future(answer(batcher, images(0, 95), stays))
        seen = []
        while not asked.done():
            seen.append(len(model.runs))
            await asyncio.sleep(0)
        assert (await asked).tolist() == list(range(95))
        return seen

    turns = asyncio.run(go())
    assert set(turns) == set(range(11))
    assert [len(run) for run in model.runs] == [10] * 9 + [5]


def test_a_small_request_waits_for_one_piece_of_a_large_one_and_no_more() -> None:
    model = Model()
    batcher = model.batcher(max_batch_size=10, max_queue_size=1000)

    async def go() -> list[int]:
        large = asyncio.ensure_future(answer(batcher, images(0, 500), stays))
        while not model.runs:
            await asyncio.sleep(0)
        waits = []
        for number in range(500, 510):
            before = len(model.runs)
            assert (await answer(batcher, images(number), stays)).tolist() == [number]
            waits.append(len(model.runs) - before)
        assert not large.done()
        await large
        return waits

    assert max(asyncio.run(go())) <= 3  # a piece that it finds, its own, one until it is told


def test_a_small_request_waits_for_one_piece_however_many_large_ones_are_there() -> None:
    model = Model()
    batcher = model.batcher(max_batch_size=10, max_queue_size=1000)

    async def go() -> None:
        large = [
            asyncio.ensure_future(answer(batcher, images(100 * n, 100), stays)) for n in range(10)
        ]
        await asyncio.sleep(0)
        small = asyncio.ensure_future(answer(batcher, images(1000), stays))
        await asyncio.sleep(0)
        before = len(model.runs)
        assert (await small).tolist() == [1000]
        assert len(model.runs) <= before + 2
        assert not any(one.done() for one in large)
        assert [one.tolist() for one in await asyncio.gather(*large)] == [
            list(range(100 * n, 100 * n + 100)) for n in range(10)
        ]

    asyncio.run(go())


def test_a_large_request_has_every_second_run_however_many_small_ones_come() -> None:
    model = Model()
    batcher = model.batcher(max_batch_size=4, max_queue_size=1000)

    async def go() -> None:
        small = [asyncio.ensure_future(answer(batcher, images(n), stays)) for n in range(100)]
        large = asyncio.ensure_future(answer(batcher, images(100, 20), stays))
        await large
        assert sum(not one.done() for one in small) >= 75
        await asyncio.gather(*small)

    asyncio.run(go())
    assert [run[0] >= 100 for run in model.runs[1:11]] == [False, True] * 5


def test_a_large_request_that_finds_no_room_keeps_no_small_one_out() -> None:
    model = Model()
    batcher = model.batcher(max_batch_size=4, max_queue_size=100)

    async def go() -> list[Any]:
        large = [
            asyncio.ensure_future(answer(batcher, images(100 * n, 100), stays)) for n in range(3)
        ]
        await asyncio.sleep(0)
        batcher.check_capacity()
        small = [asyncio.ensure_future(answer(batcher, images(n), stays)) for n in range(300, 400)]
        await asyncio.sleep(0)
        batcher.check_capacity()
        return await asyncio.gather(*large, *small, return_exceptions=True)

    results = outcomes(asyncio.run(go()))
    assert results[:3] == [list(range(100)), QueueFull, QueueFull]
    assert results[3:] == [[n] for n in range(300, 400)]
    assert batcher.waiting == model.queued[-1] == 0


def test_small_requests_that_find_no_room_keep_no_large_one_from_its_end() -> None:
    model = Model()
    batcher = model.batcher(max_batch_size=4, max_queue_size=8)
    results = asyncio.run(
        gather(
            *(answer(batcher, images(n), stays) for n in range(20)),
            answer(batcher, images(20, 30), stays),
        )
    )
    assert outcomes(results) == [
        *([n] for n in range(9)),
        *[QueueFull] * 11,
        list(range(20, 50)),
    ]


def test_a_large_request_is_dropped_between_pieces_when_its_client_leaves() -> None:
    model = Model()
    batcher = model.batcher(max_batch_size=2)

    async def go() -> None:
        large = asyncio.ensure_future(answer(batcher, images(0, 9), lambda: len(model.runs) == 2))
        with pytest.raises(ClientDisconnected):
            await large

    asyncio.run(go())
    assert model.runs == [[0, 1], [2, 3]]
    assert batcher.waiting == model.queued[-1] == 0


def test_a_large_request_that_has_begun_in_time_is_run_to_its_end() -> None:
    model = Model()
    batcher = model.batcher(max_batch_size=2)

    async def go() -> list[float]:
        large = asyncio.ensure_future(answer(batcher, images(0, 6), stays))
        while not model.runs:
            await asyncio.sleep(0)
        batcher.queue_timeout = -1.0
        return [float(one) for one in await large]

    assert asyncio.run(go()) == list(range(6))


def test_all_pieces_of_a_request_are_run_by_the_model_of_the_first() -> None:
    model, other = Model(), Model()
    batcher = model.batcher(max_batch_size=2)

    async def go() -> list[Any]:
        large = asyncio.ensure_future(answer(batcher, images(0, 5), stays))
        while not model.runs:
            await asyncio.sleep(0)
        model.next = other
        return await gather(answer(batcher, images(5), stays), asyncio.wait_for(large, None))

    assert outcomes(asyncio.run(go())) == [[5], list(range(5))]
    assert [len(run) for run in model.runs] == [2, 2, 1]
    assert other.runs == [[5]]


def test_a_batch_is_run_and_answered_by_the_model_that_is_current_then() -> None:
    model, other = Model(), Model()
    batcher = model.batcher()

    async def go() -> list[Any]:
        asked = [asyncio.ensure_future(batcher.infer(images(n), stays)) for n in range(3)]
        await asyncio.sleep(0)
        model.next = other  # while two of them wait
        return [(by, given.tolist()) for by, given in await asyncio.gather(*asked)]

    by = asyncio.run(go())
    assert [given for _, given in by] == [[0], [1], [2]]
    assert [one is other for one, _ in by] == [False, True, True]
    assert (model.runs, other.runs) == ([[0]], [[1, 2]])


def test_a_model_that_fails_on_a_piece_fails_the_request_and_leaves_nothing() -> None:
    class Fails(Model):
        def run(self, batch: Images) -> NDArray[np.float32]:
            if len(batch) == 2 and len(self.runs) == 2:
                raise ValueError("broken")
            return super().run(batch)

    model = Fails()
    batcher = model.batcher(max_batch_size=2)
    results = asyncio.run(
        gather(answer(batcher, images(0, 9), stays), answer(batcher, images(9), stays))
    )
    assert outcomes(results) == [InferenceError, [9]]
    assert batcher.waiting == model.queued[-1] == 0


def test_a_full_queue_refuses_and_what_waits_is_answered() -> None:
    model = Model()
    batcher = model.batcher(max_queue_size=3)
    results = asyncio.run(gather(*(answer(batcher, images(n), stays) for n in range(6))))
    assert outcomes(results) == [[0], [1], [2], [3], QueueFull, QueueFull]


def test_a_queue_that_was_full_refuses_unread_requests_until_half_of_it_has_been_run() -> None:
    model = Model()
    batcher = model.batcher(max_batch_size=2, max_queue_size=8)

    def room() -> bool:
        try:
            batcher.check_capacity()
        except QueueFull:
            return False
        return True

    async def go() -> list[tuple[int, bool]]:
        asked = [asyncio.ensure_future(answer(batcher, images(n), stays)) for n in range(9)]
        await asyncio.sleep(0)
        assert (batcher.waiting, room()) == (8, True)
        with pytest.raises(QueueFull):
            await answer(batcher, images(9), stays)
        seen = [(batcher.waiting, room())]
        while batcher.waiting:
            await asyncio.sleep(0)
            seen.append((batcher.waiting, room()))
        await asyncio.gather(*asked)
        return list(dict.fromkeys(seen))

    steps = [(8, False), (6, False), (4, True), (2, True), (0, True)]
    assert asyncio.run(go()) == steps


def test_who_asks_is_told_how_many_images_wait() -> None:
    model = Model()
    batcher = model.batcher(max_batch_size=4)
    asyncio.run(gather(*(answer(batcher, images(n), stays) for n in range(7))))
    assert model.queued == [0, 1, 2, 3, 4, 5, 6, 2, 0]


def test_an_empty_queue_takes_a_request_that_is_larger_than_it() -> None:
    model = Model()
    batcher = model.batcher(max_queue_size=3)
    results = asyncio.run(
        gather(
            answer(batcher, images(0), stays),
            answer(batcher, images(1, 20), stays),
            answer(batcher, images(21, 20), stays),
            answer(batcher, images(41, 8), stays),
            answer(batcher, images(49), stays),
        )
    )
    assert outcomes(results) == [
        [0],
        list(range(1, 21)),
        QueueFull,
        list(range(41, 49)),
        QueueFull,
    ]


def test_a_request_whose_client_has_gone_costs_no_run() -> None:
    model = Model()
    batcher = model.batcher()
    clients = [stays, stays, lambda: True, stays]
    results = asyncio.run(gather(*(answer(batcher, images(n), c) for n, c in enumerate(clients))))
    assert outcomes(results) == [[0], [1], ClientDisconnected, [3]]
    assert model.runs == [[0], [1, 3]]
    assert batcher.waiting == 0


def test_a_request_past_its_deadline_costs_no_run() -> None:
    model = Model()
    batcher = model.batcher(queue_timeout=-1.0)  # whatever the clock's steps are
    results = asyncio.run(gather(*(answer(batcher, images(n), stays) for n in range(3))))
    assert outcomes(results) == [[0], DeadlineExceeded, DeadlineExceeded]
    assert model.runs == [[0]]


def test_a_broken_model_fails_each_request_with_its_cause_and_the_next_run_is_new() -> None:
    model = Model()
    batcher = model.batcher()

    class Broken(Model):
        def run(self, batch: Images) -> NDArray[np.float32]:
            return numbers(batch) // 0

    async def go() -> list[Any]:
        model.next = Broken()
        with np.errstate(all="raise"):
            broken = await gather(*(answer(batcher, images(n + 1), stays) for n in range(3)))
        model.next = None
        return broken + await gather(*(answer(batcher, images(n), stays) for n in range(3)))

    results = asyncio.run(go())
    assert outcomes(results) == [FloatingPointError, InferenceError, InferenceError, [0], [1], [2]]
    assert isinstance(results[1].__cause__, FloatingPointError)
    assert results[1] is not results[2]


def test_a_model_that_fails_to_join_the_images_fails_the_requests() -> None:
    batcher = Model().batcher()
    wrong = np.zeros((1, 5, 5), np.uint8)
    results = asyncio.run(
        gather(*(answer(batcher, one, stays) for one in (images(0), images(1), wrong)))
    )
    assert outcomes(results) == [[0], InferenceError, InferenceError]


request_plans = st.lists(
    st.tuples(
        st.integers(1, 6),  # images
        st.integers(0, 4),  # turns of the event loop before it comes
        st.sampled_from(["stays", "stays", "stays", "leaves", "cancels", "late"]),
    ),
    max_size=40,
)


@given(request_plans, st.integers(1, 12), st.integers(1, 30))
def test_every_answer_goes_to_its_request(
    plans: list[tuple[int, int, str]], max_batch_size: int, max_queue_size: int
) -> None:
    model = Model()
    batcher = model.batcher(max_batch_size=max_batch_size, max_queue_size=max_queue_size)
    firsts = np.cumsum([0, *(count for count, _, _ in plans)]).tolist()

    async def ask(first: int, count: int, turns: int, fate: str) -> Any:
        for _ in range(turns):
            await asyncio.sleep(0)
        asked = asyncio.ensure_future(
            answer(batcher, images(first, count), (lambda: True) if fate == "leaves" else stays)
        )
        await asyncio.sleep(0)
        if fate == "cancels":
            asked.cancel()
        if fate == "late":
            for waiting in (*batcher._small, *batcher._large):
                if waiting.images[0, 0, :4].tobytes() == images(first)[0, 0, :4].tobytes():
                    waiting.since -= DEADLINE + 1
        return await asked

    async def go() -> list[Any]:
        plan = zip(firsts, plans, strict=False)
        return await gather(*(ask(first, *rest) for first, rest in plan))

    results = asyncio.run(go())
    ran = {number for run in model.runs for number in run}
    for first, (count, _, fate), result in zip(firsts, plans, results, strict=False):
        own = set(range(first, first + count))
        if isinstance(result, BaseException):
            allowed = {
                "stays": (QueueFull,),
                "leaves": (QueueFull, ClientDisconnected),
                "cancels": (QueueFull, asyncio.CancelledError),
                "late": (QueueFull, DeadlineExceeded),
            }
            assert isinstance(result, allowed[fate]), result
            if not isinstance(result, asyncio.CancelledError):  # it may have been run before
                assert not own & ran
        else:
            assert result.tolist() == sorted(own)
            assert own <= ran
    assert batcher.waiting == model.queued[-1] == 0
    batcher.check_capacity()
    assert not batcher._small
    assert not batcher._large
    assert batcher._small.images == batcher._large.images == 0
    assert all(len(run) <= max_batch_size for run in model.runs)
    assert sum(count for _, count in model.seen) == sum(map(len, model.runs))
