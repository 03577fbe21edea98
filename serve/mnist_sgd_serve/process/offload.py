"""A thread for work that would block the event loop.

One thread is enough: the work holds the interpreter lock most of the time. A request waits for it
no longer than for a run of the model, and is dropped if its client leaves meanwhile.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from mnist_sgd_serve.protocol.errors import ClientDisconnected, DeadlineExceeded, QueueFull

T = TypeVar("T")

MAX_WAITING = 64
"""Requests that may wait for the thread; more are rejected."""


class Offload:
    """Runs the work of requests in a thread."""

    def __init__(self, queue_timeout: float) -> None:
        self.queue_timeout = queue_timeout
        self.waiting = 0
        self._thread = ThreadPoolExecutor(1, "offload")

    async def run(self, work: Callable[[], T], is_disconnected: Callable[[], bool]) -> T:
        """Return what `work` returns in the thread; both arguments are called there.

        Raises:
            RequestError: too much is waiting, or the work did not begin before `queue_timeout`
                seconds or the client's leaving.
        """
        if self.waiting >= MAX_WAITING:
            raise QueueFull
        self.waiting += 1
        try:
            latest = time.monotonic() + self.queue_timeout
            begin = partial(_begin, work, is_disconnected, latest)
            return await asyncio.get_running_loop().run_in_executor(self._thread, begin)
        finally:
            self.waiting -= 1


def _begin(work: Callable[[], T], is_disconnected: Callable[[], bool], latest: float) -> T:
    if is_disconnected():
        raise ClientDisconnected
    if time.monotonic() > latest:
        raise DeadlineExceeded
    return work()
