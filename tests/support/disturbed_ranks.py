"""Fits under disturbing callbacks, models and loaders, and the errors of ranks that disagree.

These are jobs of ranks.py. Each gives the same results, or the same error, on any number of ranks.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from image_sets import random_set
from mnist_sgd import (
    SGD,
    Callback,
    CancelValidate,
    Checkpoint,
    CSVLogger,
    DataLoader,
    DataLoaders,
    DistributedContext,
    EarlyStopping,
    Learner,
    SaveBest,
    batch_accuracy,
    create_model,
    cross_entropy,
    first,
)
from mnist_sgd.training.loop import print_nothing

__all__ = ["disagreements", "disturbed", "noted_on_empty_parts"]

SETS = random_set(45), random_set(17)
"""In batches of 8 the last one has 5 images in training, and 1 in validation."""


def loaders(
    rank: int, world_size: int, batch_size: int = 8, seed: int = 3, **options: Any
) -> DataLoaders:
    share: dict[str, Any] = {"rank": rank, "world_size": world_size, "seed": seed, **options}
    return DataLoaders(*(DataLoader(each, batch_size, shuffle=True, **share) for each in SETS))


def learner(ranks: DistributedContext, **options: Any) -> Learner:
    """A learner that prints nothing."""
    given: dict[str, Any] = {"dls": loaders(ranks.rank, ranks.world_size), "ranks": ranks}
    given |= {"model": create_model("mlp", 0), "loss_func": cross_entropy}
    learn = Learner(**(given | {"metrics": batch_accuracy} | options))
    learn.logger, learn.bar = print_nothing, False
    return learn


def report(learn: Learner) -> dict[str, Any]:
    return {
        "weights": {name: t.clone() for name, t in learn.model.state_dict().items()},
        "values": learn.recorder.values,
        "losses": learn.recorder.losses,
        "partial": learn.recorder.partial,
        "kept": learn.kept_row,
    }


class Peek(Callback):
    """Takes a batch from the training loader during each training batch."""

    def before_batch(self, learn: Learner) -> None:
        if learn.training:
            first(learn.dls.train)


class PeekOnFirst(Callback):
    """Takes batches from both loaders between epochs, on the first rank only."""

    def after_epoch(self, learn: Learner) -> None:
        if learn.ranks.is_main_process:
            first(learn.dls.train)
            first(learn.dls.valid)


class KeepBright(Callback):
    """Drops dark images, and repeats each bright one in training.

    The ranks' parts then differ in size: some are empty, others larger than the loader makes them.
    """

    def before_batch(self, learn: Learner) -> None:
        bright = learn.xb.mean(1) > 0.5
        learn.xb, learn.yb = learn.xb[bright], learn.yb[bright]
        if learn.training:
            learn.xb, learn.yb = learn.xb.repeat(2, 1), learn.yb.repeat(2, 1)


class NewHead(Callback):
    """Replaces the last layer and resets the first, with different weights on each rank."""

    def before_epoch(self, learn: Learner) -> None:
        torch.manual_seed(learn.ranks.rank)
        layers = cast("nn.Sequential", learn.model)
        first, last = cast("nn.Linear", layers[0]), cast("nn.Linear", layers[-1])
        if learn.epoch == 1:
            layers[-1] = nn.Linear(last.in_features, 1)
            learn.opt.param_groups[0]["params"] = list(learn.model.parameters())
        if learn.epoch == 2:
            nn.init.normal_(first.weight, std=0.01)

    def after_fit(self, learn: Learner) -> None:
        next(learn.model.parameters()).data += learn.ranks.rank


class CancelSecondValidation(Callback):
    """Cancels the validation at its last batch, whose one image is on the first rank."""

    def before_validate(self, learn: Learner) -> None:
        self.batches = 0

    def before_batch(self, learn: Learner) -> None:
        if not learn.training and learn.epoch == 1:
            self.batches += 1
            if self.batches == 3:
                raise CancelValidate


class Slice(Callback):
    """Trains on three batches of each epoch."""

    def before_train(self, learn: Learner) -> None:
        learn.dl = islice(learn.dls.train, 3)


class ValidateWithin(Callback):
    """Validates between the forward and the backward pass."""

    def __init__(self) -> None:
        self.rows: list[list[float]] = []

    def after_pred(self, learn: Learner) -> None:
        if learn.training and learn.batch == 2:
            self.rows.append(learn.validate())


class Shrink(Callback):
    """Adds the size of the weights to the loss, also for an empty part."""

    def after_loss(self, learn: Learner) -> None:
        if learn.training:
            for p in learn.model.parameters():
                learn.loss_grad = learn.loss_grad + 0.01 * p.square().sum()


class SmoothInputs(Callback):
    """Adds each image's slopes to the loss; their mean over an empty part is NaN."""

    def before_batch(self, learn: Learner) -> None:
        if learn.training:
            learn.xb = learn.xb.detach().requires_grad_()

    def after_loss(self, learn: Learner) -> None:
        if learn.training:
            logits = learn.pred.sum()
            (slopes,) = torch.autograd.grad(logits, [learn.xb], create_graph=True)
            penalty = learn.batch_weight * slopes.square().sum(1).mean()
            learn.loss_grad, learn.loss = learn.loss_grad + penalty, learn.loss + penalty


