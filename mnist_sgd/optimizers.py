"""Stochastic gradient descent: the three lines of the chapter, and fastai's.

Both hold their settings in `param_groups` as torch's optimizers do, so whatever sets a learning
rate sets it in the same way for all of them.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["SGD", "BasicOptim"]


class BasicOptim:
    """The chapter's optimizer: subtracts the gradient times the learning rate."""

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": list(params), "lr": lr}]

    def step(self) -> None:
        """Change every parameter by `-grad * lr`; every one must have a gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                p.data -= p.grad.data * group["lr"]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None


class SGD:
    """fastai's SGD: momentum without dampening and decoupled weight decay, both off by default.

    Differs from `torch.optim.SGD` in that the decay multiplies the weights by `1 - lr * wd`
    (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019).

    Args:
        params: the parameters; those without a gradient are left alone.
        lr: the learning rate.
        mom: momentum, in [0, 1).
        wd: weight decay, 0 or more.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float, mom: float = 0.0, wd: float = 0.0
    ) -> None:
        self.param_groups: list[dict[str, Any]] = [
            {"params": list(params), "lr": lr, "mom": mom, "wd": wd}
        ]
        self.averages: dict[Tensor, Tensor] = {}

    @torch.no_grad()
    def step(self) -> None:
        """Decay the weights, update the averages of the gradients, and go a step along them."""
        for group in self.param_groups:
            lr, mom, wd = group["lr"], group["mom"], group["wd"]
            for p in group["params"]:
                grad = p.grad
                if grad is None:
                    continue
                if wd:
                    p.mul_(1 - lr * wd)
                p.add_(self._average(p, grad, mom) if mom else grad, alpha=-lr)

    def _average(self, p: Tensor, grad: Tensor, mom: float) -> Tensor:
        if p not in self.averages:
            self.averages[p] = torch.zeros_like(p)
        return self.averages[p].mul_(mom).add_(grad)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None
