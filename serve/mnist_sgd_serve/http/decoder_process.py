"""The parent's side of a decoder: start it, send pictures, receive results, kill it."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
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
    """A process that runs `decoder.main`; started at once, attached to an event loop later.

    Args:
        limits: for `decoder.main`, as JSON.
        on_message: called with each message; the first says that the process is ready.
        on_exit: called once when it has ended, with its exit code or minus the signal's number.

    Attributes:
        closed: it is ending, and takes no more pictures.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self,
        limits: str,
        on_message: Callable[["DecoderProcess", dict[str, Any], bytes], None],
        on_exit: Callable[["DecoderProcess", int], None],
    ) -> None:
        self.closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_message = on_message
        self._on_exit = on_exit
        self._outgoing: list[memoryview] = []
        self._incoming = bytearray()
        self._channel, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = _start(limits, theirs.fileno())
        except OSError:
            self._channel.close()
            raise
        self._channel.setblocking(False)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Receive messages in an event loop, whose thread all other methods belong to."""
        self._loop = loop
        loop.add_reader(self._channel, self._receive)

    @property
    def number(self) -> int:
        """The process's id."""
        return self._process.pid

    def send(self, head: bytes, content: bytes) -> None:
        """Send a message, in as many pieces as it takes."""
        self._outgoing = [memoryview(head), memoryview(content)]
        self._send()

    def kill(self) -> None:
        """Kill the process; `on_exit` is called when it is gone."""
        self._process.kill()

    def close(self) -> None:
        """Kill the process without further callbacks; a second time does nothing."""
        if self.closed:
            return
        self.closed = True
        self._outgoing = []
        if self._loop is not None:
            self._loop.remove_reader(self._channel)
            self._loop.remove_writer(self._channel)
        self._channel.close()
        self._process.kill()

    def wait(self, seconds: float) -> None:
        """Wait for the end of a killed process, but no longer than so many seconds."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def _send(self) -> None:
        assert self._loop is not None
        while self._outgoing:
            try:
                sent = self._channel.sendmsg(self._outgoing)
            except BlockingIOError:
                self._loop.add_writer(self._channel, self._send)
                return
            except OSError:  # it has ended; `_receive` finds out
                self._outgoing = []
                break
            while self._outgoing and sent >= len(self._outgoing[0]):
                sent -= len(self._outgoing.pop(0))
            if self._outgoing:
                self._outgoing[0] = self._outgoing[0][sent:]
        self._loop.remove_writer(self._channel)

    def _receive(self) -> None:
        """Receive a part of a message, or the end.

        A process that sends anything else may have been compromised by a picture, and is killed.
        """
        try:
            data = self._channel.recv(65536)
        except BlockingIOError:
            return
        except OSError:  # it was killed before it had read all
            data = b""
        if not data:
            self.close()
            self._reap()
            return
        self._incoming += data
        if len(self._incoming) < HEADER.size:
            return
        length, size = HEADER.unpack_from(self._incoming)
        if length + size > MAX_MESSAGE:
            self.kill()
        elif len(self._incoming) >= HEADER.size + length + size:
            content = bytes(self._incoming[HEADER.size :])
            self._incoming.clear()
            try:
                document = json.loads(content[:length])
            except (ValueError, RecursionError):
                self.kill()
                return
            self._on_message(self, document, content[length:])

    def _reap(self) -> None:
        """Report the end when the process has exited; its socket closes a little earlier."""
        assert self._loop is not None
        code = self._process.poll()
        if code is None:
            self._loop.call_later(REAP_SECONDS, self._reap)
        else:
            self._on_exit(self, code)


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
