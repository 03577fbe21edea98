"""The signals of a worker, which are heard whatever its event loop is doing.

A handler of Python or asyncio runs when the main thread gets to it: never, if that hangs in a run
of the model. So Python's own C handler writes each signal to a pipe, and a thread waits there. It
passes the signal on to the event loop, and ends the process itself if the loop has not done so in
time. A second SIGTERM or SIGINT ends it at once.
"""

import asyncio
import os
import select
import signal
import threading
import time
from collections.abc import Callable

from mnist_sgd_serve.logs import Log

__all__ = ["Signals"]

ENDING = (signal.SIGTERM, signal.SIGINT)

_CLOSE = 0
"""In the pipe, where no signal has this number."""


class Signals:
    """Waits for SIGTERM, SIGINT and SIGHUP; made in the main thread, within the running loop.

    Args:
        handle: is called in the event loop with SIGTERM, for SIGINT too, or SIGHUP.
        seconds: from the first SIGTERM to the end of the process, if nothing else ends it.
        last: is called before the process is ended here, in another thread than the main one.
        log: is told when it is ended here.
    """

    def __init__(
        self,
        handle: Callable[[int], None],
        seconds: float,
        last: Callable[[], None],
        log: Log,
    ) -> None:
        self.handle = handle
        self.seconds = seconds
        self.last = last
        self.log = log
        self.loop = asyncio.get_running_loop()
        self.end: float | None = None  # when the process must have ended
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.writing, False)
        self._before = {
            number: signal.signal(number, _nothing) for number in (*ENDING, signal.SIGHUP)
        }
        self._wakeup = signal.set_wakeup_fd(self.writing, warn_on_full_buffer=False)
        threading.Thread(target=self._wait, name="signals", daemon=True).start()

    def stop(self) -> None:
        """Do as if SIGTERM had come."""
        os.write(self.writing, bytes([signal.SIGTERM]))

    def close(self) -> None:
        """Wait no more, and handle signals as before; in the main thread."""
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        os.write(self.writing, bytes([_CLOSE]))

    def _wait(self) -> None:
        while True:
            left = None if self.end is None else max(0.0, self.end - time.monotonic())
            if not select.select([self.reading], [], [], left)[0]:
                self._leave("cut off")
            for number in os.read(self.reading, 64):
                if number == _CLOSE:
                    os.close(self.reading)
                    os.close(self.writing)
                    return
                self._take(number)

    def _take(self, number: int) -> None:
        if number in ENDING:
            if self.end is not None:
                self._leave("forced")
            self.end = time.monotonic() + self.seconds
            self.loop.call_soon_threadsafe(self.handle, signal.SIGTERM)
        elif number == signal.SIGHUP:
            self.loop.call_soon_threadsafe(self.handle, signal.SIGHUP)

    def _leave(self, event: str) -> None:
        """End the process, which waits for no thread and no client."""
        try:
            self.last()
            self.log.warning(event, process=os.getpid())
        finally:
            os._exit(1)


def _nothing(number: int, frame: object) -> None:
    """Handle a signal in the main thread, where nothing is left to do."""
