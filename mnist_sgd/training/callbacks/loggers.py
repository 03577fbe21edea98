"""Log a fit's metrics as CSV and for TensorBoard.

Both loggers write the recorder's history after each epoch, on rank 0 only, so that a resumed fit
leaves the same log as an uninterrupted one. With `keep_going` an error of writing does not end the
fit.
"""

import csv
import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mnist_sgd._files import atomic_write
from mnist_sgd.training.callbacks.base import Callback


class CSVLogger(Callback):
    """Writes the table as CSV, with all digits.

    The metrics of a validation that was cancelled midway are means over some of the images, see
    `Recorder.partial`.

    Args:
        path: the file, which is replaced after each epoch; its folder is created.
        keep_going: whether the fit continues after an error of writing: the error is kept, and the
            next epoch writes all rows. False: an OSError ends the fit.

    Attributes:
        error: the error of the last attempt to write, None if it succeeded.
    """

    during_lr_find = False

    def __init__(
        self, path: str | os.PathLike[str] = "history.csv", *, keep_going: bool = False
    ) -> None:
        self.path = Path(path)
        self.keep_going = keep_going
        self.error: OSError | None = None

    def before_fit(self, learn: Any) -> None:
        """Create the folder, before any work is done."""
        self.error = None
        if learn.ranks.is_main_process:
            self.path.parent.mkdir(parents=True, exist_ok=True)

    def after_epoch(self, learn: Any) -> None:
        """Write all rows.

        Raises:
            OSError: the file cannot be written, unless `keep_going` is set.
        """
        if not learn.ranks.is_main_process:
            return
        self.error = None
        try:
            atomic_write(self.path, _table(learn).encode())
        except OSError as error:
            self.error = error
            if not self.keep_going:
                raise


def _table(learn: Any) -> str:
    """Format the rows so far as CSV."""
    from mnist_sgd.training.recorder import unique_names

    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(unique_names(learn.recorder.metric_names))
    for line, row in zip(learn.recorder.lines, learn.recorder.values, strict=True):
        epoch, *_, time = line.split()
        table.writerow([epoch, *row, time])
    return text.getvalue()


class TensorBoard(Callback):
    """Writes TensorBoard events: loss, learning rate and momentum per batch, metrics per epoch.

    Steps count training batches from 0; an epoch's metrics are at its last batch. A fit that
    resumes marks what was written after the checkpoint as void.

    Args:
        folder: where the event files go; it is created.
        keep_going: whether the fit continues after an error of writing: the error is kept, and no
            more events are written. False: an OSError ends the fit.

    Attributes:
        error: why no more events are written, None if all is well.

    Raises:
        ImportError: tensorboard is not installed.
    """

    during_lr_find = False

    def __init__(self, folder: str | os.PathLike[str], *, keep_going: bool = False) -> None:
        if find_spec("tensorboard") is None:
            raise ImportError(
                "torch.utils.tensorboard writes with tensorboard, which is missing here: "
                "pip install tensorboard"
            )
        self.folder = Path(folder)
        self.keep_going = keep_going
        self.error: OSError | None = None
        self._writer: Any = None
        self._written = 0

    def before_fit(self, learn: Any) -> None:
        """Open a new event file."""
        self.error = None
        if not learn.ranks.is_main_process:
            return
        from torch.utils.tensorboard import SummaryWriter

        self._written = [0, *learn.recorder.iters][-1]
        self._writer = SummaryWriter(str(self.folder), purge_step=self._written or None)

    def after_epoch(self, learn: Any) -> None:
        """Write the epoch's batches and its metrics.

        Raises:
            OSError: they cannot be written, unless `keep_going` is set.
        """
        if self._writer is not None and self.error is None:
            with self._keeping_errors():
                self._write(learn)

    def _write(self, learn: Any) -> None:
        from mnist_sgd.training.recorder import unique_names

        recorder = learn.recorder
        steps = range(self._written, len(recorder.losses))
        columns = {"loss": recorder.losses, "lr": recorder.lrs, "momentum": recorder.moms}
        for name, values in columns.items():
            for step in steps:
                self._writer.add_scalar(f"train/{name}", values[step], step)
        names = unique_names(recorder.metric_names[1:-1])
        for name, value in zip(names, recorder.values[-1], strict=True):
            self._writer.add_scalar(f"epoch/{name}", value, len(recorder.losses) - 1)
        self._written = len(recorder.losses)
        self._writer.flush()

    def cleanup_fit(self, learn: Any) -> None:
        """Close the file.

        Raises:
            OSError: the last events cannot be written, unless `keep_going` is set.
        """
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        with self._keeping_errors():
            writer.close()

    @contextmanager
    def _keeping_errors(self) -> Iterator[None]:
        """Keep an error of writing, add the folder to it, and raise it unless `keep_going`."""
        try:
            with _silent_threads():
                yield
        except OSError as error:
            if self.error is not None:  # the file that cannot be written cannot be closed either
                return
            self.error = OSError(error.errno, error.strerror or str(error), str(self.folder))
            if not self.keep_going:
                raise self.error from error


@contextmanager
def _silent_threads() -> Iterator[None]:
    """Print no traceback of tensorboard's thread, whose error is raised here too."""
    before = threading.excepthook

    def report(args: threading.ExceptHookArgs) -> None:
        if args.thread is None or not type(args.thread).__module__.startswith("tensorboard."):
            before(args)

    threading.excepthook = report
    try:
        yield
    finally:
        threading.excepthook = before
