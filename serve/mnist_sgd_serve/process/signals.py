"""The signals of a worker, handled even if its event loop hangs.

Python's and asyncio's handlers run in the main thread: never, if that hangs in a run of the model.
So Python's C handler writes each signal to a pipe, which a thread reads. It passes the signal on to
the event loop, and ends the process itself if the loop does not in time. A second SIGTERM or SIGINT
ends it immediately.
"""

import asyncio
import os
import select
import signal
import threading
import time
from collections.abc import Callable

from mnist_sgd_serve.logs import Log

ENDING = (signal.SIGTERM, signal.SIGINT)

_CLOSE = 0
"""Written to the pipe to end the thread; no signal has this number."""


class Signals:
    """Waits for SIGTERM, SIGINT and SIGHUP; created in the main thread, in a running loop.

    Args:
        handle: called in the event loop with SIGTERM, for SIGINT too, or SIGHUP.
        seconds: from the first SIGTERM to the end of the process, if nothing else ends it.
        before_exit: called before the process is ended here, not in the main thread.
        log: gets a line when it is ended here.
    """

    def __init__(
        self,
        handle: Callable[[int], None],
        seconds: float,
        before_exit: Callable[[], None],
        log: Log,
    ) -> None:
        self.handle = handle
        self.seconds = seconds
        self.before_exit = before_exit
        self.log = log
        self.loop = asyncio.get_running_loop()
        self.end: float | None = None  # when the process must have ended
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.writing, False)
        self._before = {
            number: signal.signal(number, _ignore) for number in (*ENDING, signal.SIGHUP)
        }
        self._wakeup = signal.set_wakeup_fd(self.writing, warn_on_full_buffer=False)
        threading.Thread(target=self._wait, name="signals", daemon=True).start()

    def stop(self) -> None:
        """Act as on SIGTERM."""
        os.write(self.writing, bytes([signal.SIGTERM]))

    def close(self) -> None:
        """Stop waiting, and restore the handlers; in the main thread."""
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        os.write(self.writing, bytes([_CLOSE]))

    def _wait(self) -> None:
        while True:
            left = None if self.end is None else max(0.0, self.end - time.monotonic())
            if not select.select([self.reading], [], [], left)[0]:
                self._exit("cut off")
            for number in os.read(self.reading, 64):
                if number == _CLOSE:
                    os.close(self.reading)
                    os.close(self.writing)
                    return
                self._take(number)

    def _take(self, number: int) -> None:
        if number in ENDING:
            if self.end is not None:
                self._exit("forced")
            self.end = time.monotonic() + self.seconds
            self.loop.call_soon_threadsafe(self.handle, signal.SIGTERM)
        elif number == signal.SIGHUP:
            self.loop.call_soon_threadsafe(self.handle, signal.SIGHUP)

    def _exit(self, event: str) -> None:
        """End the process without waiting for threads or clients."""
        try:
            self.before_exit()
            self.log.warning(event, process=os.getpid())
        finally:
            os._exit(1)


def _ignore(number: int, frame: object) -> None:
    """Do nothing in the main thread; the other thread handles the signal."""
