"""The chapter's training loop, written by hand, one step a function.

Where the chapter's functions reach for global names (the weights, the loaders, the optimizer),
these take them as arguments.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch import Tensor

from mnist_sgd.training.losses import mnist_loss
from mnist_sgd.training.metrics import batch_accuracy

__all__ = [
    "calc_grad",
    "init_params",
    "linear1",
    "train_epoch",
    "train_model",
    "validate_epoch",
]

Model = Callable[[Tensor], Tensor]
Batches = Iterable[tuple[Tensor, Tensor]]


class Optimizer(Protocol):
    """What the loops need of an optimizer: this package's and torch's have it."""

    def step(self) -> object:
        """Change the parameters by their gradients."""

    def zero_grad(self) -> None:
        """Forget the gradients."""


def init_params(size: int | tuple[int, ...], std: float = 1.0) -> Tensor:
    """Random parameters, normal with mean 0 and the given deviation, that record gradients.

    Args:
        size: the shape, or the length of a single axis.
        std: the deviation, in units of the parameters.

    Returns:
        float32 `[*size]`, drawn from torch's random numbers.
    """
    return (torch.randn(size) * std).requires_grad_()


def linear1(xb: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
    """The linear model: `[B, 784]` by weights `[784, 1]` and bias `[1]` gives logits `[B, 1]`."""
    return xb @ weights + bias


def calc_grad(xb: Tensor, yb: Tensor, model: Model) -> None:
    """Add the gradient of `mnist_loss` on one batch to the parameters' gradients.

    Args:
        xb: float32 `[B, 784]`, or what else the model takes.
        yb: 1 for the positive class, 0 for the other, `[B, 1]`.
        model: gives logits `[B, 1]`.
    """
    mnist_loss(model(xb), yb).backward()  # type: ignore[no-untyped-call]


def train_epoch(model: Model, lr: float, params: Iterable[Tensor], dl: Batches) -> None:
    """Go once through the batches, after each one changing `params` by `-grad * lr`.

    Args:
        model: takes an `xb` and gives logits `[B, 1]`.
        lr: the learning rate.
        params: those of the model, whose gradients must be 0 or None.
        dl: batches `(xb, yb)`, as for `calc_grad`.

    Raises:
        ValueError: the model does not depend on one of the parameters.
    """
    params = list(params)
    for xb, yb in dl:
        calc_grad(xb, yb, model)
        for p in params:
            if p.grad is None:
                raise ValueError("a parameter has no gradient: the model does not depend on it")
            p.data -= p.grad * lr
            p.grad.zero_()


def validate_epoch(model: Model, valid_dl: Batches) -> float:
    """The mean of the batches' accuracies, each batch counted alike, rounded to 4 digits.

    Args:
        model: takes an `xb` and gives logits `[B, 1]`.
        valid_dl: batches `(xb, yb)`, at least one.
    """
    accuracies = [batch_accuracy(model(xb), yb) for xb, yb in valid_dl]
    return round(torch.stack(accuracies).mean().item(), 4)


def train_model(
    model: Model, epochs: int, opt: Optimizer, dl: Batches, valid_dl: Batches
) -> list[float]:
    """Train with an optimizer and print `validate_epoch` after each epoch, on one line.

    Args:
        model: takes an `xb` and gives logits `[B, 1]`.
        epochs: how often to go through the training batches.
        opt: an optimizer of the model's parameters.
        dl: training batches `(xb, yb)`, as for `calc_grad`.
        valid_dl: validation batches, at least one.

    Returns:
        The figures that were printed.
    """
    accuracies = []
    for _ in range(epochs):
        for xb, yb in dl:
            calc_grad(xb, yb, model)
            opt.step()
            opt.zero_grad()
        accuracies.append(validate_epoch(model, valid_dl))
        print(accuracies[-1], end=" ", flush=True)
    print()
    return accuracies
