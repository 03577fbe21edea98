"""Several workers on one port: processes that share the listening socket and the metrics' memory.

Each worker is a process of its own, started anew and never forked from one that holds a session.
The first starts alone, so a model that cannot be used is said once and ends the start; the others
follow when it is ready. A worker that dies later is replaced, at once if it lived long, else after
a pause that doubles while replacements die young. One that cannot be started, for want of memory or
of room for a process, is tried again in the same way. One that hangs, and so says nothing over its
channel, is killed and replaced.

SIGTERM, SIGINT and SIGHUP are passed on; a second SIGTERM or SIGINT kills. Signals are waited for,
so none can interrupt the start of a worker. After SIGTERM new connections are turned away when the
drain time is over, and what still runs when the workers should have ended is killed. A worker's end
of the channel tells it that nobody can connect any more, and, by its own end, that nobody
supervises the worker.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from mmap import mmap

from mnist_sgd_serve.logs import Log
from mnist_sgd_serve.metrics import LAYOUT
from mnist_sgd_serve.process.channel import CLOSED
from mnist_sgd_serve.process.listening import turn_away
from mnist_sgd_serve.process.waited_signals import WaitedSignals

__all__ = ["CLOSING_SECONDS", "GRACE_SECONDS", "inherit", "supervise"]

GRACE_SECONDS = 20
"""For requests in flight to finish after the listening has ended; then they are cut off. With the
drain time it stays below the 30 s after which Kubernetes kills, 10 s for Docker's own default."""

KILL_SECONDS = GRACE_SECONDS + 2
"""From the end of the drain time to the end of workers that have not ended by themselves."""

CLOSING_SECONDS = 2.0
"""For a worker to hear that nobody can connect any more, after its own drain time."""

STARTING_SECONDS = 120.0
"""For a worker to be ready, once another was; then it is taken to hang."""

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
    *,
    drain_seconds: float,
    hang_seconds: float,
) -> int:
    """Run workers until told to stop.

    Args:
        command: gives a worker's command line, from what it is to `inherit`.
        environment: of the workers.
        workers: how many.
        listener: what they listen on; it is closed here when they have drained.
        log: is told of their ends.
        drain_seconds: for which they still listen after they are told to stop.
        hang_seconds: after which a worker that gives no sign of life is replaced.

    Returns:
        The exit code: 0 when all ended with 0 after a signal, 2 when the first cannot start.

    Raises:
        OSError: the first process cannot be made.
        ValueError: the system is not Linux.
    """
    if not hasattr(os, "memfd_create"):
        raise ValueError("more than one worker needs Linux; start several servers instead")
    signals = WaitedSignals()
    memory = os.memfd_create("mnist_sgd-metrics")  # no file system need be writable
    os.truncate(memory, workers * LAYOUT.size * 8)
    crew = _Crew(
        [_Worker() for _ in range(workers)],
        partial(_start, command, environment, listener, memory),
        listener,
        log,
        drain_seconds,
        hang_seconds,
    )
    try:
        while not crew.ended:
            received = signals.take(POLL_SECONDS)
            crew.look()  # before the signal, so that no earlier death counts as a bad end
            if received not in (None, signal.SIGCHLD):
                crew.signal(received)
    finally:
        signals.close()
        os.close(memory)
    return crew.code


def inherit(descriptors: Sequence[int]) -> tuple[socket.socket, mmap, socket.socket, int]:
    """What a worker is given by numbers: listener, metrics' memory, channel, its own number."""
    listener, memory, channel, worker = descriptors
    return socket.socket(fileno=listener), mmap(memory, 0), socket.socket(fileno=channel), worker


@dataclass
class _Worker:
    """One place in the crew, and the process that holds it now, if any."""

    process: "subprocess.Popen[bytes] | None" = None
    channel: socket.socket | None = None
    born: float = 0.0
    ready: bool = False
    silent: float = 0.0  # seconds without a sign of life
    pause: float = 0.0
    due: float = 0.0  # when a process is to be started

    def listen(self, seconds: float) -> None:
        """Take note of what the process says over the channel, or that it said nothing so long."""
        assert self.channel is not None
        try:
            heard = self.channel.recv(4096)
        except BlockingIOError:
            heard = b""
        self.ready = self.ready or bool(heard)
        self.silent = 0.0 if heard else self.silent + seconds

    def say(self, word: bytes) -> None:
        """Say something over the channel, if the process listens."""
        if self.channel is not None:
            with suppress(OSError):
                self.channel.send(word, socket.MSG_DONTWAIT)

    def wait_before_the_next(self) -> None:
        """Double the pause before the next start."""
        self.pause = min(max(2 * self.pause, FIRST_PAUSE), LONGEST_PAUSE)
        self.due = time.monotonic() + self.pause


