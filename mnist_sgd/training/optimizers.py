"""Stochastic gradient descent: the three lines of the chapter, and fastai's; torch's AdamW.

All hold their settings in `param_groups`, so whatever sets a learning rate sets it in the same way
for all of them; a momentum has several names.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Never

import torch
from torch import Tensor, nn

__all__ = [
    "SGD",
    "BasicOptim",
    "Rates",
    "adamw",
    "exempt_from_decay",
    "momentum_of",
    "set_momentum",
]


class _Optimizer(torch.optim.Optimizer):
    """What the two have in common: torch's interface, so that its LR schedulers take them.

    What torch wraps around each step and each zeroing, for profilers and step hooks, is left out:
    it takes 16 us a batch, a fifteenth of the linear model's. So are the first calls that import
    torch's compiler, which takes more than a second.
    """

    def _patch_step_function(self) -> None:
        """Leave `step` unwrapped."""

    def register_step_pre_hook(self, hook: Any) -> Never:
        """Refuse a hook that would not be called."""
        raise TypeError(f"{type(self).__name__} calls no step hooks: use a callback's before_step")

    def register_step_post_hook(self, hook: Any) -> Never:
        """Refuse a hook that would not be called."""
        raise TypeError(f"{type(self).__name__} calls no step hooks: use a callback's after_step")

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with settings of their own; the defaults apply to the rest.

        Raises:
            TypeError: one of the parameters is no tensor.
        """
        params = param_group["params"]
        params = [params] if isinstance(params, Tensor) else _unnamed(params)
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(
                    f"{type(self).__name__} takes parameters, as model.parameters() gives them, or "
                    f"groups of them; got {type(p).__name__}"
                )
        self.param_groups.append(self.defaults | param_group | {"params": params})

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients, or set them to 0."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none or p.grad is None:
                    p.grad = None
                else:
                    p.grad.detach_().zero_()

    def state_dict(self) -> dict[str, Any]:
        """Settings and averages, the parameters replaced by their numbers, as torch has it."""
        number = {p: i for i, p in enumerate(self._parameters())}
        return {
            "state": {number[p]: dict(state) for p, state in self.state.items()},
            "param_groups": [
                group | {"params": [number[p] for p in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take the settings and averages of another optimizer of as many parameters.

        Raises:
            ValueError: the groups differ in number or size; the optimizer is then unchanged.
        """
        sizes = [
            [len(group["params"]) for group in groups]
            for groups in (state_dict["param_groups"], self.param_groups)
        ]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"the state is of groups of {sizes[0]} parameters, here are {sizes[1]}"
            )
        params = self._parameters()
        for group, given in zip(self.param_groups, state_dict["param_groups"], strict=True):
            group |= {key: value for key, value in given.items() if key != "params"}
        self.state.clear()
        for i, each in state_dict["state"].items():
            self.state[params[i]] = {"average": each["average"].to(params[i], copy=True)}

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]


class BasicOptim(_Optimizer):
    """The chapter's optimizer: subtracts the gradient times the learning rate.

    Args:
        params: the parameters; those without a gradient are left alone.
        lr: the learning rate.
    """

    def __init__(self, params: Iterable[Any], lr: float) -> None:
        super().__init__(params, {"lr": lr})

    def step(self) -> None:  # type: ignore[override]  # it takes no closure
        """Change every parameter that has a gradient by `-grad * lr`."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                p.data -= p.grad.data * group["lr"]


class SGD(_Optimizer):
    """fastai's SGD: momentum without dampening and decoupled weight decay, both off by default.

    Differs from `torch.optim.SGD` in that the decay multiplies the weights by `1 - lr * wd`
    (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019). As in fastai, a Learner
    exempts biases and normalisation layers from it, see `exempt_from_decay`; and an optimizer made
    without momentum never has any, while one made with momentum keeps its averages even while a
    schedule sets it to 0.

    Args:
        params: the parameters, or groups of them as torch's optimizers take them; those without a
            gradient are left alone.
        lr: the learning rate.
        mom: momentum, in [0, 1).
        wd: weight decay, 0 or more.
    """

    def __init__(self, params: Iterable[Any], lr: float, mom: float = 0.0, wd: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "mom": mom, "wd": wd})
        self._has_momentum = any(group["mom"] for group in self.param_groups)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # it takes no closure
        """Decay the weights, update the averages of the gradients, and go a step along them."""
        for group in self.param_groups:
            lr, mom, wd = group["lr"], group["mom"], group["wd"]
            for p in group["params"]:
                grad = p.grad
                if grad is None:
                    continue
                if wd and _is_decayed(p):
                    p.mul_(1 - lr * wd)
                p.add_(self._average(p, grad, mom) if self._has_momentum else grad, alpha=-lr)

    def _average(self, p: Tensor, grad: Tensor, mom: float) -> Tensor:
        state = self.state[p]
        if not state:
            state["average"] = torch.zeros_like(p)
        average: Tensor = state["average"]
        return average.mul_(mom).add_(grad)


def adamw(
    params: Iterable[Tensor], lr: float, mom: float = 0.9, wd: float = 0.0
) -> torch.optim.AdamW:
    """Torch's AdamW, called as `SGD` is, and with the same parameters exempt from decay.

    Args:
        params: the parameters.
        lr: the learning rate.
        mom: the first of Adam's betas, in [0, 1); the second is 0.999.
        wd: decoupled weight decay, 0 or more.
    """
    params = _unnamed(params)
    groups: list[dict[str, Any]] = [{"params": [p for p in params if _is_decayed(p)]}]
    groups.append({"params": [p for p in params if not _is_decayed(p)], "weight_decay": 0.0})
    used = [group for group in groups if group["params"]]
    return torch.optim.AdamW(used, lr=lr, betas=(mom, 0.999), weight_decay=wd)


def _unnamed(params: Iterable[Any]) -> list[Any]:
    """Parameters as they are given; of `named_parameters()` without the names."""
    return [p[1] if isinstance(p, tuple) and len(p) == 2 else p for p in params]


NORMS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.LayerNorm, nn.GroupNorm),
)
"""Layers whose parameters are exempt from weight decay. fastai 2.8.12 lists those without GroupNorm
and SyncBatchNorm."""


def exempt_from_decay(model: nn.Module) -> None:
    """Mark a model's biases and all parameters of its normalisation layers, for `SGD` and `adamw`.

    The rule goes by the kind of layer, as fastai's Learner has it: a bias is what its layer calls
    `bias`. The mark is the attribute `_no_weight_decay` of a parameter.
    """
    for module in model.modules():
        for name, p in module.named_parameters(recurse=False):
            if name == "bias" or isinstance(module, NORMS):
                p._no_weight_decay = True  # type: ignore[attr-defined]


def _is_decayed(p: Tensor) -> bool:
    return not getattr(p, "_no_weight_decay", False)


class Rates:
    """Sets an optimizer's learning rate and momentum, keeping what tells its groups apart.

    The groups keep the ratios of the learning rates that they were made with or added with, and
    groups that were made without momentum stay without.

    Args:
        opt: any optimizer.
        made: what its groups were made with, as far as that is known: `made` of an earlier one.
    """

    def __init__(self, opt: Any, made: Iterable[tuple[float, bool]] = ()) -> None:
        self.opt = opt
        self.made = list(made)  # each group's rate, and whether it has momentum

    def set(self, lr: float, mom: float | None = None) -> None:
        """Set the last group's learning rate, the others in proportion; and the momentum."""
        groups = self.opt.param_groups
        added = groups[len(self.made) :]
        self.made = self.made[: len(groups)]
        self.made += [(float(group["lr"]), bool(momentum_of(group))) for group in added]
        last, _ = self.made[-1]
        for group, (made_with, has_momentum) in zip(groups, self.made, strict=True):
            group["lr"] = float(lr) * (made_with / last if last else 1.0)
            if mom is not None and has_momentum:
                set_momentum(group, float(mom))


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
