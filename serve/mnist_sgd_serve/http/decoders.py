"""The processes that decode pictures for one worker, and the queue of pictures.

Each process decodes one picture at a time, see `decoder`. When a picture takes too much processor
time, or is not decoded before its queue timeout, its process is killed and a spare one takes its
place immediately. So a malicious picture blocks a process for a second at most. A picture whose
client has left, or whose timeout has passed, is not decoded. When the worker ends, its processes
are killed.
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
from mnist_sgd_serve.protocol.errors import (
    ClientDisconnected,
    DeadlineExceeded,
    Kind,
    QueueFull,
    RequestError,
)
from mnist_sgd_serve.settings import Settings

MAX_WAITING = 64
"""Pictures that may wait for a process; more are rejected."""

START_SECONDS = 120.0
"""The longest start of a process."""

CLOSE_SECONDS = 0.5
"""How long to wait for each killed process when the server ends."""

PAUSE_SECONDS = 1.0
"""Before the next attempt to start a process."""


@dataclass(slots=True, eq=False)
class _Picture:
    """A picture to decode.

    Attributes:
        header: of the message to the process.
        body: of the request.
        is_disconnected: whether the client has left.
        image: the result.
        process: the one that decodes it.
        late: the timeout has passed.
    """

    header: bytes
    body: bytes
    is_disconnected: Callable[[], bool]
    image: "asyncio.Future[Preprocessed]"
    process: DecoderProcess | None = None
    late: bool = False


class Decoders:
    """Decodes pictures in processes. All methods but `kill` are for the event loop's thread.

    There is one spare process. A picture must be decoded within the queue timeout.
    """

    def __init__(self, settings: Settings, log: Log) -> None:
        self.count = settings.decoders
        self.limits = PictureLimits(
            body=settings.max_body,
            pixels=settings.max_pixels,
            memory=settings.decode_memory,
            seconds=settings.decode_seconds,
        )
        self.queue_timeout = settings.queue_timeout
        self.log = log
        self._starting: set[DecoderProcess] = set()
        self._idle: list[DecoderProcess] = []
        self._decoding: dict[DecoderProcess, _Picture] = {}
        self._ending: set[DecoderProcess] = set()
        self._closed = False
        self._waiting: deque[_Picture] = deque()
        self._first: asyncio.Future[None] | None = None

    def launch(self) -> None:
        """Start the first process; needs no event loop yet.

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

    async def decode(
        self,
        body: bytes,
        *,
        encoding: str | None,
        content_type: str,
        preprocessing: str,
        is_disconnected: Callable[[], bool],
    ) -> Preprocessed:
        """Decode and preprocess the picture in a request body, as received.

        Raises:
            RequestError: it cannot be decoded, takes or waits too long, too many are waiting, or
                the client has left.
            DecoderFailed: its process failed.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise QueueFull
        loop = asyncio.get_running_loop()
        told = {"encoding": encoding, "content_type": content_type, "preprocessing": preprocessing}
        picture = _Picture(message(told, body), body, is_disconnected, loop.create_future())
        timer = loop.call_later(self.queue_timeout, self._give_up, picture)
        self._waiting.append(picture)
        self._begin()
        try:
            return await picture.image
        finally:
            timer.cancel()
            del body, picture  # an exception keeps this frame, and must not keep them

    def close(self) -> None:
        """Kill the processes, and give up their pictures."""
        self._closed = True
        processes = [*self._starting, *self._idle, *self._decoding, *self._ending]
        for process in processes:
            process.close()
        for process in processes:
            process.wait(CLOSE_SECONDS)
        for picture in [*self._decoding.values(), *self._waiting]:
            _fail(picture, ClientDisconnected())
        for kept in (self._starting, self._idle, self._decoding, self._ending, self._waiting):
            kept.clear()

    def kill(self) -> None:
        """Kill the processes and wait for nothing; for any thread, when the server ends at once.

        Otherwise one that hangs would not notice that the server is is_disconnected.
        """
        for process in (*self._starting, *self._idle, *self._decoding, *self._ending):
            process.kill()

    def _new(self) -> DecoderProcess:
        limits = json.dumps(dataclasses.asdict(self.limits))
        return DecoderProcess(limits, self._on_message, self._on_exit)

    def _begin(self) -> None:
        """Give waiting pictures to idle processes."""
        while self._waiting and self._idle and len(self._decoding) < self.count:
            if self._idle[-1].closed:  # it has died; `_on_exit` will be called
                self._idle.pop()
                continue
            picture = self._waiting.popleft()
            if picture.is_disconnected():
                _fail(picture, ClientDisconnected())
                continue
            process = picture.process = self._idle.pop()
            self._decoding[process] = picture
            process.send(picture.header, picture.body)

    def _give_up(self, picture: _Picture) -> None:
        """Give up a late picture; the process that decodes it can only be killed."""
        picture.late = True
        if picture.process is not None:
            picture.process.kill()
            text = f"not read within {self.queue_timeout:g} s"
            self.log.warning("picture ended", text=f"it was {text}")
            _fail(picture, RequestError(f"the image was {text}", Kind.TIMEOUT))
        elif picture in self._waiting:
            self._waiting.remove(picture)
            _fail(picture, DeadlineExceeded())

    def _on_message(
        self, process: DecoderProcess, document: dict[str, Any], content: bytes
    ) -> None:
        """Handle a message of a process, which is ready now."""
        picture = self._decoding.pop(process, None)
        if picture is None:
            self._starting.discard(process)
            if self._first is not None and not self._first.done():
                self._first.set_result(None)
        else:
            picture.process = None
            sound = _finish(picture, document, content)
            if picture.late or not sound:  # it has been killed, or must be
                process.kill()
                self._ending.add(process)
                return
        self._idle.append(process)
        self._begin()

    def _on_exit(self, process: DecoderProcess, code: int) -> None:
        """Fail the picture of a process that has ended, and replace the process."""
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        picture = self._decoding.pop(process, None)
        young = process in self._starting
        if picture is not None:
            picture.process = None
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
        """Start a process, and try again later if that fails."""
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
        """Explain why a process ended while decoding a picture."""
        if code == -signal.SIGPROF:
            text = f"it took more than {self.limits.seconds:g} s of processor time"
            self.log.warning("picture ended", text=text)
            return RequestError(
                f"the image takes more than {self.limits.seconds:g} s of processor time to read, "
                "the most allowed: make it smaller",
                Kind.TOO_LARGE,
            )
        return DecoderFailed(f"the process that read the picture ended with code {code}")


def _finish(picture: _Picture, document: Any, content: bytes) -> bool:
    """Resolve a picture with the message of its process; False if the message is invalid."""
    try:
        image = preprocessed(document, content)
    except (RequestError, DecoderFailed) as error:
        # With its traceback it would keep the picture alive in a reference cycle.
        _fail(picture, error.with_traceback(None))
    except Exception as error:  # the process may have been compromised by a picture
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
