"""Several workers on one port: processes that share the listening socket and the metrics' memory.

Each worker is a fresh process, never a fork of one that holds a session. The first starts alone,
so an unusable model is reported once and ends the start; the others follow when it is ready. A
worker that dies later is replaced, immediately if it lived long, else after a backoff that doubles
while replacements die early. Failed starts, for want of memory or processes, are retried in the
same way. A worker that hangs sends no heartbeats, and is killed and replaced.

SIGTERM, SIGINT and SIGHUP are passed on; a second SIGTERM or SIGINT kills. Signals are taken
synchronously, so none can interrupt the start of a worker. After SIGTERM new connections are
rejected when the shutdown delay is over, and workers that do not end in time are killed. The
channel tells a worker when no client can connect any more, and, when it closes, that the supervisor
is gone.
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

from mnist_sgd_serve.logs import make_log
from mnist_sgd_serve.metrics import LAYOUT
from mnist_sgd_serve.process import listening
from mnist_sgd_serve.process.channel import CLOSED
from mnist_sgd_serve.process.waited_signals import WaitedSignals
from mnist_sgd_serve.settings import Settings

GRACE_SECONDS = 20
"""For requests in flight to finish after listening has ended; then they are cut off. With the
shutdown delay it stays below the 30 s after which Kubernetes kills; Docker's default is 10 s."""

KILL_SECONDS = GRACE_SECONDS + 2
"""From the end of the shutdown delay until workers that still run are killed."""

CLOSING_SECONDS = 2.0
"""For a worker to learn that no client can connect any more, after its shutdown delay."""

STARTING_SECONDS = 120.0
"""The longest start of a worker, once another was ready."""

CHECK_SECONDS = 0.05
MIN_LIFETIME = 5.0
MIN_BACKOFF, MAX_BACKOFF = 0.5, 30.0

STARTUP_FAILED = 2
"""The exit code of a worker that has reported on one line why it cannot start."""


Command = Callable[[Sequence[int]], Sequence[str]]


def supervise(
    settings: Settings, command: Command, environment: Mapping[str, str], listener: socket.socket
) -> int:
    """Run workers until told to stop.

    Args:
        settings: of the server.
        command: makes a worker's command line, from the descriptors that it is to `inherit`.
        environment: of the workers.
        listener: their socket; it is closed here after the shutdown delay.

    Returns:
        The exit code: 0 when all ended with 0 after a signal, 2 when the first cannot start.

    Raises:
        OSError: the first process cannot be started.
        ValueError: the system is not Linux.
    """
    if not hasattr(os, "memfd_create"):
        raise ValueError("more than one worker needs Linux; start several servers instead")
    signals = WaitedSignals()
    memory = os.memfd_create("mnist_sgd-metrics")  # needs no writable file system
    os.truncate(memory, settings.workers * LAYOUT.size * 8)
    start = partial(_start, command, environment, listener, memory)
    pool = _WorkerPool(settings, start, listener)
    try:
        while not pool.ended:
            received = signals.take(CHECK_SECONDS)
            pool.check()  # before the signal, so that no earlier death counts as a failed shutdown
            if received not in (None, signal.SIGCHLD):
                pool.signal(received)
    finally:
        signals.close()
        os.close(memory)
    return pool.code


def inherit(descriptors: Sequence[int]) -> tuple[socket.socket, mmap, socket.socket, int]:
    """Open what a worker inherits: listener, metrics' memory, channel, and its own number."""
    file, memory, channel, worker, number = descriptors
    listener = socket.socket(fileno=file)
    listening.inherit(listener, number)
    return listener, mmap(memory, 0), socket.socket(fileno=channel), worker


@dataclass
class _Slot:
    """A place for one worker, and its current process, if any."""

    process: "subprocess.Popen[bytes] | None" = None
    channel: socket.socket | None = None
    started_at: float = 0.0
    ready: bool = False
    silence: float = 0.0  # seconds without a heartbeat
    backoff: float = 0.0
    start_at: float = 0.0  # when to start a process

    def receive(self, seconds: float) -> None:
        """Read the channel; without a message, `seconds` more have passed in silence."""
        assert self.channel is not None
        try:
            received = self.channel.recv(4096)
        except BlockingIOError:
            received = b""
        self.ready = self.ready or bool(received)
        self.silence = 0.0 if received else self.silence + seconds

    def send(self, message: bytes) -> None:
        """Send a message over the channel, if there is one."""
        if self.channel is not None:
            with suppress(OSError):
                self.channel.send(message, socket.MSG_DONTWAIT)

    def back_off(self) -> None:
        """Double the backoff before the next start."""
        self.backoff = min(max(2 * self.backoff, MIN_BACKOFF), MAX_BACKOFF)
        self.start_at = time.monotonic() + self.backoff


