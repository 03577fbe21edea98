"""Every figure that the chapter prints, from this package's own functions and one random start.

`tools/make_chapter_bands.py` runs it many times, `tests/test_chapter_bands.py` a few.
"""

from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from typing import Any

import torch

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


def chapter_figures(seed: int, dl: DataLoader, valid_dl: DataLoader) -> Figures:
    """Go through the chapter's four trainings, from weights drawn one after another.

    Args:
        seed: of torch's random numbers, which are afterwards as they were.
        dl: the training batches, 256 images each, in the files' order.
        valid_dl: the validation batches, likewise.

    Returns:
        The figures as they are printed, rounded to 4 digits, or 6 for the Learner's:

        - before: the accuracy of the first two models before they are trained;
        - by_hand: after each of 21 epochs;
        - basic_optim, sgd: after each of 20 epochs with one and the other optimizer;
        - train_loss, valid_loss, batch_accuracy: the rows of the Learner's 10 epochs.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        before, by_hand = _by_hand(dl, valid_dl)
        untrained, basic_optim = _with_optimizer(BasicOptim, dl, valid_dl)
        _, sgd = _with_optimizer(SGD, dl, valid_dl)
        rows = _with_learner(dl, valid_dl)
    train_loss, valid_loss, accuracy = (list(column) for column in zip(*rows, strict=True))
    return {
        "before": [before, untrained],
        "by_hand": by_hand,
        "basic_optim": basic_optim,
        "sgd": sgd,
        "train_loss": train_loss,
        "valid_loss": valid_loss,
        "batch_accuracy": accuracy,
    }


def _by_hand(dl: DataLoader, valid_dl: DataLoader) -> tuple[float, list[float]]:
    weights, bias = init_params((28 * 28, 1)), init_params(1)
    model = partial(linear1, weights=weights, bias=bias)
    before = validate_epoch(model, valid_dl)
    accuracies = []
    for _ in range(21):
        train_epoch(model, 1.0, (weights, bias), dl)
        accuracies.append(validate_epoch(model, valid_dl))
    return before, accuracies


def _with_optimizer(
    optimizer: Callable[..., Any], dl: DataLoader, valid_dl: DataLoader
) -> tuple[float, list[float]]:
    model = linear()
    before = validate_epoch(model, valid_dl)
    with redirect_stdout(StringIO()):
        return before, train_model(model, 20, optimizer(model.parameters(), 1.0), dl, valid_dl)


def _with_learner(dl: DataLoader, valid_dl: DataLoader) -> list[list[float]]:
    dls = DataLoaders(dl, valid_dl)
    learn = Learner(dls, linear(), opt_func=SGD, loss_func=mnist_loss, metrics=batch_accuracy)
    with learn.no_logging():
        learn.fit(10, lr=1.0)
    return [[round(figure, 6) for figure in row] for row in learn.recorder.values]
