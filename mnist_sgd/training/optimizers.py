"""Optimizers: the chapter's three lines of SGD, fastai's SGD, and torch's AdamW.

All keep their settings in `param_groups`, so a learning rate is set in the same way for each of
them; momentum has several names.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Never

import torch
from torch import Tensor, nn


class _Optimizer(torch.optim.Optimizer):
    """torch's optimizer interface, so that its LR schedulers work, with less overhead per step.

    The wrappers for profilers and step hooks that torch puts around `step` and `zero_grad` are left
    out: they cost a small model a noticeable share of each batch. So is what imports torch's
    compiler at the first call, which takes more than a second.
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
        """Add parameters with their own settings; the defaults fill in the rest.

        Raises:
            TypeError: one of the parameters is not a tensor.
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
        """Return settings and momentum buffers, with parameters as numbers, in torch's format."""
        number = {p: i for i, p in enumerate(self._parameters())}
        return {
            "state": {number[p]: dict(state) for p, state in self.state.items()},
            "param_groups": [
                group | {"params": [number[p] for p in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load the settings and momentum buffers of an optimizer of as many parameters.

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
        for i, each in state_dict["state"].items():  # an earlier version called it "average"
            buffer = each["momentum_buffer"] if "momentum_buffer" in each else each["average"]
            self.state[params[i]] = {"momentum_buffer": buffer.to(params[i], copy=True)}

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]


class BasicOptim(_Optimizer):
    """The chapter's optimizer: subtracts the gradient times the learning rate.

    Args:
        params: the parameters; those without a gradient are skipped.
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

    Unlike `torch.optim.SGD`, it decays by multiplying the weights by `1 - lr * wd` (Loshchilov and
    Hutter, "Decoupled Weight Decay Regularization", 2019). As in fastai, a Learner exempts biases
    and normalisation layers from decay, see `exempt_from_decay`. An optimizer made without momentum
    never has any; one made with momentum keeps its buffers even while a schedule sets it to 0.

    Args:
        params: the parameters, or groups of them as torch's optimizers take them; those without a
            gradient are skipped.
        lr: the learning rate.
        mom: momentum, in [0, 1).
        wd: weight decay, 0 or more.
    """

    def __init__(self, params: Iterable[Any], lr: float, mom: float = 0.0, wd: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "mom": mom, "wd": wd})
        self._has_momentum = any(group["mom"] for group in self.param_groups)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # it takes no closure
        """Decay the weights, update the momentum buffers, and step."""
        for group in self.param_groups:
            lr, mom, wd = group["lr"], group["mom"], group["wd"]
            for p in group["params"]:
                grad = p.grad
                if grad is None:
                    continue
                if wd and _is_decayed(p):
                    p.mul_(1 - lr * wd)
                step = self._momentum_buffer(p).mul_(mom).add_(grad) if self._has_momentum else grad
                p.add_(step, alpha=-lr)

    def _momentum_buffer(self, p: Tensor) -> Tensor:
        state = self.state[p]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(p)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def adamw(
    params: Iterable[Tensor], lr: float, mom: float = 0.9, wd: float = 0.0
) -> torch.optim.AdamW:
    """Make torch's AdamW with `SGD`'s arguments, exempting the same parameters from decay.

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
    """Return the parameters; `named_parameters()` lose their names."""
    return [p[1] if isinstance(p, tuple) and len(p) == 2 else p for p in params]


NORMS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.LayerNorm, nn.GroupNorm),
)
"""Layers whose parameters are exempt from weight decay. fastai 2.8.12 lists those without GroupNorm
and SyncBatchNorm."""


def exempt_from_decay(model: nn.Module) -> None:
    """Exempt a model's biases and its normalisation layers from weight decay.

    As in fastai's Learner, a bias is what its layer calls `bias`. The mark that `SGD` and `adamw`
    look for is the parameter's attribute `_no_weight_decay`.
    """
    for module in model.modules():
        for name, p in module.named_parameters(recurse=False):
            if name == "bias" or isinstance(module, NORMS):
                p._no_weight_decay = True  # type: ignore[attr-defined]


def _is_decayed(p: Tensor) -> bool:
    return not getattr(p, "_no_weight_decay", False)


class Rates:
    """Sets an optimizer's learning rate and momentum, and keeps the ratios between its groups.

    The groups keep the ratios of the learning rates that they were created with, and groups that
    were created without momentum stay without.

    Args:
        opt: any optimizer.
        made: what its groups were created with, as far as known: `made` of an earlier instance.
    """

    def __init__(self, opt: Any, made: Iterable[tuple[float, bool]] = ()) -> None:
        self.opt = opt
        self.made = list(made)  # each group's learning rate, and whether it has momentum

    def set(self, lr: float, mom: float | None = None) -> None:
        """Set the last group's learning rate, the others' in proportion, and the momentum."""
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
    """Return the momentum of a parameter group: 0 if it has none, for Adam the first beta."""
    if "betas" in group:
        return float(group["betas"][0])
    return float(group.get("momentum", group.get("mom", 0.0)))


def set_momentum(group: dict[str, Any], mom: float) -> None:
    """Set the momentum of a parameter group that has one."""
    if "betas" in group:
        group["betas"] = (mom, *group["betas"][1:])
    else:
        group["momentum" if "momentum" in group else "mom"] = mom


DECAY_KEYS = ("wd", "weight_decay")
"""The names of the weight decay in a parameter group: of `SGD`, and of torch's optimizers."""


def set_decay(opt: Any, wd: float) -> None:
    """Set the weight decay of an optimizer's groups, but of those whose parameters are exempt.

    Raises:
        ValueError: the optimizer has no weight decay.
    """
    groups = [(group, key) for group in opt.param_groups for key in DECAY_KEYS if key in group]
    if not groups:
        raise ValueError(
            f"{type(opt).__name__} has no weight decay, so wd cannot be set: take SGD or adamw"
        )
    for group, key in groups:
        if any(map(_is_decayed, group["params"])):
            group[key] = wd