def _start(
    command: Command,
    environment: Mapping[str, str],
    listener: socket.socket,
    memory: int,
    number: int,
    slot: _Slot,
) -> None:
    """Start a process in a slot.

    Raises:
        OSError: it cannot be started.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        inherited = (listener.fileno(), memory, theirs.fileno())
        try:
            slot.process = subprocess.Popen(
                command([*inherited, number, listening.inode(listener)]),
                env=dict(environment),
                pass_fds=inherited,
                start_new_session=True,  # a terminal's Ctrl-C reaches it only by the supervisor
            )
        except OSError:
            ours.close()
            raise
    ours.setblocking(False)
    slot.channel, slot.ready, slot.silence = ours, False, 0.0
    slot.started_at = time.monotonic()


class _WorkerPool:
    def __init__(
        self, settings: Settings, start: Callable[[int, _Slot], None], listener: socket.socket
    ) -> None:
        self.settings = settings
        self.slots = [_Slot() for _ in range(settings.workers)]
        self.start = start
        self.listener = listener
        self.log = make_log(settings)
        self.was_ready = False  # the first worker has been ready
        self.stopping = False
        self.close_at = self.kill_at = inf  # listening ends; remaining workers are killed
        self.ended = False
        self.code = 0
        self.checked_at = time.monotonic()

    def check(self) -> None:
        """Handle workers that are ready, ended or hang, and start those that are due."""
        now = time.monotonic()
        # At most a second, as this process may have been stopped itself.
        since, self.checked_at = min(now - self.checked_at, 1.0), now
        for number, slot in enumerate(self.slots):
            if slot.process is not None and slot.process.poll() is not None:
                self._reap(slot, slot.process)
            elif slot.process is not None:
                slot.receive(since)
                if slot.ready and not self.was_ready:
                    self.was_ready = True
                    if self.settings.open:
                        listening.open_page(self.listener, self.settings)
                self._replace_if_hanging(slot, slot.process)
            may_start = not self.stopping and (self.was_ready or number == 0)
            if slot.process is None and may_start and now >= slot.start_at:
                self._try_to_start(number, slot)
        if self.stopping:
            self._stop(now)

    def signal(self, number: int) -> None:
        """Pass a signal on; a second SIGTERM or SIGINT kills."""
        if self.stopping and number == signal.SIGHUP:
            return
        if self.stopping:
            self.code = 1
            self._send_all(signal.SIGKILL)
        elif number == signal.SIGHUP:
            self._send_all(signal.SIGHUP)
        else:
            self.stopping = True
            self.close_at = time.monotonic() + self.settings.shutdown_delay
            self.kill_at = self.close_at + KILL_SECONDS
            self._send_all(signal.SIGTERM)
            for slot in self.slots:
                if slot.process is not None and not slot.ready:
                    slot.process.kill()  # it has no client, and may still load its model

    def _send_all(self, number: int) -> None:
        for slot in self.slots:
            if slot.process is not None:
                slot.process.send_signal(number)

    def _stop(self, now: float) -> None:
        """Do what is due after the first signal: stop listening, kill, end."""
        if now >= self.close_at:
            self.close_at = inf
            listening.reject_new(self.listener)
            self.listener.close()
            for slot in self.slots:
                slot.send(CLOSED)
        left = [slot.process.pid for slot in self.slots if slot.process is not None]
        if left and now >= self.kill_at:
            self.kill_at, self.code = inf, 1
            self._send_all(signal.SIGKILL)
            self.log.error("cut off", processes=left)
        self.ended = not left

    def _try_to_start(self, number: int, slot: _Slot) -> None:
        """Start a process, or retry later: the service survives a failed start."""
        try:
            self.start(number, slot)
        except OSError as error:
            if not self.was_ready:
                raise
            slot.back_off()
            self.log.error("worker not started", error=str(error), retry_seconds=slot.backoff)

    def _replace_if_hanging(self, slot: _Slot, process: "subprocess.Popen[bytes]") -> None:
        """Kill a worker that was silent for too long; it is replaced like one that died."""
        if not self.was_ready:  # the first may take long, as nobody is served before it
            return
        limit = self.settings.worker_timeout if slot.ready else STARTING_SECONDS
        if slot.silence > limit:
            slot.silence = 0.0
            self.log.error("worker hangs", process=process.pid, seconds=limit)
            process.kill()

    def _reap(self, slot: _Slot, process: "subprocess.Popen[bytes]") -> None:
        """Reap a dead worker and schedule its restart."""
        assert slot.channel is not None
        slot.channel.close()
        slot.process = slot.channel = None
        code = process.returncode
        if self.stopping:
            self.code = self.code or int(code != 0 and slot.ready)
            return
        if not self.was_ready:  # no worker has ever been ready
            self.stopping, self.code = True, code if code > 0 else 1
            if code != STARTUP_FAILED:
                self.log.error("worker died", process=process.pid, code=code)
            return
        if time.monotonic() - slot.started_at < MIN_LIFETIME:
            slot.back_off()
        else:
            slot.backoff = slot.start_at = 0.0
        self.log.error("worker died", process=process.pid, code=code, restart_seconds=slot.backoff)
