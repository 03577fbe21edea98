"""Callbacks that write a fit's figures for other programs: as CSV, and for TensorBoard.

Both write what the recorder holds, after each epoch and on the first rank alone, so that a fit
which goes on from a checkpoint leaves what the undisturbed one leaves.
"""

from __future__ import annotations

import csv
import io
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_sgd._files import atomic_write
from mnist_sgd.callbacks import Callback

if TYPE_CHECKING:
    from mnist_sgd.learner import Learner

__all__ = ["CSVLogger", "TensorBoard"]


class CSVLogger(Callback):
    """Writes the table as CSV, its figures with all their digits.

    In a row whose validation was cancelled midway they are means over a part of the images, see
    `Recorder.partial`.

    Args:
        path: the file, which is replaced after each epoch; its folder is made.
    """

    during_lr_find = False

    def __init__(self, path: str | os.PathLike[str] = "history.csv") -> None:
        self.path = Path(path)

    def before_fit(self, learn: Learner) -> None:
        """See that there is a folder, before any work is done."""
        if learn.ranks.is_first:
            self.path.parent.mkdir(parents=True, exist_ok=True)

    def after_epoch(self, learn: Learner) -> None:
        """Write all rows."""
        if not learn.ranks.is_first:
            return
        from mnist_sgd.recorder import unique_names

        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(unique_names(learn.recorder.metric_names))
        for line, row in zip(learn.recorder.lines, learn.recorder.values, strict=True):
            epoch, *_, time = line.split()
            table.writerow([epoch, *row, time])
        atomic_write(self.path, text.getvalue().encode())


class TensorBoard(Callback):
    """Writes events for TensorBoard: a batch's smoothed loss, rate and momentum, an epoch's row.

    The steps are training batches from 0; an epoch's row is at its last. In a fit that goes on,
    what was written after the checkpoint is marked as void.

    Args:
        folder: where the event files go; it is made.

    Raises:
        ImportError: tensorboard is not installed.
    """

    during_lr_find = False

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        if find_spec("tensorboard") is None:
            raise ImportError(
                "torch.utils.tensorboard writes with tensorboard, which is missing here: "
                "pip install tensorboard"
            )
        self.folder = Path(folder)
        self._writer: Any = None
        self._written = 0

    def before_fit(self, learn: Learner) -> None:
        """Open a new event file."""
        if not learn.ranks.is_first:
            return
        from torch.utils.tensorboard import SummaryWriter

        self._written = [0, *learn.recorder.iters][-1]
        self._writer = SummaryWriter(str(self.folder), purge_step=self._written or None)

    def after_epoch(self, learn: Learner) -> None:
        """Write the epoch's batches and its row."""
        if self._writer is None:
            return
        recorder = learn.recorder
        steps = range(self._written, len(recorder.losses))
        columns = {"loss": recorder.losses, "lr": recorder.lrs, "momentum": recorder.moms}
        for name, values in columns.items():
            for step in steps:
                self._writer.add_scalar(f"train/{name}", values[step], step)
        from mnist_sgd.recorder import unique_names

        names = unique_names(recorder.metric_names[1:-1])
        for name, value in zip(names, recorder.values[-1], strict=True):
            self._writer.add_scalar(f"epoch/{name}", value, len(recorder.losses) - 1)
        self._written = len(recorder.losses)
        self._writer.flush()

    def cleanup_fit(self, learn: Learner) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
