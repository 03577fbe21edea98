"""Work beside the event loop leaves it free, is bounded, and is not done for nobody."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from mnist_sgd_serve.process.offload import MAX_WAITING, Offload
from mnist_sgd_serve.protocol.errors import (
    ClientDisconnected,
    DeadlineExceeded,
    QueueFull,
    RequestError,
)
from waiting import PATIENCE


def here() -> bool:
    """A client that has not left."""
    return False


class Busy:
    """An offload whose thread is busy until it is told to go on."""

    def __init__(self, deadline: float = PATIENCE) -> None:
        self.offload = Offload(deadline)
        self.begun = asyncio.Event()
        self.free = threading.Event()
        self.loop = asyncio.get_running_loop()
        self.first = asyncio.create_task(self.offload.run(self._hold, here))

    def _hold(self) -> str:
        self.loop.call_soon_threadsafe(self.begun.set)
        assert self.free.wait(PATIENCE)
        return "first"

    async def release(self) -> None:
        self.free.set()
        assert await self.first == "first"


def with_a_busy_one(check: Callable[[Busy], Coroutine[Any, Any, None]], **options: float) -> None:
    async def run() -> None:
        busy = Busy(**options)
        await busy.begun.wait()
        try:
            await check(busy)
        finally:
            await busy.release()
        assert busy.offload.waiting == 0
        assert await busy.offload.run(lambda: "next", here) == "next"

    asyncio.run(run())


def never() -> None:
    raise AssertionError("it was begun")


def test_work_is_done_in_another_thread_while_the_loop_goes_on() -> None:
    async def check(busy: Busy) -> None:
        await asyncio.sleep(0)
        assert not busy.first.done()
        asked = asyncio.create_task(busy.offload.run(threading.get_ident, here))
        busy.free.set()
        assert await asked != threading.get_ident()

    with_a_busy_one(check)


def test_what_is_wrong_with_a_request_is_said_as_it_is() -> None:
    def refuse() -> None:
        raise RequestError("it is wrong")

    async def check(busy: Busy) -> None:
        busy.free.set()
        with pytest.raises(RequestError, match=r"^it is wrong$"):
            await busy.offload.run(refuse, here)

    with_a_busy_one(check)


def test_work_whose_client_has_left_meanwhile_is_not_begun() -> None:
    async def check(busy: Busy) -> None:
        left = False
        asked = asyncio.create_task(busy.offload.run(never, lambda: left))
        await asyncio.sleep(0)
        left = True
        busy.free.set()
        with pytest.raises(ClientDisconnected):
            await asked

    with_a_busy_one(check)


def test_work_that_waited_past_its_deadline_is_not_begun() -> None:
    async def check(busy: Busy) -> None:
        busy.offload.queue_timeout = -1.0
        busy.free.set()
        with pytest.raises(DeadlineExceeded):
            await busy.offload.run(never, here)
        busy.offload.queue_timeout = PATIENCE

    with_a_busy_one(check)


def test_work_whose_request_is_given_up_is_not_begun() -> None:
    """As a call of gRPC is when its client leaves."""

    async def check(busy: Busy) -> None:
        asked = asyncio.create_task(busy.offload.run(never, here))
        await asyncio.sleep(0)
        assert busy.offload.waiting == 2
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert busy.offload.waiting == 1

    with_a_busy_one(check)


def test_more_than_may_wait_is_refused_at_once() -> None:
    async def check(busy: Busy) -> None:
        waiting = [
            asyncio.create_task(busy.offload.run(lambda: "done", here))
            for _ in range(MAX_WAITING - 1)
        ]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await busy.offload.run(never, here)
        busy.free.set()
        assert await asyncio.gather(*waiting) == ["done"] * (MAX_WAITING - 1)

    with_a_busy_one(check)
