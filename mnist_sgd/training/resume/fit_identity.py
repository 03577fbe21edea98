"""Describe what decides the arithmetic of a fit, as texts that a checkpoint stores.

The loaders describe the data, the order, the seed, the batch size and the augmentation themselves.
What changes no result is omitted: threads, processes, the device, how often something is written,
early stopping, and without a schedule the number of epochs.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from mnist_sgd.loader.dataloader import DataLoader
from mnist_sgd.models.builtin import model_name
from mnist_sgd.models.weights import shapes
from mnist_sgd.models.wrappers import plain_modules, plain_state, unwrapped
from mnist_sgd.training.callbacks.base import Callback
from mnist_sgd.training.optimizers import momentum_of
from mnist_sgd.training.recorder import metric_name, unique_names
from mnist_sgd.training.resume.attribute_values import is_record
from mnist_sgd.training.schedule import schedule_name

NONE = "none"
"""Stands for a setting that a fit does not have."""

MOMENTUM, DECAY, DTYPE, LAYERS = "momentum", "weight decay", "dtype of the weights", "layers"
RATIOS = "learning rates of the groups, relative to the last"
LOSS, OPTIMIZER = "settings of the loss", "optimizer"

OF_OPTIMIZER = "of the optimizer"
"""Ends the names of the other settings of an optimizer's groups."""

STANDARD = ("betas", "momentum", "mom", "wd", "weight_decay")
"""Entries of a group that are described as momentum and weight decay."""

OMITTED = ("params", "param_names", "lr", "initial_lr")
"""Other entries of a group; the fit has the learning rate."""


def fit_identity(learn: Any) -> dict[str, Any]:
    """Name the components of a learner's fit: a checkpoint with others cannot be resumed."""
    return {
        "model": fit_model_name(learn.model),
        "weights": shapes(plain_state(learn.model)),
        OPTIMIZER: optimizer_name(learn.opt),
        "learning rate": learn.base_lr,
        "loss": metric_name(learn.loss_func),
        "schedule": _without_addresses(schedule_name(learn.schedule, learn.n_epoch)),
        "callbacks with a state": ", ".join(stateful_callbacks(learn.active_cbs)) or NONE,
    }


def optimizer_name(optimizer: object) -> str:
    """Return the full name of an optimizer's class, see `public_name`."""
    kind = type(optimizer)
    return public_name(f"{kind.__module__}.{kind.__qualname__}")


def public_name(name: str) -> str:
    """Shorten the full name of this package's class: mnist_sgd.SGD, wherever it is defined."""
    return re.sub(r"^mnist_sgd\..*\.", "mnist_sgd.", name)


def fit_model_name(model: nn.Module) -> str:
    """Return the name of a model; a lazy layer has the name of what it becomes."""
    kind = _lazy_class(unwrapped(model))
    return kind.__name__ if kind else model_name(model)


def component_names(learn: Any) -> dict[str, str]:
    """Name the current classes of the layers, the loss and the optimizer.

    Callbacks may replace them during a fit. What a layer holds is omitted, because its state and
    its attributes are saved.
    """
    modules = {name: unwrapped(each) for name, each in plain_modules(learn.model).items()}
    return {
        **{
            f"layer {name}" if name else "model": (_lazy_class(each) or type(each)).__name__
            for name, each in modules.items()
        },
        "loss": metric_name(learn.loss_func),
        LOSS: loss_settings(learn.loss_func),
        OPTIMIZER: optimizer_name(learn.opt),
    }


def _lazy_class(module: nn.Module) -> type | None:
    """Return the class that a lazy layer becomes; None for other modules."""
    return getattr(module, "cls_to_become", None) if isinstance(module, LazyModuleMixin) else None


def fit_settings(learn: Any) -> dict[str, str]:
    """Describe the settings of the components of a fit, by the names that error messages use."""
    loaders = {"training": learn.dls.train, "validation": learn.dls.valid}
    return {
        **optimizer_settings(learn.opt_settings or group_settings(learn.opt)),
        DTYPE: dtypes(plain_state(learn.model)),
        LAYERS: _without_addresses(_layers(unwrapped(learn.model))),
        LOSS: loss_settings(learn.loss_func),
        **{f"{part} batches": _batches(loader) for part, loader in loaders.items()},
        **callback_settings(learn.active_cbs),
    }


