"""The table that training prints, as fastai does, and a progress bar on a terminal.

The table has the same bytes as that of fastprogress 1.1's console bar, which fastai uses.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any

from mnist_sgd.loader.data_loaders import length_of
from mnist_sgd.training.callbacks.base import Callback

BAR_INTERVAL = 0.1
"""Seconds between updates of the bar."""


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


def is_terminal(stream: object) -> bool:
    """Whether a stream is an open terminal; sys.stderr may be None, closed or without isatty."""
    try:
        return bool(stream.isatty())  # type: ignore[attr-defined]
    except (AttributeError, ValueError, OSError):
        return False


class ProgressBar(Callback):
    """Shows a progress bar with the epoch, the batch and the loss, if standard error is a terminal.

    Standard output has only the table. In several processes there is no bar, as ranks must read the
    loss together.
    """

    order = 90
    during_lr_find = False

    def __init__(self) -> None:
        self.total = self.done = 0
        self.drawn = 0.0
        self.shown = False

    def before_train(self, learn: Any) -> None:
        """Start over for the training batches."""
        self._start(learn, learn.dls.train)

    def before_validate(self, learn: Any) -> None:
        """Start over for the validation batches."""
        self._start(learn, learn.dls.valid)

    def _start(self, learn: Any, batches: object) -> None:
        self.shown = learn.ranks.world_size == 1 and is_terminal(sys.stderr)
        self.total = length_of(batches) or 0
        self.done = 0
        self.drawn = time.monotonic()

    def after_batch(self, learn: Any) -> None:
        """Update the bar, if `BAR_INTERVAL` has passed."""
        self.done += 1
        if self.shown and time.monotonic() - self.drawn >= BAR_INTERVAL:
            self.drawn = time.monotonic()
            self._draw(learn)

    def _draw(self, learn: Any) -> None:
        stage = "train" if learn.training else "valid"
        learn.recorder.read_losses()
        loss = learn.recorder.losses[-1] if learn.recorder.losses else 0.0
        head = f"Epoch {learn.epoch + 1}/{learn.n_epoch} {stage} "
        tail = f" {self.done}/{self.total or '?'} loss {loss:.4f}"
        width = max(10, min(40, shutil.get_terminal_size().columns - len(head) - len(tail) - 3))
        filled = width * self.done // self.total if self.total else 0
        bar = _block() * filled + "-" * (width - filled)
        print(f"\r{head}|{bar}|{tail}", end="", file=sys.stderr, flush=True)

    def after_train(self, learn: Any) -> None:
        """Erase the bar before the table's next line."""
        self._erase()

    def after_validate(self, learn: Any) -> None:
        """Erase the bar before the table's next line."""
        self._erase()

    def cleanup_fit(self, learn: Any) -> None:
        """Erase the bar, also after an exception."""
        self._erase()

    def _erase(self) -> None:
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _block() -> str:
    """Return what fills the bar: a full block, or # where the terminal cannot show it."""
    try:
        "█".encode(getattr(sys.stderr, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return "#"
    return "█"
