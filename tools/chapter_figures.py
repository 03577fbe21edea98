"""Every figure that the chapter prints, from this package's own functions and one random start.

`tools/make_chapter_bands.py` runs it many times, `tests/training/test_chapter_bands.py` a few.
"""

from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from typing import Any

import torch
from torch import Tensor, nn

from mnist_sgd import (
    SGD,
    BasicOptim,
    DataLoader,
    DataLoaders,
    Learner,
    batch_accuracy,
    init_params,
    linear,
    linear1,
    mnist_loss,
    train_epoch,
    train_model,
    validate_epoch,
)

Figures = dict[str, list[float]]

TRAININGS: dict[str, tuple[str, ...]] = {
    "by_hand": ("by_hand",),
    "basic_optim": ("basic_optim",),
    "sgd": ("sgd",),
    "learner": ("train_loss", "valid_loss", "batch_accuracy"),
}
"""The chapter's four trainings, in its order, with the names of their figures."""


def chapter_figures(
    seed: int, dl: DataLoader, valid_dl: DataLoader, trainings: Iterable[str] = TRAININGS
) -> Figures:
    """Go through the chapter's trainings, from weights drawn one after another.

    Args:
        seed: of torch's random numbers, which are afterwards as they were.
        dl: the training batches, 256 images each, in the files' order.
        valid_dl: the validation batches, likewise.
        trainings: names in `TRAININGS`; the others are left out.

    Returns:
        The figures as they are printed, rounded to 4 digits, or 6 for the Learner's:

        - before: the accuracy of the first two models before they are trained;
        - by_hand: after each of 21 epochs;
        - basic_optim, sgd: after each of 20 epochs with one and the other optimizer;
        - train_loss, valid_loss, batch_accuracy: the rows of the Learner's 10 epochs.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        weights, bias = init_params((28 * 28, 1)), init_params(1)
        models = {name: linear() for name in ("basic_optim", "sgd", "learner")}
    first = partial(linear1, weights=weights, bias=bias), models["basic_optim"]
    figures: Figures = {"before": [validate_epoch(model, valid_dl) for model in first]}
    for name in trainings:
        if name == "by_hand":
            figures[name] = _by_hand((weights, bias), dl, valid_dl)
        elif name == "learner":
            rows = _with_learner(models[name], dl, valid_dl)
            columns = map(list, zip(*rows, strict=True))
            figures |= dict(zip(TRAININGS[name], columns, strict=True))
        else:
            optimizer = {"basic_optim": BasicOptim, "sgd": SGD}[name]
            figures[name] = _with_optimizer(optimizer, models[name], dl, valid_dl)
    return figures


def _by_hand(params: tuple[Tensor, Tensor], dl: DataLoader, valid_dl: DataLoader) -> list[float]:
    model = partial(linear1, weights=params[0], bias=params[1])
    accuracies = []
    for _ in range(21):
        train_epoch(model, 1.0, params, dl)
        accuracies.append(validate_epoch(model, valid_dl))
    return accuracies


def _with_optimizer(
    optimizer: Callable[..., Any], model: nn.Module, dl: DataLoader, valid_dl: DataLoader
) -> list[float]:
    with redirect_stdout(StringIO()):
        return train_model(model, 20, optimizer(model.parameters(), 1.0), dl, valid_dl)


def _with_learner(model: nn.Module, dl: DataLoader, valid_dl: DataLoader) -> list[list[float]]:
    dls = DataLoaders(dl, valid_dl)
    learn = Learner(dls, model, opt_func=SGD, loss_func=mnist_loss, metrics=batch_accuracy)
    with learn.no_logging():
        learn.fit(10, lr=1.0)
    return [[round(figure, 6) for figure in row] for row in learn.recorder.values]