class SmallLogits(Callback):
    """Adds a mean over the part, and validates within, which has no weights."""

    def after_loss(self, learn: Learner) -> None:
        if learn.training:
            weight = learn.batch_weight
            if learn.batch == 2:
                learn.validate()
            assert learn.batch_weight == weight
            learn.loss_grad = learn.loss_grad + 0.1 * weight * learn.pred.square().mean()
        else:
            assert learn.batch_weight == 1


class SmoothLoss(Callback):
    """Adds the sum of the loss's slopes in the weights, also for an empty part."""

    def after_loss(self, learn: Learner) -> None:
        if learn.training:
            weights = list(learn.model.parameters())
            slopes = torch.autograd.grad(learn.loss_grad, weights, create_graph=True)
            learn.loss_grad = learn.loss_grad + 0.01 * sum(each.sum() for each in slopes)


class FailAtLast(Callback):
    """Fails on each rank at the last batch, which has one image."""

    def after_loss(self, learn: Learner) -> None:
        if learn.batch == 3:
            raise RuntimeError(f"{len(learn.yb)} images")


class GradientNorms(Callback):
    """Looks at the gradients of each step, and changes nothing."""

    def __init__(self) -> None:
        self.norms: list[float] = []

    def before_step(self, learn: Learner) -> None:
        self.norms.append(
            sum(float(cast("Tensor", p.grad).norm()) for p in learn.model.parameters())
        )


class SharpnessAware(Callback):
    """Steps by the gradient a little way uphill, for which it has a backward pass of its own."""

    def before_step(self, learn: Learner) -> None:
        uphill = [0.05 * cast("Tensor", p.grad) for p in learn.model.parameters()]
        self._move(learn, uphill)
        learn.opt.zero_grad()
        torch.autograd.backward(
            learn.batch_weight * learn.loss_func(learn.model(learn.xb), learn.yb)
        )
        self._move(learn, [-each for each in uphill])

    @torch.no_grad()
    def _move(self, learn: Learner, steps: list[Tensor]) -> None:
        for parameter, step in zip(learn.model.parameters(), steps, strict=True):
            parameter.add_(step)


