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
    """

    header: bytes
    body: bytes
    is_disconnected: Callable[[], bool]
    image: "asyncio.Future[Preprocessed]"
    process: DecoderProcess | None = None


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
        self._processes: set[DecoderProcess] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._idle: list[DecoderProcess] = []
        self._decoding: dict[DecoderProcess, asyncio.Future[Preprocessed]] = {}
        self._waiting: deque[_Picture] = deque()
        self._ends = False

    def launch(self) -> None:
        """Start the first process; needs no event loop yet.

        Raises:
            OSError: it cannot be started.
        """
        try:
            self._new()
        except OSError as error:
            text = f"no process that reads pictures can be started: {error.strerror}"
            raise OSError(text) from error

    async def wait_until_ready(self) -> None:
        """Wait until the first process is ready, then start the others.

        Raises:
            OSError: it was not ready in time, or has ended.
        """
        [first] = self._processes
        await self._connect(first)
        processes = [first, *[None] * self.count]
        self._tasks = [asyncio.create_task(self._keep(process)) for process in processes]

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
        told = {"encoding": encoding, "content_type": content_type, "preprocessing": preprocessing}
        image: asyncio.Future[Preprocessed] = asyncio.get_running_loop().create_future()
        picture = _Picture(message(told, body), body, is_disconnected, image)
        self._waiting.append(picture)
        self._begin()
        try:
            await asyncio.wait([image], timeout=self.queue_timeout)
            if image.done():
                return image.result()
            if picture.process is None:
                raise DeadlineExceeded
            picture.process.kill()
            text = f"not read within {self.queue_timeout:g} s"
            self.log.warning("picture ended", text=f"it was {text}")
            raise RequestError(f"the image was {text}", Kind.TIMEOUT)
        finally:
            image.cancel()
            if picture in self._waiting:
                self._waiting.remove(picture)
            del body, picture, image  # an exception keeps this frame, and must not keep them

    def close(self) -> None:
        """Kill the processes, and give up their pictures."""
        for task in self._tasks:
            task.cancel()
        for process in self._processes:
            process.close()
        for process in self._processes:
            process.wait(CLOSE_SECONDS)
        for image in [*self._decoding.values(), *(picture.image for picture in self._waiting)]:
            _resolve(image, ClientDisconnected())
        for kept in (self._tasks, self._processes, self._idle, self._decoding, self._waiting):
            kept.clear()

    def kill(self) -> None:
        """Kill the processes and wait for nothing; for any thread, when the server ends at once.

        Otherwise one that hangs would not notice that the server is gone.
        """
        self._ends = True
        for process in tuple(self._processes):
            process.kill()

    def _new(self) -> DecoderProcess:
        process = DecoderProcess(json.dumps(dataclasses.asdict(self.limits)))
        self._processes.add(process)
        return process

    async def _connect(self, process: DecoderProcess) -> None:
        """Wait until a new process is ready.

        Raises:
            OSError: it was not ready in time, or has ended.
        """
        try:
            async with asyncio.timeout(START_SECONDS):
                ready = await process.connect()
        except TimeoutError as error:
            await self._end(process)
            text = f"no process that reads pictures was ready within {START_SECONDS:g} s"
            raise OSError(text) from error
        if not ready:
            code = await self._end(process)
            text = f"the process that reads pictures could not start: it ended with code {code}"
            raise OSError(text)

    async def _end(self, process: DecoderProcess) -> int:
        code = await process.end()
        self._processes.discard(process)
        return code

    async def _keep(self, process: DecoderProcess | None) -> None:
        """Decode pictures in a process, if given, and in one new process after the other."""
        while not self._ends:
            try:
                if process is None:
                    process = self._new()
                    await self._connect(process)
            except OSError as error:
                if self._ends:
                    break
                self.log.error("decoder not started", error=str(error), again_seconds=PAUSE_SECONDS)
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                await self._run(process)
            process = None

    async def _run(self, process: DecoderProcess) -> None:
        """Decode pictures in a process until it has ended."""
        while True:
            self._idle.append(process)
            self._begin()
            answer = await process.receive()
            image = self._decoding.pop(process, None)
            if image is None:
                self._idle.remove(process)
                break
            if answer is None:
                break
            try:
                _resolve(image, preprocessed(*answer))
            except Exception as error:  # the process may have been compromised by a picture
                text = f"the process that read the picture answered wrongly: {error}"
                _resolve(image, DecoderFailed(text))
                break
            if process.killed:  # it was too late
                break
            del image  # the error in it may keep the request's body
        self._begin()
        code = await self._end(process)
        if self._ends:
            return
        if image is None:
            self.log.error("decoder died", process=process.number, code=code)
        else:
            _resolve(image, self._reason(code))

    def _begin(self) -> None:
        """Give waiting pictures to idle processes."""
        while self._waiting and self._idle and len(self._decoding) < self.count:
            picture = self._waiting.popleft()
            if picture.is_disconnected():
                _resolve(picture.image, ClientDisconnected())
                continue
            process = picture.process = self._idle.pop()
            self._decoding[process] = picture.image
            process.send(picture.header, picture.body)

    def _reason(self, code: int) -> Exception:
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


def _resolve(image: "asyncio.Future[Preprocessed]", result: Preprocessed | Exception) -> None:
    if image.done():
        return
    if isinstance(result, Exception):
        image.set_exception(result)
    else:
        image.set_result(result)
