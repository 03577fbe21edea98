"""End a training early because a file asks for it, and keep its weights."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_sgd.report.folder import STOP
from mnist_sgd.training.callbacks.base import Callback, CancelFit, CancelTrain

if TYPE_CHECKING:
    from mnist_sgd.training.learner import Learner


class StopOnRequest(Callback):
    """End the fit once the file `stop` is in the run's folder.

    The epoch's training ends after the batch, and the validation follows, so that the last row of
    the table is of the weights that are kept. Several ranks look together, every `RANKS_LOOK_EVERY`
    batches, as they must end after the same one.

    Args:
        folder: of the run.

    Attributes:
        stopped: whether the fit was ended.
    """

    during_lr_find = False

    INTERVAL = 0.1
    """Seconds between two looks of a single process."""

    RANKS_LOOK_EVERY = 20

    def __init__(self, folder: Path) -> None:
        self.path = folder / STOP
        self.stopped = False
        self._looked = self._batches = 0.0

    def before_fit(self, learn: "Learner") -> None:
        """Forget an earlier fit."""
        self.stopped = False
        self._looked, self._batches = 0.0, 0

    def after_batch(self, learn: "Learner") -> None:
        """End the epoch's training if it is asked for."""
        if learn.training and self._is_asked_for(learn):
            self.stopped = True
            raise CancelTrain

    def after_epoch(self, learn: "Learner") -> None:
        """End the fit."""
        if self.stopped:
            raise CancelFit

    def _is_asked_for(self, learn: "Learner") -> bool:
        if learn.ranks.world_size > 1:
            self._batches += 1
            if self._batches % self.RANKS_LOOK_EVERY:
                return False
            here = b"stop" if learn.ranks.is_main_process and self.path.exists() else b""
            return learn.ranks.broadcast_bytes(here) == b"stop"
        now = time.monotonic()
        if now - self._looked < self.INTERVAL:
            return False
        self._looked = now
        return self.path.exists()
