"""Checks the model file for changes, in a daemon thread.

The file may be on an unresponsive disk, which must delay neither requests nor the shutdown.
"""

import threading
import traceback

from mnist_sgd_serve.logs import Log
from mnist_sgd_serve.model.manager import ModelManager


class ModelWatch:
    """Reloads the model when its file has changed, or on request.

    Args:
        models: reloads it.
        interval: seconds between two checks.
        log: gets unexpected failures.
    """

    def __init__(self, models: ModelManager, interval: float, log: Log) -> None:
        self.models = models
        self.interval = interval
        self.log = log
        self._requested = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._watch, name="model watch", daemon=True)

    def start(self) -> None:
        """Start checking."""
        self._thread.start()

    def reload(self) -> None:
        """Reload the file soon, whether or not it has changed."""
        self._requested.set()

    def stop(self) -> None:
        """Start no further check; a running one continues."""
        self._stopped = True
        self._requested.set()

    def has_ended(self, seconds: float) -> bool:
        """Wait so long for a running check, after `stop`; False if it still runs."""
        if self._thread.is_alive():
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _watch(self) -> None:
        while True:
            requested = self._requested.wait(self.interval)
            if self._stopped:
                return
            self._requested.clear()
            try:
                if requested:
                    self.models.reload()
                else:
                    self.models.check()
            except Exception as error:  # the thread must survive for later files
                trace = "".join(traceback.format_exception(error))
                self.log.error("model", result="failed", text=str(error), trace=trace)
