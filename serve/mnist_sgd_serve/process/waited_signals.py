"""The signals of the supervisor, which it takes one by one when it has time.

They are blocked, so that they wait in the system, and so that a worker, which inherits that, waits
with them until it can handle them. A thread of a library, in which they are not blocked, may be
given one all the same; then a handler takes note of it.
"""

import signal
import time
from collections import deque

__all__ = ["SIGNALS", "WaitedSignals"]

SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD})
"""Blocked in the supervisor, and in a worker until it can handle them."""

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class WaitedSignals:
    """Blocks the signals; made in the main thread."""

    def __init__(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self._handled: deque[int] = deque()
        self._before = {number: signal.signal(number, self._note) for number in HANDLED}

    def take(self, seconds: float) -> int | None:
        """Take a signal that has come, after a short wait if there is none yet.

        Not with `signal.sigtimedwait`: where the process is stopped and continued while that waits,
        it returns a signal that nobody has sent, out of uninitialised memory (CPython 3.11).
        """
        if not signal.sigpending() & SIGNALS and not self._handled:
            time.sleep(seconds)
        if self._handled:
            return self._handled.popleft()
        waiting = signal.sigpending() & SIGNALS
        return signal.sigwait(waiting) if waiting else None

    def close(self) -> None:
        """Handle signals as before; they stay blocked."""
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _note(self, number: int, frame: object) -> None:
        self._handled.append(number)
