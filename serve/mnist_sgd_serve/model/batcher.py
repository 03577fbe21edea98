"""Dynamic batching: one run of the model for all requests that are waiting, without a timer.

The first waiting request schedules a run, which begins in the first turn of the event loop that
brings no further request. So batches grow with the load. A request that comes alone, after one
that was alone, is run immediately. Results are assigned by position.

A request of more images than a batch may have is large, and is run in pieces, all by one model.
Large requests wait in a queue of their own. Runs of small requests and of single pieces alternate,
with a turn of the event loop between: a small request waits for one piece, however many large ones
there are, and large ones get half of the runs, however many small ones there are.

Each queue is bounded in images, and each request has a queue timeout. A request whose client has
left is dropped before its run, or before its next piece. The queues are bounded separately, so that
a client that repeats the largest request, 12 KB if compressed, does not get everybody rejected.

Under overload, most small requests would be parsed only to be rejected. So the first rejection of a
small request closes the server to all requests, as `check_capacity` tells before parsing, until
half of the queue has been run. Rejecting a large request closes nothing.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.protocol.errors import ClientDisconnected, DeadlineExceeded, QueueFull

Images = NDArray[np.uint8]
Probabilities = NDArray[np.float32]


class Runnable(Protocol):
    """A model."""

    def run(self, images: Images) -> Probabilities:
        """Compute probabilities, float32 `[N]`, of uint8 `[N, 28, 28]`."""


M = TypeVar("M", bound=Runnable)


class InferenceError(Exception):
    """The model failed on a batch; the cause says how."""


@dataclass(slots=True)
class _Waiting(Generic[M]):
    images: Images
    result: "asyncio.Future[tuple[M, Probabilities]]"
    since: float
    is_disconnected: Callable[[], bool]
    model: M | None = None  # of a large request that has begun
    pieces: list[Probabilities] = field(default_factory=list)
    done: int = 0  # images in them

    @property
    def left(self) -> int:
        """How many images are still to be run."""
        return len(self.images) - self.done


class _Queue(deque[_Waiting[Any]]):
    """Requests in the order of their arrival, and how many images they have left."""

    def __init__(self) -> None:
        super().__init__()
        self.images = 0


class Batcher(Generic[M]):
    """Runs the current model for the requests of one event loop.

    Args:
        model: returns the current model; called in the loop's thread, once for each batch.
        max_batch_size: images in one run; a larger request is run alone, in pieces.
        max_queue_size: images that may wait, in small requests and as many in large ones. A large
            request that finds its queue empty is accepted in any case.
        queue_timeout: seconds that a request may wait for its run to begin.
        on_batch: called after each run with requests, images, seconds, and the seconds that the
            requests waited for it, all together.
        on_queue_size: called with the number of waiting images when it has changed.
    """

    def __init__(
        self,
        model: Callable[[], M],
        *,
        max_batch_size: int,
        max_queue_size: int,
        queue_timeout: float,
        on_batch: Callable[[int, int, float, float], None],
        on_queue_size: Callable[[int], None],
    ) -> None:
        self.model = model
        self.max_batch_size = max_batch_size
        self.max_queue_size = max_queue_size
        self.queue_timeout = queue_timeout
        self.on_batch = on_batch
        self.on_queue_size = on_queue_size
        self._small, self._large = _Queue(), _Queue()
        self._piece_next = False  # the last run was of small requests
        self._closed = False  # after a rejection, until half of the queue has been run
        self._seen = 0  # small requests in the queue at the end of the last turn
        self._alone = True  # the last run was for one request
        self._has_run = False  # a request was run immediately in this turn

    @property
    def waiting(self) -> int:
        """How many images wait, of all requests."""
        return self._small.images + self._large.images

    def check_capacity(self) -> None:
        """Reject a request before it is parsed, if the queue is closed.

        Raises:
            QueueFull: it is.
        """
        if self._closed:
            raise QueueFull

    async def infer(
        self, images: Images, is_disconnected: Callable[[], bool]
    ) -> tuple[M, Probabilities]:
        """Compute the probabilities of one request's images, in their order.

        Args:
            images: uint8 `[N, 28, 28]`.
            is_disconnected: whether the client has left; asked just before each run.

        Returns:
            The model that ran, and float32 `[N]`.

        Raises:
            QueueFull: too many images are waiting.
            DeadlineExceeded: the run did not begin in time.
            ClientDisconnected: the client left before its run.
        """
        loop = asyncio.get_running_loop()
        small = len(images) <= self.max_batch_size
        idle = not self._small and not self._large
        if small and idle and self._alone and not self._has_run:
            self._has_run = True
            loop.call_soon(self._end_turn)
            model = self.model()
            return model, self._run(model, images)
        queue = self._small if small else self._large
        if queue and queue.images + len(images) > self.max_queue_size:
            self._closed = self._closed or small
            raise QueueFull
        waiting: _Waiting[M] = _Waiting(
            images, loop.create_future(), time.monotonic(), is_disconnected
        )
        if idle:
            loop.call_soon(self._flush)
        queue.append(waiting)
        queue.images += len(images)
        self.on_queue_size(self.waiting)
        return await waiting.result

    def _end_turn(self) -> None:
        self._has_run = False

    def _flush(self) -> None:
        """Run what waits, unless this turn brought more; then see what the next turn brings."""
        loop = asyncio.get_running_loop()
        if self._seen < len(self._small) and self.waiting < self.max_batch_size:
            self._seen = len(self._small)
            loop.call_soon(self._flush)
            return
        self._seen = 0
        piece = bool(self._large) and (self._piece_next or not self._small)
        self._piece_next = not piece
        batch = self._take(self._large if piece else self._small)
        self.on_queue_size(self.waiting)
        self._alone = len(batch) <= 1
        if batch and piece:
            self._run_piece(batch[0])
        elif batch:
            self._run_together(batch)
        self._closed = self._closed and self._small.images > self.max_queue_size // 2
        if self._small or self._large:
            loop.call_soon(self._flush)

    def _run_together(self, batch: list[_Waiting[M]]) -> None:
        """Run a batch of small requests, and resolve them."""
        try:
            images = [waiting.images for waiting in batch]
            joined = images[0] if len(images) == 1 else np.concatenate(images)
            model = self.model()
            probabilities = self._run(model, joined, batch)
        except Exception as error:  # a failure of the model is each request's
            for waiting in batch:
                waiting.result.set_exception(_failed(error))
            return
        first = 0
        for waiting in batch:
            last = first + len(waiting.images)
            waiting.result.set_result((model, probabilities[first:last]))
            first = last

    def _run_piece(self, waiting: _Waiting[M]) -> None:
        """Run the next piece of a large request, and resolve it or queue it again."""
        piece = waiting.images[waiting.done : waiting.done + self.max_batch_size]
        model = waiting.model = waiting.model or self.model()
        try:
            waiting.pieces.append(self._run(model, piece, [waiting]))
        except Exception as error:  # as above
            waiting.result.set_exception(_failed(error))
            return
        waiting.done += len(piece)
        if waiting.left:
            waiting.since = time.monotonic()
            self._large.append(waiting)
            self._large.images += waiting.left
            self.on_queue_size(self.waiting)
        else:
            waiting.result.set_result((model, np.concatenate(waiting.pieces)))

    def _run(self, model: M, images: Images, batch: Sequence[_Waiting[M]] = ()) -> Probabilities:
        """Run the model for a batch, or for one request that did not wait."""
        start = time.monotonic()
        probabilities = model.run(images)
        seconds = time.monotonic() - start
        queued = sum(start - waiting.since for waiting in batch)
        self.on_batch(len(batch) or 1, len(images), seconds, queued)
        return probabilities

    def _take(self, queue: _Queue) -> list[_Waiting[M]]:
        """Take requests off a queue, as many as fit one run, without the late and disconnected."""
        batch: list[_Waiting[M]] = []
        images = 0
        earliest = time.monotonic() - self.queue_timeout
        while queue and (not batch or images + len(queue[0].images) <= self.max_batch_size):
            waiting = queue.popleft()
            queue.images -= waiting.left
            if waiting.result.done():
                continue
            if waiting.is_disconnected():
                waiting.result.set_exception(ClientDisconnected())
            elif waiting.since < earliest and not waiting.pieces:
                waiting.result.set_exception(DeadlineExceeded())
            else:
                batch.append(waiting)
                images += len(waiting.images)
        return batch


def _failed(error: Exception) -> InferenceError:
    """Make an exception for one request: its traceback grows wherever it is raised."""
    failed = InferenceError(str(error))
    failed.__cause__ = error
    return failed
