"""The model inside what `torch.compile`, DataParallel and their like put around it.

A wrapper answers as the model inside does, but renames every weight (`_orig_mod.`, `module.`) and
hides the model's class. Files, names and summaries are therefore those of the model inside, so that
weights saved from a compiled model load into a plain one and the other way round.
"""

import copy
import sys
from typing import Any

from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

__all__ = ["load_plain_state", "plain_copy", "plain_state", "unwrapped"]


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


def load_plain_state(model: nn.Module, state: dict[str, Any]) -> None:
    """Load what `plain_state` gave, also from a model that is wrapped in another way.

    Raises:
        RuntimeError: names or shapes are not the model's.
    """
    model = unwrapped(model)
    names = {_plain_name(model, name): name for name in model.state_dict()}
    model.load_state_dict({names.get(name, name): value for name, value in state.items()})


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
