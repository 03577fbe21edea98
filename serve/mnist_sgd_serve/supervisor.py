"""Several workers on one port: processes that share the listening socket and the metrics' memory.

Each worker is a process of its own, started anew and never forked from one that holds a session.
The first starts alone, so a model that cannot be used is said once and ends the start; the others
follow when it is ready. A worker that dies later is replaced, at once if it lived long, else after
a pause that doubles while replacements die young.

SIGTERM, SIGINT and SIGHUP are passed on; a second SIGTERM or SIGINT kills. Signals are waited for,
not handled, so none can interrupt the start of a worker. A worker holds one end of a channel: by it
the worker says that it is ready, and its end tells the worker that nobody supervises it any more.
"""

import os
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from mmap import mmap

from mnist_sgd_serve.logs import Log
from mnist_sgd_serve.metrics import LAYOUT

__all__ = ["SIGNALS", "inherit", "supervise"]

SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD})
"""Blocked in the supervisor, and in a worker until it can handle them."""

POLL_SECONDS = 0.05
YOUNG_SECONDS = 5.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0

UNUSABLE = 2
"""The exit code of a worker that has said on one line why it cannot start."""


Command = Callable[[Sequence[int]], Sequence[str]]


def supervise(
    command: Command,
    environment: Mapping[str, str],
    workers: int,
    listener: socket.socket,
    log: Log,
) -> int:
    """Run workers until told to stop.

    Args:
        command: gives a worker's command line, from what it is to `inherit`.
        environment: of the workers.
        workers: how many.
        listener: what they listen on; it is closed here when the workers are told to stop.
        log: is told of their ends.

    Returns:
        The exit code: 0 when all ended with 0 after a signal, 2 when the first cannot start.
    """
    if not hasattr(os, "memfd_create"):
        raise ValueError("more than one worker needs Linux; start several servers instead")
    handled = _hold_signals()
    memory = os.memfd_create("mnist_sgd-metrics")  # no file system need be writable
    os.truncate(memory, workers * LAYOUT.size * 8)
    crew = _Crew(command, environment, workers, listener, memory, log)
    try:
        while not crew.ended:
            received = _received(handled)
            crew.look()  # before the signal, so that no earlier death counts as a bad end
            if received not in (None, signal.SIGCHLD):
                crew.signal(received)
    finally:
        os.close(memory)
    return crew.code


def _hold_signals() -> deque[int]:
    """Make signals wait for `_received`, whichever thread the kernel delivers them to.

    Returns:
        Signals that another thread took: OpenBLAS starts threads when NumPy is imported, and those
        block no signal. Python runs the handler in the main thread.
    """
    handled: deque[int] = deque()
    for number in SIGNALS:
        signal.signal(number, lambda taken, _: handled.append(taken))
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    return handled


def _received(handled: deque[int]) -> int | None:
    """Take a signal that has come, after a short wait if there is none yet.

    Not with `signal.sigtimedwait`: where the process is stopped and continued while that waits, it
    returns a signal that nobody has sent, out of uninitialised memory (CPython 3.11).
    """
    if not handled and not signal.sigpending() & SIGNALS:
        time.sleep(POLL_SECONDS)
    if handled:
        return handled.popleft()
    waiting = signal.sigpending() & SIGNALS
    return signal.sigwait(waiting) if waiting else None


def inherit(descriptors: Sequence[int]) -> tuple[socket.socket, mmap, socket.socket, int]:
    """What a worker is given by numbers: listener, metrics' memory, channel, its own number."""
    listener, memory, channel, worker = descriptors
    return socket.socket(fileno=listener), mmap(memory, 0), socket.socket(fileno=channel), worker


class _Worker:
    """One place in the crew, and the process that holds it now, if any."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.channel: socket.socket | None = None
        self.born = 0.0
        self.pause = 0.0
        self.due = 0.0  # when a process is to be started


class _Crew:
    def __init__(
        self,
        command: Command,
        environment: Mapping[str, str],
        workers: int,
        listener: socket.socket,
        memory: int,
        log: Log,
    ) -> None:
        self.command = command
        self.environment = environment
        self.listener = listener
        self.memory = memory
        self.log = log
        self.places = [_Worker() for _ in range(workers)]
        self.settled = False  # the first worker has been ready
        self.stopping = False
        self.ended = False
        self.code = 0

    def look(self) -> None:
        """Take note of workers that are ready or ended, and start those that are due."""
        for number, place in enumerate(self.places):
            if place.process is not None and place.process.poll() is not None:
                self._bury(place, place.process)
            elif place.process is not None and not self.settled:
                self.settled = _has_spoken(place)
            may_start = not self.stopping and (self.settled or number == 0)
            if place.process is None and may_start and time.monotonic() >= place.due:
                self._start(number, place)
        if self.stopping and all(place.process is None for place in self.places):
            self.ended = True

    def signal(self, number: int) -> None:
        """Pass a signal on; the second that ends kills."""
        if self.stopping and number == signal.SIGHUP:
            return
        if self.stopping:
            number, self.code = signal.SIGKILL, 1
        elif number != signal.SIGHUP:
            number, self.stopping = signal.SIGTERM, True
            self.listener.close()
        for place in self.places:
            if place.process is not None:
                place.process.send_signal(number)

    def _start(self, number: int, place: _Worker) -> None:
        place.channel, theirs = socket.socketpair()
        with theirs:
            inherited = (self.listener.fileno(), self.memory, theirs.fileno())
            place.process = subprocess.Popen(
                self.command([*inherited, number]),
                env=dict(self.environment),
                pass_fds=inherited,
                start_new_session=True,  # a terminal's Ctrl-C reaches it by the supervisor alone
            )
        place.channel.setblocking(False)
        place.born = time.monotonic()

    def _bury(self, place: _Worker, process: "subprocess.Popen[bytes]") -> None:
        """Take note of an end, and see what follows from it."""
        assert place.channel is not None
        place.channel.close()
        place.process = None
        code = process.returncode
        if self.stopping:
            self.code = self.code or int(code != 0)
            return
        if not self.settled:  # no worker has ever been ready
            self.stopping, self.code = True, code if code > 0 else 1
            if code != UNUSABLE:
                self.log.error("worker died", process=process.pid, code=code)
            return
        now = time.monotonic()
        young = now - place.born < YOUNG_SECONDS
        place.pause = min(max(2 * place.pause, FIRST_PAUSE), LONGEST_PAUSE) if young else 0.0
        place.due = now + place.pause
        self.log.error("worker died", process=process.pid, code=code, restart_seconds=place.pause)


def _has_spoken(place: _Worker) -> bool:
    """Whether a worker has said that it is ready."""
    assert place.channel is not None
    with suppress(BlockingIOError):
        return place.channel.recv(1) != b""
    return False
