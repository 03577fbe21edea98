"""The processes that read pictures for one worker, and the pictures that wait for them.

Each process reads one picture at a time, see `decoder`. A picture that takes too much processor
time, or is not read before its request's deadline, costs its process, and another that stands ready
takes the place at once. So a picture that is built to cost time holds a place for a second, and the
next one waits no longer. A picture whose client has left, or whose deadline has passed, is not
begun. When the worker ends, its processes are killed.
"""

import asyncio
import dataclasses
import json
import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mnist_sgd_serve.http.decoder import DecoderFailed, message, preprocessed
from mnist_sgd_serve.http.decoder_process import DecoderProcess
from mnist_sgd_serve.http.picture_request import PictureLimits
from mnist_sgd_serve.images.preprocessing import Preprocessed
from mnist_sgd_serve.logs import Log
from mnist_sgd_serve.model.batcher import ClientGone, DeadlineExceeded, QueueFull
from mnist_sgd_serve.protocol.errors import RequestError

__all__ = ["Decoders"]

MOST_WAITING = 64
"""Pictures that may wait for a process; more are refused."""

START_SECONDS = 120.0
"""For a process to be ready."""

CLOSE_SECONDS = 0.5
"""For each process to end after it was killed, when the server ends."""

PAUSE_SECONDS = 1.0
"""Before the next attempt, where a process could not be started or ended before it was ready."""


@dataclass(slots=True, eq=False)
class _Picture:
    """A picture on its way.

    Attributes:
        head: what a decoder is told of it.
        body: of the request.
        gone: says whether the client has left.
        image: what is waited for.
        reader: the process that reads it, from when it is begun.
        late: the deadline has passed.
    """

    head: bytes
    body: bytes
    gone: Callable[[], bool]
    image: "asyncio.Future[Preprocessed]"
    reader: DecoderProcess | None = None
    late: bool = False


