"""What a run's folder is told while the training goes on, so that a crash loses next to nothing."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_sgd._files import remove_leftovers
from mnist_sgd.callbacks import Callback
from mnist_sgd.report import folder as files
from mnist_sgd.report.facts import configuration, environment
from mnist_sgd.report.history import History

if TYPE_CHECKING:
    from mnist_sgd.learner import Learner

__all__ = ["RunLog"]


class RunLog(Callback):
    """Writes a run's settings before its first batch, its history after epochs and at any end.

    Writing takes as long as the history is, so after an epoch it waits until `INTERVAL` has
    passed. The first of several ranks writes.

    Args:
        folder: of the run; it is there.
        config: what the run was asked to do.

    Attributes:
        seconds: from the fit's first batch to its end, with those of the fit that it goes on from.
    """

    during_lr_find = False

    INTERVAL = 1.0
    """Seconds of training that a crash can take from the history, beside the epoch at hand."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.folder = folder
        self.config = config
        self.seconds = 0.0
        self._began = self._written = 0.0
        self._environment: dict[str, Any] = {}

    def before_fit(self, learn: "Learner") -> None:
        """Start the clock; clear away what killed writers left, and write the settings.

        A run that was finished is so no longer.
        """
        if not learn.ranks.is_first:
            return
        for name in files.FILES:
            remove_leftovers(self.folder / name)
        files.mark_unfinished(self.folder)
        before = self._seconds_before() if learn.recorder.lrs else 0.0
        self._began = time.monotonic() - before
        self._written = time.monotonic()
        self._environment = environment(learn)
        files.write_json(self.folder / files.CONFIG, configuration(learn, self.config))
        self._write(learn)

    def _seconds_before(self) -> float:
        """What the fit that this one goes on from took, as far as it was written."""
        path = self.folder / files.ENVIRONMENT
        facts = json.loads(path.read_bytes()) if path.is_file() else {}
        return float(facts.get("training_seconds", 0.0))

    def after_epoch(self, learn: "Learner") -> None:
        """Write, if it is time to."""
        if learn.ranks.is_first and time.monotonic() - self._written >= self.INTERVAL:
            self._write(learn)
            self._written = time.monotonic()

    def cleanup_fit(self, learn: "Learner") -> None:
        """Write the rest."""
        if learn.ranks.is_first:
            self._write(learn)

    def _write(self, learn: "Learner") -> None:
        self.seconds = time.monotonic() - self._began
        History.of(learn.recorder).write(self.folder)
        seconds = {"training_seconds": round(self.seconds, 3)}
        files.write_json(self.folder / files.ENVIRONMENT, self._environment | seconds)