def callback_settings(cbs: Iterable[Callback]) -> dict[str, str]:
    """Collect the `fit_settings` of callbacks; repeated names are numbered."""
    settings = [cb.fit_settings() for cb in cbs if hasattr(cb, "fit_settings")]
    entries = [entry for each in settings for entry in each.items()]
    names = unique_names([name for name, _ in entries])
    return dict(zip(names, [value for _, value in entries], strict=True))


def group_settings(optimizer: Any) -> list[dict[str, Any]]:
    """Copy the current settings of an optimizer's parameter groups."""
    return [
        {key: value for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    ]


def stateful_callbacks(cbs: Iterable[Callback]) -> dict[str, Any]:
    """Return the callbacks with a `state_dict` by their classes' names, numbered if repeated."""
    named: dict[str, Any] = {}
    for cb in cbs:
        if hasattr(cb, "state_dict"):
            name = type(cb).__name__
            named[f"{name} {len(named) + 1}" if name in named else name] = cb
    return named


def optimizer_settings(groups: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Describe each setting of the parameter groups, once if all groups agree."""
    found: dict[str, list[str]] = {MOMENTUM: [], DECAY: [], RATIOS: []}
    last = groups[-1]["lr"]
    for group in groups:
        found[RATIOS].append(f"{group['lr'] / last if last else 1.0:.6g}")
        found[MOMENTUM].append(_text(momentum_of(group)))
        found[DECAY].append(_text(group.get("wd", group.get("weight_decay", 0.0))))
        others = {k: v for k, v in group.items() if k not in STANDARD and k not in OMITTED}
        if "betas" in group:
            others["second beta"] = group["betas"][1]
        for key, value in others.items():
            found.setdefault(f"{key} {OF_OPTIMIZER}", []).append(_text(value))
    return {
        name: values[0] if len(set(values)) == 1 else " and ".join(values)
        for name, values in found.items()
    }


def _text(value: object) -> str:
    """Format a setting: 0 is 0.0, NumPy's numbers are Python's, and lists are tuples."""
    if isinstance(value, list | tuple):
        value = tuple(each.item() if isinstance(each, np.generic) else each for each in value)
    if isinstance(value, np.generic):
        value = value.item()
    return str(float(value) if type(value) is int else value)


def dtypes(state: Mapping[str, Any]) -> str:
    """Name the floating-point dtypes in a state."""
    tensors = [value for value in state.values() if isinstance(value, Tensor)]
    kinds = {str(t.dtype).removeprefix("torch.") for t in tensors if t.is_floating_point()}
    return ", ".join(sorted(kinds)) or NONE


def loss_settings(loss_func: Any) -> str:
    """Describe a partial by its arguments, a module by its `repr`."""
    if isinstance(loss_func, partial):
        arguments = [*map(_argument, loss_func.args)]
        arguments += [f"{key}={_argument(v)}" for key, v in sorted(loss_func.keywords.items())]
        name = metric_name(loss_func.func)
        return _without_addresses(f"{name}({', '.join(arguments)})")
    return _without_addresses(repr(loss_func)) if isinstance(loss_func, nn.Module) else NONE


def _argument(argument: object) -> str:
    """Describe an argument of a loss; a record only by its type, as it may hold anything."""
    return type(argument).__name__ if is_record(argument) else repr(argument)


def _layers(module: nn.Module) -> str:
    """Return the `repr` of a module as if nothing in it were wrapped."""
    if all(unwrapped(each) is each for each in module.modules()):
        return repr(module)
    lines = []
    for name, child in module.named_children():
        first, *others = _layers(unwrapped(child)).split("\n")
        lines += [f"  ({name}): {first}", *(f"  {line}" for line in others)]
    extra = [f"  {line}" for line in module.extra_repr().splitlines()]
    return "\n".join([f"{type(module).__name__}(", *extra, *lines, ")"])


def _batches(loader: object) -> str:
    """Describe a loader's preprocessing; of another package's loader only its class is known."""
    if not isinstance(loader, DataLoader):
        return f"a {type(loader).__name__}"
    dtype = str(loader.dtype).removeprefix("torch.")
    return f"{dtype} {list(loader.sample_shape)} with mean {loader.mean} and std {loader.std}"


def _without_addresses(text: str) -> str:
    """Remove memory addresses, which differ between processes, from a `repr`."""
    return re.sub(r" at 0x[0-9a-f]+", "", text)
