"""The part of a `Learner` that checkpoints, metadata and callbacks use.

The class itself imports them, so they are typed with this protocol instead.
"""

# ruff: noqa: D102 (the docstrings are the Learner's)

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Protocol

from torch import Tensor, nn

from mnist_sgd.loader.dataloader import Batch, DataLoader, DataLoaders
from mnist_sgd.training.callbacks.base import Callback, Handler
from mnist_sgd.training.distributed import DistributedContext
from mnist_sgd.training.losses import Loss
from mnist_sgd.training.recorder import Metric, Recorder
from mnist_sgd.training.resume.fit_place import FitPlace


class Learner(Protocol):
    """A `mnist_sgd.Learner`, whose docstring describes the attributes."""

    dls: DataLoaders
    loss_func: Loss
    opt: Any
    opt_settings: list[dict[str, Any]]
    cbs: list[Callback]
    opt_func: Callable[..., Any]
    lr: float
    active_cbs: list[Callback]
    ranks: DistributedContext
    recorder: Recorder
    schedule: Callable[[float], tuple[float, float | None]] | None
    base_lr: float
    epoch: int
    n_epoch: int
    batch: int
    training: bool
    pred: Any
    kept_row: int
    at_end: ExitStack
    forward_context: Callable[[], AbstractContextManager[object]]
    train_place: FitPlace
    valid_place: FitPlace
    fit_start: Any  # a FitStart, None without checkpoints
    begun: Any  # a Begun, None without checkpoints
    _before: Any  # the learner before a fit that resumes
    _handlers: dict[str, list[Handler]]
    _opt_made_for: tuple[Any, nn.Module | None]
    _put_back: Any
    _rates: Any
    _under_way: list[str]

    @property
    def model(self) -> nn.Module: ...

    @property
    def metrics(self) -> list[Metric]: ...

    @property
    def pct_train(self) -> float: ...

    def fit(self, n_epoch: int, lr: float | None = None, cbs: Any = None) -> None: ...

    def set_lr(self, lr: float, mom: float | None = None) -> None: ...

    def loss_modules(self) -> dict[str, nn.Module]: ...


class FittedLearner(Learner, Protocol):
    """What is done with a learner after its fit."""

    def own_loader(self) -> DataLoader: ...

    def save(self, path: str | os.PathLike[str]) -> None: ...

    def validate(self, dl: Iterable[Batch] | int | None = None) -> list[float]: ...

    def get_preds(
        self, dl: Iterable[Batch] | int | None = None, act: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Tensor, Tensor]: ...

    def no_logging(self) -> AbstractContextManager[None]: ...
