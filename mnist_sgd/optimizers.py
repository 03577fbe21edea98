"""Stochastic gradient descent: the three lines of the chapter, and fastai's; torch's AdamW.

All hold their settings in `param_groups`, so whatever sets a learning rate sets it in the same way
for all of them; a momentum has several names.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["SGD", "BasicOptim", "adamw", "momentum_of", "set_momentum"]


class _Optimizer:
    """What the two have in common: groups of parameters, and a state in the form of torch's."""

    param_groups: list[dict[str, Any]]
    averages: dict[Tensor, Tensor]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Settings and averages, with the numbers of the parameters in their place."""
        number = {p: i for i, p in enumerate(self._parameters())}
        return {
            "state": {number[p]: {"average": average} for p, average in self.averages.items()},
            "param_groups": [
                group | {"params": [number[p] for p in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the settings and averages of another optimizer of as many parameters.

        Raises:
            ValueError: the groups differ in number or size; the optimizer is then as it was.
        """
        sizes = [
            [len(group["params"]) for group in groups]
            for groups in (state["param_groups"], self.param_groups)
        ]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"the state is of groups of {sizes[0]} parameters, here are {sizes[1]}"
            )
        params = self._parameters()
        for group, given in zip(self.param_groups, state["param_groups"], strict=True):
            group |= {key: value for key, value in given.items() if key != "params"}
        self.averages = {
            params[i]: each["average"].to(params[i], copy=True)
            for i, each in state["state"].items()
        }

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]


class BasicOptim(_Optimizer):
    """The chapter's optimizer: subtracts the gradient times the learning rate."""

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": list(params), "lr": lr}]
        self.averages = {}

    def step(self) -> None:
        """Change every parameter by `-grad * lr`; every one must have a gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                p.data -= p.grad.data * group["lr"]


class SGD(_Optimizer):
    """fastai's SGD: momentum without dampening and decoupled weight decay, both off by default.

    Differs from `torch.optim.SGD` in that the decay multiplies the weights by `1 - lr * wd`
    (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019), and leaves biases and
    norms alone, which are the parameters of one dimension, as fastai's Learner does.

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
        self.averages = {}

    @torch.no_grad()
    def step(self) -> None:
        """Decay the weights, update the averages of the gradients, and go a step along them."""
        for group in self.param_groups:
            lr, mom, wd = group["lr"], group["mom"], group["wd"]
            for p in group["params"]:
                grad = p.grad
                if grad is None:
                    continue
                if wd and _is_decayed(p):
                    p.mul_(1 - lr * wd)
                p.add_(self._average(p, grad, mom) if mom else grad, alpha=-lr)

    def _average(self, p: Tensor, grad: Tensor, mom: float) -> Tensor:
        if p not in self.averages:
            self.averages[p] = torch.zeros_like(p)
        return self.averages[p].mul_(mom).add_(grad)


def adamw(
    params: Iterable[Tensor], lr: float, mom: float = 0.9, wd: float = 0.0
) -> torch.optim.AdamW:
    """Torch's AdamW, called as `SGD` is, and with the same parameters decayed.

    Args:
        params: the parameters.
        lr: the learning rate.
        mom: the first of Adam's betas, in [0, 1); the second is 0.999.
        wd: decoupled weight decay, 0 or more.
    """
    params = list(params)
    groups: list[dict[str, Any]] = [{"params": [p for p in params if _is_decayed(p)]}]
    groups.append({"params": [p for p in params if not _is_decayed(p)], "weight_decay": 0.0})
    used = [group for group in groups if group["params"]]
    return torch.optim.AdamW(used, lr=lr, betas=(mom, 0.999), weight_decay=wd)


def _is_decayed(p: Tensor) -> bool:
    return p.ndim > 1


def momentum_of(group: Mapping[str, Any]) -> float:
    """The momentum of a group of an optimizer's: 0 if it has none, for Adam the first beta."""
    if "betas" in group:
        return float(group["betas"][0])
    return float(group.get("momentum", group.get("mom", 0.0)))


def set_momentum(group: dict[str, Any], mom: float) -> None:
    """Change the momentum of a group that has one."""
    if "betas" in group:
        group["betas"] = (mom, *group["betas"][1:])
    else:
        group["momentum" if "momentum" in group else "mom"] = mom
