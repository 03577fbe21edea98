"""Look inside the wrappers of `torch.compile`, DataParallel and similar.

A wrapper computes what the model inside does, but adds a prefix to every name (`_orig_mod.`,
`module.`) and hides the model's class. Files, names and summaries are those of the model inside, so
weights saved from a compiled model load into a plain one and vice versa.
"""

import copy
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside any number of wrappers, or `model` itself if there is none.

    Wrappers are those of `torch.compile`, DataParallel, DistributedDataParallel and AveragedModel.
    """
    while (name := _inner_name(model)) is not None:
        model = getattr(model, name)
    return model


def plain_state(model: nn.Module) -> dict[str, Any]:
    """Return the `state_dict` of the model inside, without the prefixes of wrapped modules."""
    model = unwrapped(model)
    return {_plain_name(model, name): value for name, value in model.state_dict().items()}


def load_plain_state(model: nn.Module, state: Mapping[str, Any], strict: bool = True) -> None:
    """Load a `plain_state`, also of a model that is wrapped differently.

    Args:
        model: any model.
        state: of a model of the same architecture.
        strict: whether the names must be exactly the model's.

    Raises:
        RuntimeError: names or shapes are not the model's.
    """
    model = unwrapped(model)
    names = {_plain_name(model, name): name for name in model.state_dict()}
    renamed = {names.get(name, name): value for name, value in state.items()}
    model.load_state_dict(renamed, strict=strict)


def plain_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return all modules except the wrappers, by their names without prefixes."""
    model = unwrapped(model)
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if unwrapped(module) is module:
            found.setdefault(_plain_name(model, name), module)
    return found


def plain_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return all parameters, each once, by their names without prefixes."""
    model = unwrapped(model)
    return {_plain_name(model, name): p for name, p in model.named_parameters()}


def non_persistent_buffers(model: nn.Module) -> dict[str, Tensor | None]:
    """Return the buffers registered with `persistent=False`, which no `state_dict` holds.

    A model computes with them too, so whatever saves its full state needs them.
    """
    return {
        f"{place}.{name}" if place else name: module._buffers[name]
        for place, module in plain_modules(model).items()
        for name in sorted(module._non_persistent_buffers_set)
        if name in module._buffers
    }


def load_non_persistent_buffers(model: nn.Module, buffers: Mapping[str, Tensor | None]) -> None:
    """Restore `non_persistent_buffers`; a buffer that only a batch created is created."""
    modules = plain_modules(model)
    for name, value in buffers.items():
        place, _, own = name.rpartition(".")
        module = modules.get(place)
        if module is None or (own not in module._buffers and hasattr(module, own)):
            continue  # the model has changed
        there = module._buffers.get(own)
        if value is not None and there is not None and _fits(there, value):
            with torch.no_grad():
                there.copy_(value)
            continue
        device = next((p.device for p in model.parameters()), None)
        fresh = value if value is None else value.detach().to(device, copy=True)
        module.register_buffer(own, fresh, persistent=False)


def _fits(there: Tensor, value: Tensor) -> bool:
    """Whether a value can be copied into a buffer in place."""
    alike = there.shape == value.shape and there.dtype == value.dtype
    return alike and there.is_contiguous() and not there.requires_grad


def plain_copy(model: nn.Module) -> nn.Module:
    """Deep-copy the model inside, with every wrapped module replaced by the one it wraps.

    Tensors that a forward pass left in attributes, as hooks and the older `weight_norm` do, are
    copied without their autograd history, which torch cannot copy.
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
    """Return the attribute of a wrapper that holds the model inside; None for other modules."""
    # Importing the compiler takes seconds; if a model was compiled, it is imported already.
    compiler = sys.modules.get("torch._dynamo.eval_frame")
    if compiler is not None and isinstance(module, compiler.OptimizedModule):
        return "_orig_mod"
    if isinstance(module, DataParallel | DistributedDataParallel | AveragedModel):
        return "module"
    return None


def _plain_name(model: nn.Module, name: str) -> str:
    """Remove the prefixes of wrappers from a name in `model.state_dict()`."""
    module: nn.Module | None = model
    plain = []
    for part in name.split("."):
        if module is None or part != _inner_name(module):
            plain.append(part)
        module = None if module is None else module._modules.get(part)
    return ".".join(plain)
