"""From where a training goes on, and what it leaves to go on from."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_sgd.cli.options.arguments import positive_int
from mnist_sgd.training.callbacks.base import Callback

if TYPE_CHECKING:
    from mnist_sgd.training.learner import Learner

__all__ = ["add_checkpoint_arguments", "advising", "checkpointing"]


def add_checkpoint_arguments(parser: argparse.ArgumentParser) -> None:
    """Add when checkpoints are written, and whether one is taken up."""
    group = parser.add_argument_group("checkpoints")
    group.add_argument(
        "--checkpoint-every",
        type=positive_int,
        metavar="N",
        help="write OUT/checkpoint.safetensors after every N batches and after each epoch "
        "(default: never)",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on from OUT/checkpoint.safetensors if it is there, else begin; without "
        "--checkpoint-every it is written after each epoch",
    )


def checkpointing(
    args: argparse.Namespace, learn: "Learner"
) -> tuple[list[Callback], list[Callback], Path | None]:
    """What a fit needs: callbacks to begin and to end its list with, and a file to go on from."""
    from mnist_sgd.training.checkpoint import Checkpoint

    path = args.out / "checkpoint.safetensors"
    first: list[Callback] = []
    last: list[Callback] = []
    if args.checkpoint_every or args.resume:
        last = [Checkpoint(path, args.checkpoint_every)]
    there = args.resume and learn.ranks.broadcast_bytes(b"yes" if path.is_file() else b"") == b"yes"
    if args.resume and learn.ranks.is_main_process:
        first = [_Announcement(path if there else None)]
    return first, last, path if there else None


@contextmanager
def advising(args: argparse.Namespace, resume: Path | None) -> Iterator[None]:
    """Say what to do when a checkpoint is refused."""
    from mnist_sgd.training.checkpoint import CheckpointError

    try:
        yield
    except CheckpointError as error:
        refused = resume is not None and str(error).startswith(f"{resume}: ")
        if not refused or "begin anew" in str(error):
            raise
        anew = "with --overwrite instead of" if args.name is not None else "without"
        raise CheckpointError(
            f"{error}; resume with the options and data that the training began with, or begin "
            f"anew {anew} --resume"
        ) from error


class _Announcement(Callback):
    """Says on standard error from where a training goes on."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def before_fit(self, learn: "Learner") -> None:
        if self.path is None:
            text = "there is no checkpoint yet; the training begins"
        elif learn.epoch == learn.n_epoch:
            text = f"{self.path}: the training is finished"
        else:
            batches = len(learn.recorder.lrs) - [0, *learn.recorder.iters][-1]
            text = f"{self.path}: going on in epoch {learn.epoch} after {batches} batches"
        print(f"mnist-sgd: {text}", file=sys.stderr, flush=True)
