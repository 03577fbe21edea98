"""Work that would hold the event loop up, in a thread beside it.

One thread is enough: what it does needs the interpreter most of the time. A request waits for it
no longer than for a run of the model, and is dropped if its client leaves meanwhile.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from mnist_sgd_serve.model.batcher import ClientGone, DeadlineExceeded, QueueFull

__all__ = ["Offload"]

T = TypeVar("T")

MOST_WAITING = 64
"""Requests that may wait for the thread; more are refused."""


class Offload:
    """A thread for the work of requests.

    Args:
        deadline: seconds that work may wait to be begun.
    """

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.waiting = 0
        self._thread = ThreadPoolExecutor(1, "offload")

    async def run(self, work: Callable[[], T], gone: Callable[[], bool]) -> T:
        """What `work` gives in the thread.

        Args:
            work: must not touch what the event loop's thread changes.
            gone: says whether the client has left; asked, in the thread, before work is begun.

        Raises:
            QueueFull: too much is waiting.
            DeadlineExceeded: the work was not begun in time.
            ClientGone: the client left before.
        """
        if self.waiting >= MOST_WAITING:
            raise QueueFull
        self.waiting += 1
        try:
            latest = time.monotonic() + self.deadline
            begin = partial(_begin, work, gone, latest)
            return await asyncio.get_running_loop().run_in_executor(self._thread, begin)
        finally:
            self.waiting -= 1


def _begin(work: Callable[[], T], gone: Callable[[], bool], latest: float) -> T:
    if gone():
        raise ClientGone
    if time.monotonic() > latest:
        raise DeadlineExceeded
    return work()
