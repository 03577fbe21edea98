"""The signals of the supervisor, which it takes one by one.

They are blocked, so they stay pending until they are taken; a worker inherits that, and unblocks
them when it can handle them. A library's thread in which they are not blocked may still receive
one; then a handler notes it.
"""

import signal
import time
from collections import deque

SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD})
"""Blocked in the supervisor, and in a worker until it can handle them."""

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class WaitedSignals:
    """Blocks the signals; created in the main thread."""

    def __init__(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self._handled: deque[int] = deque()
        self._before = {number: signal.signal(number, self._note) for number in HANDLED}

    def take(self, seconds: float) -> int | None:
        """Take a pending signal, after a short wait if there is none yet.

        `signal.sigtimedwait` is not used: in CPython 3.11, if the process is stopped and continued
        meanwhile, it returns a signal that was never sent, from uninitialised memory.
        """
        if not signal.sigpending() & SIGNALS and not self._handled:
            time.sleep(seconds)
        if self._handled:
            return self._handled.popleft()
        waiting = signal.sigpending() & SIGNALS
        return signal.sigwait(waiting) if waiting else None

    def close(self) -> None:
        """Restore the handlers; the signals stay blocked."""
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _note(self, number: int, frame: object) -> None:
        self._handled.append(number)
