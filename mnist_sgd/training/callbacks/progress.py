"""The table that training prints, as fastai does, and a progress bar on a terminal.

The table has the same bytes as that of fastprogress 1.1's console bar, which fastai uses.
"""

import sys
import time
from collections.abc import Sequence
from typing import Any

from mnist_sgd.loader.data_loaders import length_of
from mnist_sgd.training.callbacks.bar import Bar, is_terminal
from mnist_sgd.training.callbacks.base import Callback
from mnist_sgd.training.callbacks.notebook_table import NotebookTable


def table_header(names: Sequence[str]) -> str:
    """Format the line of column names, each padded to at least 8 characters."""
    return "  ".join(name.ljust(8) for name in names)


def table_row(values: Sequence[object], names: Sequence[str]) -> str:
    """Format a row of values under `names`, floats with 6 digits."""
    cells = [f"{value:.6f}" if isinstance(value, float) else str(value) for value in values]
    widths = [max(len(name), 8) + 2 for name in names]
    return "".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))


def format_time(seconds: float) -> str:
    """Format a duration as `mm:ss`, or `h:mm:ss` from an hour on; fractions are truncated."""
    minutes, secs = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes:02d}:{secs:02d}"


class ProgressBar(Callback):
    """Shows a progress bar with the epoch, the batch and the loss, on a terminal or in a notebook.

    Standard output has only the table. In several processes there is no bar, as ranks must read the
    loss together.
    """

    order = 90
    during_lr_find = False

    def __init__(self, table: NotebookTable | None = None) -> None:
        self.table = table  # in a notebook
        self.total = self.done = 0
        self.bar: Bar | NotebookTable = table or Bar(shown=False)

    def before_train(self, learn: Any) -> None:
        """Start over for the training batches."""
        self._start(learn, learn.dls.train)

    def before_validate(self, learn: Any) -> None:
        """Start over for the validation batches."""
        self._start(learn, learn.dls.valid)

    def _start(self, learn: Any, batches: object) -> None:
        shown = learn.ranks.world_size == 1 and is_terminal(sys.stderr)
        self.bar = self.table or Bar(shown, time.monotonic())
        self.total = length_of(batches) or 0
        self.done = 0

    def after_batch(self, learn: Any) -> None:
        """Update the bar, if it is due."""
        self.done += 1
        if self.bar.is_due():
            learn.recorder.read_losses()
            stage = "train" if learn.training else "valid"
            loss = learn.recorder.losses[-1] if learn.recorder.losses else 0.0
            head = f"Epoch {learn.epoch + 1}/{learn.n_epoch} {stage} "
            tail = f" {self.done}/{self.total or '?'} loss {loss:.4f}"
            self.bar.draw(head, self.done, self.total, tail)

    def after_train(self, learn: Any) -> None:
        """Make room for the table's next line."""
        self.bar.erase()

    def after_validate(self, learn: Any) -> None:
        """Make room for the table's next line."""
        self.bar.erase()

    def cleanup_fit(self, learn: Any) -> None:
        """Leave no half-drawn bar behind."""
        self.bar.erase()