def _start(
    command: Command,
    environment: Mapping[str, str],
    listener: socket.socket,
    memory: int,
    number: int,
    place: _Worker,
) -> None:
    """Start a process in a place.

    Raises:
        OSError: there is no room for one more.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        inherited = (listener.fileno(), memory, theirs.fileno())
        try:
            place.process = subprocess.Popen(
                command([*inherited, number]),
                env=dict(environment),
                pass_fds=inherited,
                start_new_session=True,  # a terminal's Ctrl-C reaches it by the supervisor alone
            )
        except OSError:
            ours.close()
            raise
    ours.setblocking(False)
    place.channel, place.ready, place.silent = ours, False, 0.0
    place.born = time.monotonic()


class _Crew:
    def __init__(
        self,
        places: list[_Worker],
        start: Callable[[int, _Worker], None],
        listener: socket.socket,
        log: Log,
        drain_seconds: float,
        hang_seconds: float,
    ) -> None:
        self.places = places
        self.start = start
        self.listener = listener
        self.log = log
        self.drain_seconds = drain_seconds
        self.hang_seconds = hang_seconds
        self.settled = False  # the first worker has been ready
        self.stopping = False
        self.drained = self.last = inf  # when listening ends, and when who is left is killed
        self.ended = False
        self.code = 0
        self.looked = time.monotonic()

    def look(self) -> None:
        """Take note of workers that are ready, ended or hang, and start those that are due."""
        now = time.monotonic()
        # No more than a moment, for this process may have been stopped itself.
        since, self.looked = min(now - self.looked, 1.0), now
        for number, place in enumerate(self.places):
            if place.process is not None and place.process.poll() is not None:
                self._bury(place, place.process)
            elif place.process is not None:
                place.listen(since)
                self.settled = self.settled or place.ready
                self._replace_if_hanging(place, place.process)
            may_start = not self.stopping and (self.settled or number == 0)
            if place.process is None and may_start and now >= place.due:
                self._try_to_start(number, place)
        if self.stopping:
            self._end(now)

    def signal(self, number: int) -> None:
        """Pass a signal on; the second that ends kills."""
        if self.stopping and number == signal.SIGHUP:
            return
        if self.stopping:
            self.code = 1
            self._kill_all()
        elif number == signal.SIGHUP:
            self._send_all(signal.SIGHUP)
        else:
            self.stopping = True
            self.drained = time.monotonic() + self.drain_seconds
            self.last = self.drained + KILL_SECONDS
            self._send_all(signal.SIGTERM)
            for place in self.places:
                if place.process is not None and not place.ready:
                    place.process.kill()  # it has no client, and may wait for its model

    def _send_all(self, number: int) -> None:
        for place in self.places:
            if place.process is not None:
                place.process.send_signal(number)

    def _kill_all(self) -> None:
        self._send_all(signal.SIGKILL)

    def _end(self, now: float) -> None:
        """Do what is due after the first signal: stop listening, kill, end."""
        if now >= self.drained:
            self.drained = inf
            turn_away(self.listener)
            self.listener.close()
            for place in self.places:
                place.say(CLOSED)
        left = [place.process.pid for place in self.places if place.process is not None]
        if left and now >= self.last:
            self.last, self.code = inf, 1
            self._kill_all()
            self.log.error("cut off", processes=left)
        self.ended = not left

    def _try_to_start(self, number: int, place: _Worker) -> None:
        """Start a process, or try it later: the service need not end with one of its workers."""
        try:
            self.start(number, place)
        except OSError as error:
            if not self.settled:
                raise
            place.wait_before_the_next()
            self.log.error("worker not started", error=str(error), retry_seconds=place.pause)

    def _replace_if_hanging(self, place: _Worker, process: "subprocess.Popen[bytes]") -> None:
        """Kill a worker that is silent for too long; it is replaced as one that died."""
        if not self.settled:  # the first may take its time: nobody is served before it
            return
        limit = self.hang_seconds if place.ready else STARTING_SECONDS
        if place.silent > limit:
            place.silent = 0.0
            self.log.error("worker hangs", process=process.pid, seconds=limit)
            process.kill()

    def _bury(self, place: _Worker, process: "subprocess.Popen[bytes]") -> None:
        """Take note of an end, and see what follows from it."""
        assert place.channel is not None
        place.channel.close()
        place.process = place.channel = None
        code = process.returncode
        if self.stopping:
            self.code = self.code or int(code != 0 and place.ready)
            return
        if not self.settled:  # no worker has ever been ready
            self.stopping, self.code = True, code if code > 0 else 1
            if code != UNUSABLE:
                self.log.error("worker died", process=process.pid, code=code)
            return
        if time.monotonic() - place.born < YOUNG_SECONDS:
            place.wait_before_the_next()
        else:
            place.pause = place.due = 0.0
        self.log.error("worker died", process=process.pid, code=code, restart_seconds=place.pause)
