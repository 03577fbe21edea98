"""Write a run's folder during the training, so that a crash loses next to nothing."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_sgd._files import remove_leftovers
from mnist_sgd.report import folder as files
from mnist_sgd.report.history import History
from mnist_sgd.report.run_config import configuration, environment
from mnist_sgd.training.callbacks.base import Callback

if TYPE_CHECKING:
    from mnist_sgd.training.learner import Learner


class RunLog(Callback):
    """Write a run's settings after its first batch, and its history after epochs and at the end.

    Nothing is written or removed before the end of the first batch, so that a failure until then
    leaves an older run unchanged. Writing takes time in proportion to the history, hence at most
    one write per `INTERVAL`. A history that cannot be written does not stop the training; the next
    write tries again. Only rank 0 writes.

    Args:
        folder: existing folder of the run.
        config: arguments of the run.
        overwrite: remove the files of an older run.

    Attributes:
        seconds: duration of the training, earlier fits that were resumed included.
        error: error of the last write; None if it succeeded.
        has_begun: whether the folder is this run's: rank 0 has trained a batch.
    """

    during_lr_find = False

    INTERVAL = 1.0
    """Seconds of training that a crash can lose, in addition to the current epoch."""

    def __init__(self, folder: Path, config: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.folder = folder
        self.config = config
        self.overwrite = overwrite
        self.seconds = 0.0
        self.error: OSError | None = None
        self.has_begun = False
        self._began = self._written = 0.0
        self._environment: dict[str, Any] = {}

    def before_fit(self, learn: "Learner") -> None:
        """Start the clock."""
        if not learn.ranks.is_main_process:
            return
        before = self._seconds_before() if learn.recorder.lrs else 0.0
        self._began = time.monotonic() - before
        self.has_begun = False
        self.error = None

    def _seconds_before(self) -> float:
        """Recorded duration of the fit that is resumed."""
        path = self.folder / files.ENVIRONMENT
        facts = json.loads(path.read_bytes()) if path.is_file() else {}
        return float(facts.get("training_seconds", 0.0))

    def after_batch(self, learn: "Learner") -> None:
        """Start writing after the first training batch."""
        if learn.training and not self.has_begun:
            self._begin(learn)

    def after_epoch(self, learn: "Learner") -> None:
        """Write if `INTERVAL` has passed."""
        if self.has_begun and time.monotonic() - self._written >= self.INTERVAL:
            self._write(learn)

    def after_fit(self, learn: "Learner") -> None:
        """Start writing if no batch was left to train."""
        if not self.has_begun:
            self._begin(learn)

    def cleanup_fit(self, learn: "Learner") -> None:
        """Write the remaining history."""
        if self.has_begun:
            self._write(learn)

    def _begin(self, learn: "Learner") -> None:
        """Write the settings; remove an older run, and temporary files of killed processes.

        A finished run becomes unfinished.

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
        self.has_begun = True
        self._write(learn)

    def _write(self, learn: "Learner") -> None:
        """Write the history and the duration; store failures in `error`."""
        self.seconds = time.monotonic() - self._began
        self._written = time.monotonic()
        self.error = None
        seconds = {"training_seconds": round(self.seconds, 3)}
        try:
            History.of(learn.recorder).write(self.folder)
            files.write_json(self.folder / files.ENVIRONMENT, self._environment | seconds)
        except OSError as error:
            self.error = error
