"""Looks at the model's file, in a thread that nobody waits for.

A file may lie on a disk that has stopped answering. Whoever reads it then waits for as long, and
neither the requests nor the end of the server shall wait too.
"""

import threading
import traceback

from mnist_sgd_serve.logs import Log
from mnist_sgd_serve.model.host import ModelHost

__all__ = ["ModelWatch"]


class ModelWatch:
    """Lets a host look at its file now and then, and load it when told.

    Args:
        host: of the model.
        seconds: between two looks.
        log: is told of what goes wrong with a look, but for what the host itself tells.
    """

    def __init__(self, host: ModelHost, seconds: float, log: Log) -> None:
        self.host = host
        self.seconds = seconds
        self.log = log
        self._asked = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._watch, name="model watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def reload(self) -> None:
        """Load the file soon, whether or not it is another."""
        self._asked.set()

    def stop(self) -> None:
        """Begin no further look; one that has begun goes on."""
        self._stopped = True
        self._asked.set()

    def has_ended(self, seconds: float) -> bool:
        """Whether the last look ends within so many seconds, or there was none; after `stop`."""
        if self._thread.is_alive():
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _watch(self) -> None:
        while True:
            asked = self._asked.wait(self.seconds)
            if self._stopped:
                return
            self._asked.clear()
            try:
                if asked:
                    self.host.reload()
                else:
                    self.host.check()
            except Exception as error:  # a thread that ended would see no later file
                trace = "".join(traceback.format_exception(error))
                self.log.error("model", result="failed", text=str(error), trace=trace)
