"""The model inside what `torch.compile`, DataParallel and their like put around it.

A wrapper answers as the model inside does, but renames every weight (`_orig_mod.`, `module.`) and
hides the model's class. Files, names and summaries are therefore those of the model inside, so that
weights saved from a compiled model load into a plain one and the other way round.
"""

import copy
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

__all__ = [
    "load_passing_buffers",
    "load_plain_state",
    "passing_buffers",
    "plain_copy",
    "plain_modules",
    "plain_parameters",
    "plain_state",
    "unwrapped",
]


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside any number of wrappers, or `model` itself if it is none.

    Wrappers are `torch.compile`'s, DataParallel, DistributedDataParallel and AveragedModel.
    """
    while (name := _inner_name(model)) is not None:
        model = getattr(model, name)
    return model


def plain_state(model: nn.Module) -> dict[str, Any]:
    """The `state_dict` of the model inside, with the names it has where no module is wrapped."""
    model = unwrapped(model)
    return {_plain_name(model, name): value for name, value in model.state_dict().items()}


def load_plain_state(model: nn.Module, state: Mapping[str, Any], strict: bool = True) -> None:
    """Load what `plain_state` gave, also from a model that is wrapped in another way.

    Args:
        model: any.
        state: of a model of the same architecture.
        strict: whether all of the model's names must be there, and no other.

    Raises:
        RuntimeError: names or shapes are not the model's.
    """
    model = unwrapped(model)
    names = {_plain_name(model, name): name for name in model.state_dict()}
    renamed = {names.get(name, name): value for name, value in state.items()}
    model.load_state_dict(renamed, strict=strict)


def plain_modules(model: nn.Module) -> dict[str, nn.Module]:
    """All modules but the wrappers, by the names that they have where no module is wrapped."""
    model = unwrapped(model)
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if unwrapped(module) is module:
            found.setdefault(_plain_name(model, name), module)
    return found


def plain_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """All parameters, each once, by the names that they have where no module is wrapped."""
    model = unwrapped(model)
    return {_plain_name(model, name): p for name, p in model.named_parameters()}


def passing_buffers(model: nn.Module) -> dict[str, Tensor | None]:
    """The buffers that are in no `state_dict`, as they were registered with `persistent=False`.

    A model computes with them as with the others, so what keeps its state keeps them too.
    """
    return {
        f"{place}.{name}" if place else name: module._buffers[name]
        for place, module in plain_modules(model).items()
        for name in sorted(module._non_persistent_buffers_set)
        if name in module._buffers
    }


def load_passing_buffers(model: nn.Module, buffers: Mapping[str, Tensor | None]) -> None:
    """Put back what `passing_buffers` gave; a buffer that a batch has made is made."""
    modules = plain_modules(model)
    for name, value in buffers.items():
        place, _, own = name.rpartition(".")
        module = modules.get(place)
        if module is None or (own not in module._buffers and hasattr(module, own)):
            continue  # it is another model now
        there = module._buffers.get(own)
        if value is not None and there is not None and _fits(there, value):
            with torch.no_grad():
                there.copy_(value)
            continue
        device = next((p.device for p in model.parameters()), None)
        fresh = value if value is None else value.detach().to(device, copy=True)
        module.register_buffer(own, fresh, persistent=False)


def _fits(there: Tensor, value: Tensor) -> bool:
    """Whether a buffer can take a value in its own memory."""
    alike = there.shape == value.shape and there.dtype == value.dtype
    return alike and there.is_contiguous() and not there.requires_grad


def plain_copy(model: nn.Module) -> nn.Module:
    """A deep copy of the model inside, with every wrapped module replaced by the one it wraps.

    Tensors that a forward pass left in attributes, as hooks and the older `weight_norm` do, are
    copied without their history, which torch could not copy.
    """
    model = unwrapped(model)
    memo: dict[int, Any] = {}
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    for module in reversed(list(model.modules())):  # the innermost first
        inner = unwrapped(module)
        if inner is not module:
            memo[id(module)] = copy.deepcopy(inner, memo)
    return copy.deepcopy(model, memo)


def _inner_name(module: nn.Module) -> str | None:
    """The attribute of a wrapper that holds the model inside; None for any other module."""
    # Importing the compiler takes seconds; a model that it compiled has imported it.
    compiler = sys.modules.get("torch._dynamo.eval_frame")
    if compiler is not None and isinstance(module, compiler.OptimizedModule):
        return "_orig_mod"
    if isinstance(module, DataParallel | DistributedDataParallel | AveragedModel):
        return "module"
    return None


def _plain_name(model: nn.Module, name: str) -> str:
    """The name of an entry of `model.state_dict()` without the parts that wrappers add."""
    module: nn.Module | None = model
    plain = []
    for part in name.split("."):
        if module is None or part != _inner_name(module):
            plain.append(part)
        module = None if module is None else module._modules.get(part)
    return ".".join(plain)
