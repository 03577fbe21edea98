"""One run of the model for all requests that are waiting, and no timer.

The first request that waits schedules a run; the run begins in the first turn of the event loop
that brings no further request. So while requests keep coming in they join, and the batches grow
with the load. A request that comes alone, after one that was alone, waits for nothing: it is run
where it stands. The answers go back by position: nothing in a request decides where it goes.

A request of more images than a run may have is large, and is run in pieces. It is still one answer:
its pieces are run by one model. Large requests have a queue of their own, where they take turns: a
run of what is small comes after each piece, and the event loop has a turn. So one that is small
waits for one piece, however many large ones are there; and half of the runs go on with those,
however many small ones are.

Each queue is bounded in images and each request has a deadline. A request whose client has gone is
dropped before it costs a run, or another piece. The largest request fills the queue of large ones
alone; the next is refused then, and nobody else. If both shared their room, a client that sends the
largest again and again, 12 KB if compressed, would have everybody refused.

A small request that finds no room has been read in vain, and under overload most are. So the first
that is refused closes the server to all requests until half of its queue has been run, and
`check_room` says so beforehand. A large one that is refused closes nothing: whether a request is
large shows when it has been read.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Batcher", "ClientGone", "DeadlineExceeded", "QueueFull", "RunFailed"]

Images = NDArray[np.uint8]
Probabilities = NDArray[np.float32]
Run = Callable[[Images], Probabilities]


class QueueFull(Exception):  # noqa: N818  (they say all without "Error")
    """There is no room for the images of one more request."""


class RunFailed(Exception):  # noqa: N818  (as above)
    """The model failed on a batch; the cause says how."""


class ClientGone(Exception):  # noqa: N818  (as above)
    """The client left before its answer."""


class DeadlineExceeded(Exception):  # noqa: N818  (as above)
    """The request waited longer than it may."""


@dataclass(slots=True)
class _Waiting:
    images: Images
    answer: "asyncio.Future[Probabilities]"
    since: float
    gone: Callable[[], bool]
    run: Run
    pieces: list[Probabilities] = field(default_factory=list)  # of a request that has begun
    done: int = 0  # images in them

    @property
    def left(self) -> int:
        """Images that are still to be run."""
        return len(self.images) - self.done


class _Queue(deque[_Waiting]):
    """Requests in the order in which they came, and how many images they have left."""

    def __init__(self) -> None:
        super().__init__()
        self.images = 0


class Batcher:
    """Runs the model for requests of one event loop.

    Args:
        run: the model: uint8 `[N, 28, 28]` to float32 `[N]`; called in the loop's thread.
        max_images: in one run; a larger request is run alone, in pieces.
        max_waiting: images that may wait in requests that are run whole, and as many in larger
            ones; one more request is refused. One that finds its queue empty may be larger.
        deadline: seconds that a request may wait for its run to begin.
        ran: is told of each run: requests, images, seconds.
        queued: is told how many images wait, whenever that has changed.
    """

    def __init__(
        self,
        run: Run,
        *,
        max_images: int,
        max_waiting: int,
        deadline: float,
        ran: Callable[[int, int, float], None],
        queued: Callable[[int], None],
    ) -> None:
        self.run = run
        self.max_images = max_images
        self.max_waiting = max_waiting
        self.deadline = deadline
        self.ran = ran
        self.queued = queued
        self._small, self._large = _Queue(), _Queue()
        self._piece_next = False  # a run of small ones was the last
        self._closed = False  # one found no room, and not half of the queue has been run since
        self._seen = 0  # small requests in the queue at the end of the last turn
        self._alone = True  # the last run was for one request
        self._ran = False  # a request was run where it stands in this turn

    @property
    def waiting(self) -> int:
        """Images that wait, of all requests."""
        return self._small.images + self._large.images

    def check_room(self) -> None:
        """Refuse a request before it is read, if the queue is closed.

        Raises:
            QueueFull: it is.
        """
        if self._closed:
            raise QueueFull

    async def answer(
        self, images: Images, gone: Callable[[], bool], run: Run | None = None
    ) -> Probabilities:
        """The probabilities of one request's images, in their order.

        Args:
            images: uint8 `[N, 28, 28]`, checked.
            gone: says whether the client has left; asked just before each run.
            run: the model for the pieces of a request of more than `max_images` images, if it is
                another than the batcher's.

        Raises:
            QueueFull: too many images are waiting.
            DeadlineExceeded: the run did not begin in time.
            ClientGone: the client left before its run.
        """
        loop = asyncio.get_running_loop()
        whole = len(images) <= self.max_images
        idle = not self._small and not self._large
        if whole and idle and self._alone and not self._ran:
            self._ran = True
            loop.call_soon(self._end_turn)
            return self._run(images, 1)
        queue = self._small if whole else self._large
        if queue and queue.images + len(images) > self.max_waiting:
            self._closed = self._closed or whole
            raise QueueFull
        answer = loop.create_future()
        if idle:
            loop.call_soon(self._flush)
        queue.append(_Waiting(images, answer, time.monotonic(), gone, run or self.run))
        queue.images += len(images)
        self.queued(self.waiting)
        probabilities: Probabilities = await answer
        return probabilities

    def _end_turn(self) -> None:
        self._ran = False

    def _flush(self) -> None:
        """Run what waits, unless this turn brought more; then see what the next turn brings."""
        loop = asyncio.get_running_loop()
        if self._seen < len(self._small) and self.waiting < self.max_images:
            self._seen = len(self._small)
            loop.call_soon(self._flush)
            return
        self._seen = 0
        piece = bool(self._large) and (self._piece_next or not self._small)
        self._piece_next = not piece
        batch = self._take(self._large if piece else self._small)
        self.queued(self.waiting)
        self._alone = len(batch) <= 1
        if batch and piece:
            self._run_piece(batch[0])
        elif batch:
            self._run_together(batch)
        self._closed = self._closed and self._small.images > self.max_waiting // 2
        if self._small or self._large:
            loop.call_soon(self._flush)

    def _run_together(self, batch: list[_Waiting]) -> None:
        """Run whole requests, and answer them."""
        try:
            images = [waiting.images for waiting in batch]
            joined = images[0] if len(images) == 1 else np.concatenate(images)
            probabilities = self._run(joined, len(batch))
        except Exception as error:  # what a broken model raises is the answer of each request
            for waiting in batch:
                waiting.answer.set_exception(_failed(error))
            return
        first = 0
        for waiting in batch:
            last = first + len(waiting.images)
            waiting.answer.set_result(probabilities[first:last])
            first = last

    def _run_piece(self, waiting: _Waiting) -> None:
        """Run the next piece of a large request, and answer it or let it wait for the next."""
        piece = waiting.images[waiting.done : waiting.done + self.max_images]
        try:
            waiting.pieces.append(self._run(piece, 1, waiting.run))
        except Exception as error:  # as above
            waiting.answer.set_exception(_failed(error))
            return
        waiting.done += len(piece)
        if waiting.left:
            self._large.append(waiting)
            self._large.images += waiting.left
            self.queued(self.waiting)
        else:
            waiting.answer.set_result(np.concatenate(waiting.pieces))

    def _run(self, images: Images, requests: int, run: Run | None = None) -> Probabilities:
        start = time.monotonic()
        probabilities = (run or self.run)(images)
        self.ran(requests, len(images), time.monotonic() - start)
        return probabilities

    def _take(self, queue: _Queue) -> list[_Waiting]:
        """Take requests off a queue, as many as fit one run, without the late and the gone."""
        batch: list[_Waiting] = []
        images = 0
        earliest = time.monotonic() - self.deadline
        while queue and (not batch or images + len(queue[0].images) <= self.max_images):
            waiting = queue.popleft()
            queue.images -= waiting.left
            if waiting.answer.done():
                continue
            if waiting.gone():
                waiting.answer.set_exception(ClientGone())
            elif waiting.since < earliest and not waiting.pieces:
                waiting.answer.set_exception(DeadlineExceeded())
            else:
                batch.append(waiting)
                images += len(waiting.images)
        return batch


def _failed(error: Exception) -> RunFailed:
    """Make an exception for one request: its trace grows wherever it is raised."""
    failed = RunFailed(str(error))
    failed.__cause__ = error
    return failed