class Warmup(Callback):
    """Has settings that all ranks must share."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def rank_settings(self) -> dict[str, str]:
        return {"Warmup": f"{self.epochs} epochs"}


class Pair(nn.Module):
    """Returns its logits and its hidden layer, and fails on an empty batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(784, 8), nn.Linear(8, 1)

    def forward(self, xb: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        hidden = self.first(xb.view(len(xb), -1)).relu()
        return self.last(hidden), {"hidden": hidden}


def loss_of_pair(predictions: Any, targets: Tensor) -> Tensor:
    """The logits' loss plus a tenth of the hidden layer's mean."""
    size: Tensor = predictions[1]["hidden"].mean() / 10
    return cross_entropy(predictions[0], targets) + size


class LearnedLoss(nn.Module):
    """Has a parameter, which begins with another value on each rank, and a buffer."""

    calls: Tensor

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0 + rank))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, predictions: Tensor, targets: Tensor) -> Tensor:
        self.calls += self.training
        scaled = predictions * self.scale
        return cross_entropy(scaled, targets) + scaled.square().mean() / 10


def learned_loss(ranks: DistributedContext) -> dict[str, Any]:
    """The optimizer has the loss's parameter too."""
    loss = LearnedLoss(ranks.rank)
    told = fitted(
        ranks,
        loss_func=loss,
        opt_func=lambda ps, lr: SGD([*ps, loss.scale], lr=lr),
        dls=_lone_image_last(ranks),
    )
    told["weights"] |= {"scale": loss.scale.detach()}
    return told


def fitted(
    ranks: DistributedContext, *cbs: Callback, epochs: int = 3, **options: Any
) -> dict[str, Any]:
    learn = learner(ranks, **options)
    learn.fit(epochs, 0.1, cbs=list(cbs))
    return report(learn)


def looked_before(ranks: DistributedContext, folder: Path) -> dict[str, Any]:
    """Only the first rank takes batches, before and during the fit, and writes a log."""
    learn = learner(ranks)
    if ranks.is_main_process:
        first(learn.dls.train)
        first(learn.dls.valid)
    logs = [CSVLogger(folder / f"first-{ranks.world_size}.csv")] if ranks.is_main_process else []
    learn.fit(3, 0.1, cbs=[*logs, PeekOnFirst()])
    return report(learn)


def kept_bright(ranks: DistributedContext) -> dict[str, Any]:
    """The last validation batch has 5 images; in each epoch some of them are kept."""
    share: dict[str, Any] = {"rank": ranks.rank, "world_size": ranks.world_size, "seed": 3}
    valid = DataLoader(random_set(21), 8, shuffle=True, **share)
    return fitted(ranks, KeepBright(), dls=_with_valid(ranks, valid))


def whole_validation(ranks: DistributedContext) -> dict[str, Any]:
    """Each rank measures all validation images."""
    dls = loaders(ranks.rank, ranks.world_size)
    dls.valid = DataLoader(SETS[1], 8)
    return fitted(ranks, dls=dls)


def disturbed(ranks: DistributedContext, folder: Path) -> dict[str, Any]:
    """Each job's report."""
    return {
        "undisturbed": fitted(ranks),
        "peeked": fitted(ranks, Peek()),
        "looked before": looked_before(ranks, folder),
        "kept bright": kept_bright(ranks),
        "sliced": fitted(ranks, Slice()),
        "validated within": fitted(ranks, ValidateWithin()),
        "new head": fitted(ranks, NewHead()),
        "cancelled": fitted(
            ranks, CancelSecondValidation(), SaveBest(), EarlyStopping(2), epochs=6
        ),
        "pair": fitted(
            ranks,
            model=Pair(),
            loss_func=loss_of_pair,
            metrics=None,
            dls=_lone_image_last(ranks),
        ),
        "whole validation": whole_validation(ranks),
        "shrunk": fitted(ranks, Shrink(), dls=_lone_image_last(ranks)),
        "smooth inputs": fitted(ranks, SmoothInputs(), dls=_lone_image_last(ranks)),
        "small logits": fitted(ranks, SmallLogits()),
        "smooth loss": fitted(ranks, SmoothLoss(), dls=_lone_image_last(ranks)),
        "sharpness": fitted(
            ranks,
            SharpnessAware(),
            dls=_lone_image_last(ranks),
        ),
        "learned loss": learned_loss(ranks),
        "watched by the first": fitted(
            ranks, *([GradientNorms()] if ranks.is_main_process else [])
        ),
    }


