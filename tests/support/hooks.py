"""Callbacks that stop a fit, copy its checkpoints or accumulate its gradients."""

import shutil
from pathlib import Path

from mnist_sgd import Callback, CancelBatch, CancelFit, Checkpoint, Learner

__all__ = ["AFTER_CHECKPOINTS", "Accumulates", "Copies", "StopAfter"]

AFTER_CHECKPOINTS = Checkpoint.order + 1


class StopAfter(Callback):
    """Raises an error after this many training batches of a fit, and their checkpoints."""

    order = AFTER_CHECKPOINTS

    def __init__(self, batches: int, error: type[BaseException] = CancelFit) -> None:
        self.batches, self.error = batches, error

    def after_batch(self, learn: Learner) -> None:
        if learn.training and len(learn.recorder.lrs) == self.batches:
            raise self.error


class Copies(Callback):
    """Keeps a copy of each checkpoint that a fit writes after its batches and epochs."""

    order = AFTER_CHECKPOINTS

    def __init__(self, path: Path) -> None:
        self.path = path
        self.copies: list[Path] = []

    def copy(self) -> None:
        self.copies.append(self.path.with_name(f"cut-{len(self.copies)}"))
        shutil.copy(self.path, self.copies[-1])

    def after_batch(self, learn: Learner) -> None:
        if learn.training:
            self.copy()

    def after_epoch(self, learn: Learner) -> None:
        self.copy()


class Accumulates(Callback):
    """Adds up the gradients of this many batches for each step."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def before_step(self, learn: Learner) -> None:
        if (len(learn.recorder.lrs) + 1) % self.batches:  # the rates of the batches before
            raise CancelBatch
