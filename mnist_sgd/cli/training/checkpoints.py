"""Resuming a training, and the checkpoints that make it possible."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_sgd.cli.terminal import say
from mnist_sgd.cli.training.config import TrainConfig
from mnist_sgd.report.folder import CHECKPOINT
from mnist_sgd.training.callbacks.base import Callback
from mnist_sgd.training.torchrun import is_first_process

if TYPE_CHECKING:
    from mnist_sgd.training.learner import Learner


def checkpoint_callbacks(
    config: TrainConfig, learn: "Learner"
) -> tuple[list[Callback], list[Callback], Path | None]:
    """The callbacks to begin and to end a fit's list with, and the checkpoint to resume from."""
    from mnist_sgd.training.checkpoint import Checkpoint

    path, options = config.output.out / CHECKPOINT, config.checkpoints
    if not options.resume:
        last = [Checkpoint(path, options.checkpoint_every)] if options.checkpoint_every else []
        return [], [*last], None
    exists = learn.ranks.broadcast_bytes(b"yes" if path.is_file() else b"") == b"yes"
    resume = path if exists else None
    first: list[Callback] = [ResumeMessage(resume)] if learn.ranks.is_main_process else []
    return first, [Checkpoint(path, options.checkpoint_every)], resume


@contextmanager
def advising(config: TrainConfig) -> Iterator[None]:
    """Say what to do if a checkpoint is of another fit."""
    from mnist_sgd.training.checkpoint import CheckpointError, ResumeError

    try:
        yield
    except ResumeError as error:
        if error.has_advice or not is_first_process():
            raise
        again = "with --overwrite instead of" if config.is_run else "without"
        raise CheckpointError(
            f"{error}; resume with the options and data that the training started with, or start "
            f"again {again} --resume"
        ) from error


class ResumeMessage(Callback):
    """Says on standard error where a training resumes."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def before_fit(self, learn: "Learner") -> None:
        """Say it, once the checkpoint has been read."""
        if self.path is None:
            say("no checkpoint yet; starting the training")
        elif learn.epoch == learn.n_epoch:
            say(f"{self.path}: the training is complete")
        else:
            batches = len(learn.recorder.lrs) - [0, *learn.recorder.iters][-1]
            say(f"{self.path}: resuming in epoch {learn.epoch} after {batches} batches")