class Decoders:
    """The processes; all methods are for the thread of the event loop.

    Args:
        count: pictures that are read at the same time. One process more stands ready.
        limits: of each picture.
        deadline: seconds after its arrival when a picture is given up.
        log: is told of pictures and processes that had to be ended.
    """

    def __init__(self, count: int, limits: PictureLimits, deadline: float, log: Log) -> None:
        self.count = count
        self.limits = limits
        self.deadline = deadline
        self.log = log
        self._starting: set[DecoderProcess] = set()
        self._idle: list[DecoderProcess] = []
        self._reading: dict[DecoderProcess, _Picture] = {}
        self._ending: set[DecoderProcess] = set()
        self._closed = False
        self._waiting: deque[_Picture] = deque()
        self._first: asyncio.Future[None] | None = None

    def launch(self) -> None:
        """Start the first process, which needs no event loop yet.

        Raises:
            OSError: it cannot be started.
        """
        try:
            self._starting.add(self._new())
        except OSError as error:
            text = f"no process that reads pictures can be started: {error.strerror}"
            raise OSError(text) from error

    async def wait_until_ready(self) -> None:
        """Wait until the first process is ready, then start the others.

        Raises:
            OSError: it was not ready in time, or has ended.
        """
        loop = asyncio.get_running_loop()
        self._first = loop.create_future()
        for process in self._starting:
            process.attach(loop)
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._first
        except TimeoutError as error:
            raise OSError(
                f"no process that reads pictures was ready within {START_SECONDS:g} s"
            ) from error
        for _ in range(self.count):
            self._replace()

    async def read(
        self,
        body: bytes,
        *,
        encoding: str | None,
        content_type: str,
        preprocessing: str,
        gone: Callable[[], bool],
    ) -> Preprocessed:
        """Have a picture read and preprocessed.

        Args:
            body: of the request, as received.
            encoding: the value of its Content-Encoding, if it has one.
            content_type: the value of its Content-Type.
            preprocessing: that the model's artifact names.
            gone: says whether the client has left; asked before the picture is begun.

        Raises:
            RequestError: the picture gives no image, or takes too much time.
            QueueFull: too many pictures are waiting.
            DeadlineExceeded: it was not read in time.
            ClientGone: the client left before it was begun.
            DecoderFailed: its process ended otherwise.
        """
        if len(self._waiting) >= MOST_WAITING:
            raise QueueFull
        loop = asyncio.get_running_loop()
        told = {"encoding": encoding, "content_type": content_type, "preprocessing": preprocessing}
        picture = _Picture(message(told, body), body, gone, loop.create_future())
        timer = loop.call_later(self.deadline, self._give_up, picture)
        self._waiting.append(picture)
        self._begin()
        try:
            return await picture.image
        finally:
            timer.cancel()
            del body, picture  # an exception keeps this frame, and must not keep them

    def close(self) -> None:
        """Kill the processes; pictures that are not read are given up."""
        self._closed = True
        processes = [*self._starting, *self._idle, *self._reading, *self._ending]
        for process in processes:
            process.close()
        for process in processes:
            process.wait(CLOSE_SECONDS)
        for picture in [*self._reading.values(), *self._waiting]:
            _fail(picture, ClientGone())
        for kept in (self._starting, self._idle, self._reading, self._ending, self._waiting):
            kept.clear()

    def kill(self) -> None:
        """Kill the processes and wait for nothing; for any thread, when the server ends at once.

        Otherwise one that hangs would not notice that the server is gone.
        """
        for process in (*self._starting, *self._idle, *self._reading, *self._ending):
            process.kill()

    def _new(self) -> DecoderProcess:
        limits = json.dumps(dataclasses.asdict(self.limits))
        return DecoderProcess(limits, self._answered, self._ended)

    def _begin(self) -> None:
        """Begin with pictures that wait, as many as may be read now."""
        while self._waiting and self._idle and len(self._reading) < self.count:
            if self._idle[-1].closed:  # it has died, which `_ended` will hear of
                self._idle.pop()
                continue
            picture = self._waiting.popleft()
            if picture.gone():
                _fail(picture, ClientGone())
                continue
            process = picture.reader = self._idle.pop()
            self._reading[process] = picture
            process.send(picture.head, picture.body)

    def _give_up(self, picture: _Picture) -> None:
        """Answer for a picture that is late; a process that reads it can only be killed."""
        picture.late = True
        if picture.reader is not None:
            picture.reader.kill()
            text = f"not read within {self.deadline:g} s"
            self.log.warning("picture ended", text=f"it was {text}")
            _fail(picture, RequestError(504, "too_late", f"the image was {text}"))
        elif picture in self._waiting:
            self._waiting.remove(picture)
            _fail(picture, DeadlineExceeded())

    def _answered(self, process: DecoderProcess, document: dict[str, Any], content: bytes) -> None:
        """Take a process that is ready, the first time or again."""
        picture = self._reading.pop(process, None)
        if picture is None:
            self._starting.discard(process)
            if self._first is not None and not self._first.done():
                self._first.set_result(None)
        else:
            picture.reader = None
            sound = _finish(picture, document, content)
            if picture.late or not sound:  # its end is on the way
                process.kill()
                self._ending.add(process)
                return
        self._idle.append(process)
        self._begin()

    def _ended(self, process: DecoderProcess, code: int) -> None:
        """Tell what became of the picture of a process that has ended, and replace the process."""
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        picture = self._reading.pop(process, None)
        young = process in self._starting
        if picture is not None:
            picture.reader = None
            _fail(picture, self._reason(picture, code))
        elif process not in self._ending:
            self.log.error("decoder died", process=process.number, code=code)
        self._starting.discard(process)
        self._ending.discard(process)
        if process in self._idle:
            self._idle.remove(process)
        if young and self._first is not None and not self._first.done():
            text = f"the process that reads pictures could not start: it ended with code {code}"
            self._first.set_exception(OSError(text))
            return
        loop.call_later(PAUSE_SECONDS if young else 0, self._replace)
        self._begin()

    def _replace(self) -> None:
        """Start a process, now or when it can be."""
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        try:
            process = self._new()
        except OSError as error:
            self.log.error("decoder not started", error=str(error), again_seconds=PAUSE_SECONDS)
            loop.call_later(PAUSE_SECONDS, self._replace)
            return
        self._starting.add(process)
        process.attach(loop)
        loop.call_later(START_SECONDS, self._give_up_start, process)

    def _give_up_start(self, process: DecoderProcess) -> None:
        if process in self._starting:
            process.kill()

    def _reason(self, picture: _Picture, code: int) -> Exception:
        """Why a process ended over a picture."""
        if code == -signal.SIGPROF:
            text = f"it took more than {self.limits.seconds:g} s of processor time"
            self.log.warning("picture ended", text=text)
            return RequestError(
                413,
                "too_costly",
                f"the image takes more than {self.limits.seconds:g} s of processor time to read, "
                "the most allowed: make it smaller",
            )
        return DecoderFailed(f"the process that read the picture ended with code {code}")


def _finish(picture: _Picture, document: Any, content: bytes) -> bool:
    """Hand over what a process has made of a picture; says whether it is an answer at all."""
    try:
        image = preprocessed(document, content)
    except (RequestError, DecoderFailed) as error:
        # With its traceback it would keep the picture, in a cycle that only the collector ends.
        _fail(picture, error.with_traceback(None))
    except Exception as error:  # of a process that may have been taken over by a picture
        _fail(
            picture, DecoderFailed(f"the process that read the picture answered wrongly: {error}")
        )
        return False
    else:
        if not picture.image.done():
            picture.image.set_result(image)
    return True


def _fail(picture: _Picture, error: Exception) -> None:
    if not picture.image.done():
        picture.image.set_exception(error)
