"""The chapter's training loop from scratch, one function per step.

Where the chapter's functions use global names (the weights, the loaders, the optimizer), these take
arguments.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch import Tensor

from mnist_sgd.training.losses import mnist_loss
from mnist_sgd.training.metrics import batch_accuracy

Model = Callable[[Tensor], Tensor]
Batches = Iterable[tuple[Tensor, Tensor]]


class Optimizer(Protocol):
    """The part of an optimizer that the loops use."""

    def step(self) -> object:
        """Update the parameters."""

    def zero_grad(self) -> None:
        """Reset the gradients."""


def init_params(size: int | tuple[int, ...], std: float = 1.0) -> Tensor:
    """Draw parameters that require gradients from a normal distribution with mean 0.

    Args:
        size: the shape, or the length of a single axis.
        std: the standard deviation.

    Returns:
        float32 `[*size]`, drawn from torch's global generator.
    """
    return (torch.randn(size) * std).requires_grad_()


def linear1(xb: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
    """Map `[B, 784]` with weights `[784, 1]` and bias `[1]` to logits `[B, 1]`."""
    return xb @ weights + bias


def calc_grad(xb: Tensor, yb: Tensor, model: Model) -> None:
    """Add the gradient of `mnist_loss` on one batch to the parameters' gradients.

    Args:
        xb: float32 `[B, 784]`, or whatever the model takes.
        yb: 1 for the positive class, 0 for the other, `[B, 1]`.
        model: returns logits `[B, 1]`.
    """
    mnist_loss(model(xb), yb).backward()  # type: ignore[no-untyped-call]


def train_epoch(model: Model, lr: float, params: Iterable[Tensor], dl: Batches) -> None:
    """Train for one epoch: after each batch change `params` by `-grad * lr`.

    Args:
        model: takes `xb` and returns logits `[B, 1]`.
        lr: the learning rate.
        params: the model's, whose gradients must be 0 or None.
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
    """Return the unweighted mean of the batches' accuracies, rounded to 4 digits.

    Args:
        model: takes `xb` and returns logits `[B, 1]`.
        valid_dl: batches `(xb, yb)`, at least one.
    """
    accuracies = [batch_accuracy(model(xb), yb) for xb, yb in valid_dl]
    return round(torch.stack(accuracies).mean().item(), 4)


def train_model(
    model: Model, epochs: int, opt: Optimizer, dl: Batches, valid_dl: Batches
) -> list[float]:
    """Train with an optimizer and print `validate_epoch` after each epoch, on one line.

    Args:
        model: takes `xb` and returns logits `[B, 1]`.
        epochs: the number of passes over the training batches.
        opt: an optimizer of the model's parameters.
        dl: training batches `(xb, yb)`, as for `calc_grad`.
        valid_dl: validation batches, at least one.

    Returns:
        The printed accuracies, in [0, 1].
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
