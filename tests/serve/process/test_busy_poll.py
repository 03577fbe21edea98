"""A loop stays awake for as long as it is told to, and no longer."""

import asyncio
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import onnx_models
from mnist_sgd_serve.process import busy_poll
from mnist_sgd_serve.process.busy_poll import BusyPoll
from server import INFER, RAW, Server, running

TICK = 0.001
"""Seconds that a turn of the loop takes here, by a clock that nothing else moves."""


class Clock:
    """In the place of the module `time`, for a loop and its poll."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class Selector(selectors.DefaultSelector):
    """Remembers how long each turn of a loop was ready to wait, and waits by its clock alone."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.waits: list[tuple[float, float | None]] = []

    def select(self, timeout: float | None = None) -> Any:
        self.waits.append((self.clock.now, timeout))
        self.clock.now += max(TICK, timeout or 0)
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    """Goes by the clock of its selector, and counts the turns that were asked for."""

    def __init__(self, selector: Selector) -> None:
        super().__init__(selector)
        self.clock, self.scheduled = selector.clock, 0

    def time(self) -> float:
        return self.clock.now

    def call_soon(self, *args: Any, **kwargs: Any) -> asyncio.Handle:  # type: ignore[override]
        self.scheduled += 1
        return super().call_soon(*args, **kwargs)


@pytest.fixture
def selector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Selector]:
    clock = Clock()
    monkeypatch.setattr(busy_poll, "time", clock)
    with Selector(clock) as selector:
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
            poll.start()
        await asyncio.sleep(seconds)

    start = selector.clock.now
    with asyncio.Runner(loop_factory=lambda: Loop(selector)) as runner:
        runner.run(task())
    for turns, (moment, timeout) in enumerate(selector.waits):
        if timeout is None or timeout > 0:
            return moment - start, turns
    raise AssertionError("it never slept")


def test_a_loop_stays_awake_for_the_time_and_sleeps_after_it(selector: Selector) -> None:
    slept_after, turns = sleeps(selector, BusyPoll(0.05), calls=1, seconds=0.2)
    assert slept_after == pytest.approx(0.05, abs=2 * TICK)
    assert turns == round(slept_after / TICK)


def test_with_no_time_a_loop_sleeps_as_ever(selector: Selector) -> None:
    assert sleeps(selector, BusyPoll(0), calls=3, seconds=0.01)[1] <= 2


def test_to_ask_again_keeps_it_awake_from_then_on(selector: Selector) -> None:
    """Half way through the first time, so that it is awake for one and a half."""

    async def task() -> None:
        poll = BusyPoll(0.04)
        poll.start()
        await asyncio.sleep(0.02)
        poll.start()
        await asyncio.sleep(0.2)

    start = selector.clock.now
    with asyncio.Runner(loop_factory=lambda: Loop(selector)) as runner:
        runner.run(task())
    first = next(moment for moment, timeout in selector.waits if timeout is None or timeout > 0)
    assert first - start == pytest.approx(0.06, abs=3 * TICK)


def test_to_ask_again_adds_no_second_turn(selector: Selector) -> None:
    async def calls() -> int:
        poll, loop = BusyPoll(0.05), asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        before = loop.scheduled
        for _ in range(100):
            poll.start()
        return loop.scheduled - before

    with asyncio.Runner(loop_factory=lambda: Loop(selector)) as runner:
        assert runner.run(calls()) == 1


# The server.

NOTING = """
import sys
from mnist_sgd_serve import command, server

class Noting:
    def __init__(self, seconds):
        print("stays awake for", seconds, flush=True)

    def start(self):
        print("again", flush=True)

server.BusyPoll = Noting
sys.exit(command.main(sys.argv[1:]))
"""


def test_a_server_stays_awake_after_lone_requests_and_for_the_time_of_the_flag(
    tmp_path: Path,
) -> None:
    """It says so itself here: the processor's time would depend on what else the machine does."""
    model = tmp_path / "model.onnx"
    model.write_bytes(onnx_models.content(onnx_models.linear()))
    line = [sys.executable, "-c", NOTING, str(model), "--port", "0", "--shutdown-delay", "0"]
    with (tmp_path / "output").open("w+b") as output:
        process = subprocess.Popen([*line, "--busy-poll", "0.004"], stdout=output, stderr=output)
        try:
            server = Server(process, output)
            server.wait_until_ready()
            for _ in range(3):
                assert server.post(INFER, bytes(784), RAW).status == 200
            assert server.get("/v2").status == 200  # runs no model
            assert server.stop() == 0
            said = [line for line in server.log.splitlines() if not line.startswith("{")]
        finally:
            process.kill()
            process.wait()
    assert said == ["stays awake for 0.004", *["again"] * 3]


def test_a_server_that_nobody_asks_sleeps(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(onnx_models.content(onnx_models.linear()))
    with running(model) as server:
        server.check_good()
        time.sleep(0.2)
        before, start = server.processor_seconds(), time.monotonic()
        time.sleep(1)
        used = server.processor_seconds() - before
        assert used < 0.1 * (time.monotonic() - start)
