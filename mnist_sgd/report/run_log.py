"""What a run's folder is told while the training goes on, so that a crash loses next to nothing."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_sgd._files import remove_leftovers
from mnist_sgd.report import folder as files
from mnist_sgd.report.facts import configuration, environment
from mnist_sgd.report.history import History
from mnist_sgd.training.callbacks.base import Callback

if TYPE_CHECKING:
    from mnist_sgd.training.learner import Learner

__all__ = ["RunLog"]


class RunLog(Callback):
    """Writes a run's settings after its first batch, its history after epochs and at any end.

    Until the first batch is done nothing is written or removed: what fails before it, as a model
    may on its first batch, leaves an older run as it was. Writing takes as long as the history is,
    so after an epoch it waits until `INTERVAL` has passed. A history that cannot be written does
    not end the training: it is tried again each time. The first of several ranks writes.

    Args:
        folder: of the run; it is there.
        config: what the run was asked to do.
        overwrite: whether the files of an older run are removed.

    Attributes:
        seconds: from the fit's first batch to its end, with those of the fit that it goes on from.
        error: what the last attempt to write met; None while all is well.
    """

    during_lr_find = False

    INTERVAL = 1.0
    """Seconds of training that a crash can take from the history, beside the epoch at hand."""

    def __init__(self, folder: Path, config: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.folder = folder
        self.config = config
        self.overwrite = overwrite
        self.seconds = 0.0
        self.error: OSError | None = None
        self._has_begun = False
        self._began = self._written = 0.0
        self._environment: dict[str, Any] = {}

    def before_fit(self, learn: "Learner") -> None:
        """Start the clock."""
        if not learn.ranks.is_main_process:
            return
        before = self._seconds_before() if learn.recorder.lrs else 0.0
        self._began = time.monotonic() - before
        self._has_begun = False
        self.error = None

    def _seconds_before(self) -> float:
        """What the fit that this one goes on from took, as far as it was written."""
        path = self.folder / files.ENVIRONMENT
        facts = json.loads(path.read_bytes()) if path.is_file() else {}
        return float(facts.get("training_seconds", 0.0))

    def after_batch(self, learn: "Learner") -> None:
        """Take the folder, after the first training batch."""
        if learn.training and not self._has_begun:
            self._begin(learn)

    def after_epoch(self, learn: "Learner") -> None:
        """Write, if it is time to."""
        if self._has_begun and time.monotonic() - self._written >= self.INTERVAL:
            self._write(learn)

    def after_fit(self, learn: "Learner") -> None:
        """Take the folder, if there was no batch left to train."""
        if not self._has_begun:
            self._begin(learn)

    def cleanup_fit(self, learn: "Learner") -> None:
        """Write the rest."""
        if self._has_begun:
            self._write(learn)

    def _begin(self, learn: "Learner") -> None:
        """Write the settings; clear away an older run, and what killed writers left.

        A run that was finished is so no longer.

        Raises:
            OSError: the settings cannot be written, or a file cannot be removed.
        """
        if not learn.ranks.is_main_process:
            return
        for name in files.FILES:
            remove_leftovers(self.folder / name)
        files.write_json(self.folder / files.CONFIG, configuration(learn, self.config))
        if self.overwrite:
            files.clear_run(self.folder)
        else:
            files.mark_unfinished(self.folder)
        self._environment = environment(learn)
        self._has_begun = True
        self._write(learn)

    def _write(self, learn: "Learner") -> None:
        """Write the history and the seconds; what that meets is kept as `error`."""
        self.seconds = time.monotonic() - self._began
        self._written = time.monotonic()
        self.error = None
        seconds = {"training_seconds": round(self.seconds, 3)}
        try:
            History.of(learn.recorder).write(self.folder)
            files.write_json(self.folder / files.ENVIRONMENT, self._environment | seconds)
        except OSError as error:
            self.error = error
