"""A loop stays awake for as long as it is told to, and no longer."""

import asyncio
import selectors
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import onnx_models
from mnist_sgd_serve.busy_poll import BusyPoll
from server import INFER, RAW, running


class Selector(selectors.DefaultSelector):
    """Remembers how long each turn of a loop was ready to wait, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[tuple[float, float | None]] = []

    def select(self, timeout: float | None = None) -> Any:
        self.waits.append((time.monotonic(), timeout))
        return super().select(timeout)


@pytest.fixture
def selector() -> Iterator[Selector]:
    with Selector() as selector:
        yield selector


def sleeps(selector: Selector, poll: BusyPoll, calls: int, seconds: float) -> tuple[float, int]:
    """After which time a loop sleeps first, and how many turns it had until then.

    Args:
        selector: of the loop.
        poll: is called upon at the start.
        calls: so many times.
        seconds: that the loop runs.
    """

    async def task() -> None:
        for _ in range(calls):
            poll.again()
        await asyncio.sleep(seconds)

    start = time.monotonic()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        runner.run(task())
    for turns, (moment, timeout) in enumerate(selector.waits):
        if timeout is None or timeout > 0:
            return moment - start, turns
    raise AssertionError("it never slept")


def test_a_loop_stays_awake_for_the_time_and_sleeps_after_it(selector: Selector) -> None:
    slept_after, turns = sleeps(selector, BusyPoll(0.05), calls=1, seconds=0.2)
    assert 0.05 <= slept_after < 0.2
    assert turns > 10


def test_with_no_time_a_loop_sleeps_as_ever(selector: Selector) -> None:
    assert sleeps(selector, BusyPoll(0), calls=3, seconds=0.01)[1] <= 2


def test_to_ask_again_adds_no_second_turn(selector: Selector) -> None:
    class Loop(asyncio.SelectorEventLoop):
        scheduled = 0

        def call_soon(self, *args: Any, **kwargs: Any) -> asyncio.Handle:  # type: ignore[override]
            Loop.scheduled += 1
            return super().call_soon(*args, **kwargs)

    async def calls() -> int:
        poll, before = BusyPoll(0.05), Loop.scheduled
        for _ in range(100):
            poll.again()
        return Loop.scheduled - before

    with asyncio.Runner(loop_factory=lambda: Loop(selector)) as runner:
        assert runner.run(calls()) == 1


@pytest.mark.parametrize(("seconds", "awake"), [("0.01", True), ("0", False)])
def test_a_server_stays_awake_after_a_lone_request(
    tmp_path: Path, seconds: str, awake: bool
) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(onnx_models.content(onnx_models.linear()))
    with running(model, "--poll-seconds", seconds) as server, server.connect() as client:
        for _ in range(10):
            assert client.ask("POST", INFER, bytes(784), RAW).status == 200
        before = server.processor_seconds()
        for _ in range(40):
            assert client.ask("POST", INFER, bytes(784), RAW).status == 200
            time.sleep(0.02)
        used = server.processor_seconds() - before
    assert (used > 0.15) == awake  # 40 times 10 ms, or 40 answers


def test_a_server_that_nobody_asks_sleeps(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(onnx_models.content(onnx_models.linear()))
    with running(model) as server:
        server.check_good()
        time.sleep(0.2)
        before = server.processor_seconds()
        time.sleep(1)
        assert server.processor_seconds() - before < 0.1
