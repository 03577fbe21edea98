"""A decoder as its parent sees it: it is started, given a picture, listened to, and killed."""

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

from mnist_sgd_serve.http.decoder import HEAD

__all__ = ["DecoderProcess"]

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # glibc gives what a large picture took back to the system, and keeps what small ones reuse.
    "MALLOC_MMAP_THRESHOLD_": "4194304",
    "MALLOC_TRIM_THRESHOLD_": "16777216",
}
SECRET = "MNIST_SGD_TOKEN"
"""What a process that reads strangers' files need not know."""

PROGRAM = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from mnist_sgd_serve.http.decoder import main
main(int(sys.argv[2]), sys.argv[3])
"""

HELD = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
"""Signals that the process ignores as soon as it can, and that must not end it before."""

MOST_ANSWERED = 2**20
"""Bytes of a message from the process; a traceback is the longest that it has reason to send."""

REAP_SECONDS = 0.01
"""Between two looks at whether a process that is ending has ended."""


class DecoderProcess:
    """A process that runs `decoder.main`; it starts at once and is heard from `attach` on.

    Args:
        limits: for `decoder.main`, as JSON.
        answered: is told of each message of the process, the first of which says that it is ready.
        ended: is told once that it has ended, with its exit code or minus the signal's number.

    Attributes:
        closed: it is ending, and cannot be given anything.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self,
        limits: str,
        answered: Callable[["DecoderProcess", dict[str, Any], bytes], None],
        ended: Callable[["DecoderProcess", int], None],
    ) -> None:
        self.closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._answered = answered
        self._ended = ended
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
        """Listen to the process, in the thread of a loop, for which all else is too."""
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
        """Kill the process; `ended` is told when it is gone."""
        self._process.kill()

    def close(self) -> None:
        """Kill the process, and call nobody any more; a second time does nothing."""
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
        """Wait for the end of a process that was killed, but no longer than so many seconds.

        On a machine that is short of processors that may take a while, which is nobody's loss.
        """
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
            except OSError:  # it has ended, which the reader finds out
                self._outgoing = []
                break
            while self._outgoing and sent >= len(self._outgoing[0]):
                sent -= len(self._outgoing.pop(0))
            if self._outgoing:
                self._outgoing[0] = self._outgoing[0][sent:]
        self._loop.remove_writer(self._channel)

    def _receive(self) -> None:
        """Take what has come: a part of a message, one, or the end.

        A process that sends anything else may have been taken over by a picture, and is killed.
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
        if len(self._incoming) < HEAD.size:
            return
        length, size = HEAD.unpack_from(self._incoming)
        if length + size > MOST_ANSWERED:
            self.kill()
        elif len(self._incoming) >= HEAD.size + length + size:
            content = bytes(self._incoming[HEAD.size :])
            self._incoming.clear()
            try:
                document = json.loads(content[:length])
            except (ValueError, RecursionError):
                self.kill()
                return
            self._answered(self, document, content[length:])

    def _reap(self) -> None:
        """Tell of the end when it is complete: the socket is closed a little before."""
        assert self._loop is not None
        code = self._process.poll()
        if code is None:
            self._loop.call_later(REAP_SECONDS, self._reap)
        else:
            self._ended(self, code)


def _start(limits: str, descriptor: int) -> "subprocess.Popen[bytes]":
    """Start a process of its own session, so that a terminal's signals do not reach it."""
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