def disagreements(ranks: DistributedContext, folder: Path) -> dict[str, str]:
    """The errors of ranks that disagree about a fit; every rank gets the same."""
    told: dict[str, str] = {}

    @contextmanager
    def telling(what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            told[what] = f"{type(error).__name__}: {error}"

    def fit(what: str, n_epoch: int = 1, lr: float = 0.1, cbs: Any = (), **options: Any) -> None:
        resume = options.pop("resume", None)
        with telling(what):
            learn = learner(options.pop("member", ranks), **options)
            learn.fit(n_epoch, lr, cbs=list(cbs), resume=resume)

    rank, world_size, alone = ranks.rank, ranks.world_size, ranks.is_main_process
    fit("same part", dls=loaders(0, world_size))
    fit("other cut", dls=loaders(rank, 2 * world_size))
    fit("half cut", dls=_with_valid(ranks, DataLoader(SETS[1], 8, rank=0, world_size=world_size)))
    fit("mixed", dls=_with_valid(ranks, _some_cut(ranks)))
    fit("lone", dls=loaders(rank, world_size), member=DistributedContext())
    fit("epochs", n_epoch=1 + rank)
    fit("rate", lr=0.5 if alone else 0.1)
    fit("decay", opt_func=lambda ps, lr: SGD(ps, lr=lr, wd=rank / 10))
    fit("seed", dls=loaders(rank, world_size, seed=rank))
    fit("layers", model=nn.Sequential(nn.Linear(784, 1), *([] if alone else [nn.Dropout(0.5)])))
    fit("metrics", metrics=batch_accuracy if alone else None)
    fit("checkpoint", cbs=[Checkpoint(folder / "c.safetensors", every=3)] if alone else ())
    fit("stopping", cbs=[EarlyStopping(1)] if alone else ())
    fit("patience", cbs=[EarlyStopping(1 + rank)])
    fit("custom", cbs=[Warmup(1), Warmup(2 + rank)])
    fit("best", cbs=[SaveBest()] if alone else ())
    fit("resume", resume=folder / "none.safetensors" if alone else None)
    fit("lazy", model=nn.Sequential(nn.LazyLinear(8), nn.Linear(8, 1)))
    with telling("search"):
        learner(ranks).lr_find(num_it=20 + rank)
    with telling("validate"):
        learner(ranks).validate(_some_cut(ranks))
    with telling("predict"):
        learner(ranks).get_preds(Custom(SETS[1], 8, rank=0, world_size=2 * world_size))
    with telling("done"):
        ranks.run_on_main_process(_fails if alone else sys.exit)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit("warned", n_epoch=0, dls=loaders(0, 1), member=DistributedContext())
    told["warned"] = " ".join(str(each.message) for each in caught)
    return told


def noted_on_empty_parts(ranks: DistributedContext) -> list[str]:
    """The error of a callback, and its notes."""
    learn = learner(ranks, dls=_lone_image_last(ranks))
    try:
        learn.fit(1, 0.1, cbs=FailAtLast())
    except RuntimeError as error:
        return [str(error), *error.__notes__]
    return []


class Custom(DataLoader):
    """A subclass, so its batches are used exactly as it yields them."""


def _lone_image_last(ranks: DistributedContext) -> DataLoaders:
    """The last training batch has 1 image."""
    return loaders(ranks.rank, ranks.world_size, batch_size=22)


def _with_valid(ranks: DistributedContext, valid: DataLoader) -> DataLoaders:
    return DataLoaders(loaders(ranks.rank, ranks.world_size).train, valid)


def _some_cut(ranks: DistributedContext) -> DataLoader:
    """A loader that is split between ranks, except on the first."""
    share: dict[str, Any] = {"rank": ranks.rank, "world_size": ranks.world_size}
    return DataLoader(SETS[1], 8, seed=3, shuffle=True, **({} if ranks.is_main_process else share))


def _fails() -> bytes:
    raise RuntimeError("no memory \udcff")
