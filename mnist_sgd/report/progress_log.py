"""The progress of a training as lines of JSON in its run's folder: `progress.jsonl`.

Each line is an event with a number that counts up, also over interruptions:

    {"id": 1, "event": "start", "epoch": 0, "batch": 1, "epochs": 10, "batches": 49, "time": ...}
    {"id": 2, "event": "batch", "epoch": 0, "batch": 12, "loss": 0.52, "lr": 1.0, "seconds": 0.5,
     "eta": 19.8, "time": ...}
    {"id": 3, "event": "epoch", "epoch": 0, "metrics": {"train_loss": 0.64, ...}, ...}
    {"id": 4, "event": "end", ...}

`epoch` counts from 0; `batch` is the number of batches of the epoch so far. `seconds` is the time
since the start, `eta` an estimate of the seconds that are left, `time` that of the clock. A value
that is not a finite number is null. After `end` the model is exported and the report is written.
"""

import errno
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_sgd.loader.data_loaders import length_of
from mnist_sgd.report.folder import PROGRESS, plain
from mnist_sgd.training.callbacks.base import Callback

if TYPE_CHECKING:
    from mnist_sgd.training.learner import Learner


class ProgressLog(Callback):
    """Append an event every `INTERVAL` seconds, and after each epoch; only rank 0 writes.

    Nothing is written before the end of the first batch, as by `RunLog`, which comes before it in
    the list of callbacks. A resumed training continues the file. Lines that cannot be written are
    left out, and do not stop the training. Several ranks would have to read the loss together, so
    theirs is null between epochs.

    Args:
        folder: existing folder of the run.

    Attributes:
        error: of the last line that could not be written; None if all were.
    """

    during_lr_find = False

    INTERVAL = 0.5

    def __init__(self, folder: Path) -> None:
        self.path = folder / PROGRESS
        self.error: OSError | None = None
        self._descriptor = -1
        self._id = 0
        self._batches = 0  # of an epoch
        self._began = self._written = 0.0
        self._done_before = 0  # batches of earlier fits that are resumed

    def after_batch(self, learn: "Learner") -> None:
        """Start after the first training batch; then write if `INTERVAL` has passed."""
        if not (learn.training and learn.ranks.is_main_process):
            return
        now = time.monotonic()
        if self._descriptor < 0:
            self._begin(learn)
        elif now - self._written >= self.INTERVAL:
            self._write("batch", learn, batch=learn.batch, loss=_loss(learn), lr=_rate(learn))

    def after_epoch(self, learn: "Learner") -> None:
        """Write the epoch's losses and metrics."""
        if self._descriptor >= 0 and learn.recorder.values:
            names = learn.recorder.metric_names[1:-1]
            metrics = dict(zip(names, learn.recorder.values[-1], strict=True))
            self._write("epoch", learn, metrics=metrics)

    def after_fit(self, learn: "Learner") -> None:
        """Write that the weights are final."""
        if self._descriptor >= 0:
            self._write("end", learn)

    def cleanup_fit(self, learn: "Learner") -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _begin(self, learn: "Learner") -> None:
        """Open the file, remove what a killed process left of a line, and continue its count."""
        self._batches = length_of(learn.dls.train) or 0
        self._began = time.monotonic()
        self._done_before = self._done(learn) - 1
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            content = self.path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            os.truncate(self._descriptor, len(whole))
        except OSError as error:
            self.error = error
            return
        self._id = last_id(whole)
        more = {"batch": learn.batch, "epochs": learn.n_epoch, "batches": self._batches}
        self._write("start", learn, **more)

    def _done(self, learn: "Learner") -> int:
        return learn.epoch * self._batches + learn.batch

    def _write(self, event: str, learn: "Learner", **more: Any) -> None:
        self._written = time.monotonic()
        seconds = self._written - self._began
        done = self._done(learn) if event != "epoch" else (learn.epoch + 1) * self._batches
        left = learn.n_epoch * self._batches - done
        here = done - self._done_before
        eta = seconds / here * left if self._batches and here > 0 and event != "end" else None
        self._id += 1
        line = {"id": self._id, "event": event, "epoch": learn.epoch, **more}
        if event != "start":
            line |= {"seconds": round(seconds, 3), "eta": None if eta is None else round(eta, 1)}
        line["time"] = round(time.time(), 3)
        try:
            _append(self._descriptor, f"{json.dumps(plain(line))}\n".encode())
        except OSError as error:
            self.error = OSError(error.errno, error.strerror, os.fspath(self.path))


def _append(descriptor: int, line: bytes) -> None:
    """Append a whole line or nothing.

    Raises:
        OSError: the disk is full, or the line cannot be written for another reason.
    """
    size = os.fstat(descriptor).st_size
    if os.write(descriptor, line) < len(line):
        os.ftruncate(descriptor, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def last_id(lines: bytes) -> int:
    """Return the number of the last event in a file's complete lines, 0 if there is none."""
    last = lines[:-1].rpartition(b"\n")[2]
    try:
        number = json.loads(last)["id"]
    except (ValueError, TypeError, LookupError):
        return 0
    return number if isinstance(number, int) else 0


def _loss(learn: "Learner") -> float | None:
    if learn.ranks.world_size > 1:
        return None
    learn.recorder.read_losses()
    return learn.recorder.losses[-1] if learn.recorder.losses else None


def _rate(learn: "Learner") -> float:
    rate: float = learn.opt.param_groups[-1]["lr"]
    return rate
