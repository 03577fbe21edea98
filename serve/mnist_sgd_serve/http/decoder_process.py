"""The parent's side of a decoder: start it, send pictures, receive results, kill it."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from typing import Any

from mnist_sgd_serve.http.decoder import HEADER

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # glibc returns the memory of a large picture to the system, and reuses that of small ones.
    "MALLOC_MMAP_THRESHOLD_": "4194304",
    "MALLOC_TRIM_THRESHOLD_": "16777216",
}
SECRET = "MNIST_SGD_TOKEN"
"""Not passed on to a process that decodes untrusted files."""

PROGRAM = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from mnist_sgd_serve.http.decoder import main
main(int(sys.argv[2]), sys.argv[3])
"""

HELD = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
"""Signals that the process ignores once it runs, and that must not end it earlier."""

MAX_MESSAGE = 2**20
"""The largest message of a process in bytes; the longest legitimate one has a traceback."""

REAP_SECONDS = 0.01
"""Between two checks whether an ending process has ended."""


class DecoderProcess:
    """A process that runs `decoder.main`; started at once, connected to an event loop later.

    Args:
        limits: for `decoder.main`, as JSON.

    Attributes:
        number: its id.
        killed: it is ending, and takes no more pictures.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, limits: str) -> None:
        self.killed = False
        self._writer: asyncio.StreamWriter | None = None
        self._channel, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = _start(limits, theirs.fileno())
        except OSError:
            self._channel.close()
            raise
        self.number = self._process.pid

    async def connect(self) -> bool:
        """Wait until the process is ready; return False if it has ended instead."""
        self._reader, self._writer = await asyncio.open_unix_connection(sock=self._channel)
        return await self.receive() is not None

    def send(self, head: bytes, content: bytes) -> None:
        """Send a message, without waiting for the process to read it."""
        assert self._writer is not None
        if not self._writer.is_closing():  # otherwise `receive` finds out
            self._writer.write(head)
            self._writer.write(content)

    async def receive(self) -> tuple[Any, bytes] | None:
        """Receive a message; return None if the process has ended.

        A process that sends anything else may have been compromised by a picture, and is killed.
        """
        try:
            length, size = HEADER.unpack(await self._reader.readexactly(HEADER.size))
            if length + size <= MAX_MESSAGE:
                content = await self._reader.readexactly(length + size)
                return json.loads(content[:length]), content[length:]
        except (EOFError, OSError, ValueError, RecursionError):
            pass
        self.kill()
        return None

    def kill(self) -> None:
        """Kill the process."""
        self.killed = True
        self._process.kill()

    async def end(self) -> int:
        """Kill the process and wait for its exit code, or minus the number of its signal."""
        self.close()
        while (code := self._process.poll()) is None:
            await asyncio.sleep(REAP_SECONDS)
        return code

    def close(self) -> None:
        """Kill the process and close its socket; a second time does nothing."""
        self.kill()
        if self._writer is not None:
            self._writer.transport.abort()
        self._channel.close()

    def wait(self, seconds: float) -> None:
        """Wait for the end of a killed process, but no longer than so many seconds."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)


def _start(limits: str, descriptor: int) -> "subprocess.Popen[bytes]":
    """Start a process in a session of its own, which no terminal signal reaches."""
    environment = {name: value for name, value in os.environ.items() if name != SECRET}
    held = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", PROGRAM, json.dumps(sys.path), str(descriptor), limits],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=environment | ENVIRONMENT,
            pass_fds=[descriptor],
            start_new_session=True,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
