"""What decides the arithmetic of a fit: a checkpoint notes it, and another fit cannot resume it.

The loaders compare the data, the order, the seed, the batch size and the augmentation themselves.
What changes no figure is left out: threads, processes, the device, how often something is written,
when a training ends early, and without a schedule the number of epochs.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from math import isclose
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from mnist_sgd.loader.dataloader import DataLoader
from mnist_sgd.models.builtin import built_in_name, model_name
from mnist_sgd.models.weights import shapes
from mnist_sgd.models.wrappers import plain_state, unwrapped
from mnist_sgd.training.callbacks.base import Callback
from mnist_sgd.training.optimizers import momentum_of
from mnist_sgd.training.recorder import metric_name, unique_names
from mnist_sgd.training.resume.attributes import is_record
from mnist_sgd.training.schedule import schedule_name

if TYPE_CHECKING:
    from mnist_sgd.training.learner import Learner

__all__ = [
    "callback_settings",
    "comparable",
    "difference",
    "fit_identity",
    "fit_settings",
    "group_settings",
    "loss_settings",
    "normalised",
    "optimizer_name",
    "settings_of_format_2",
    "stateful_callbacks",
    "with_loss_buffers",
]

NONE = "none"
"""Stands for a setting that a fit does not have."""

MOMENTUM, DECAY, DTYPE, LAYERS = "momentum", "weight decay", "dtype of the weights", "layers"
RATIOS = "learning rates of the groups, relative to the last"

OWN_NAMES = ("betas", "momentum", "mom", "wd", "weight_decay")
"""Entries of a group that are told as momentum and weight decay, whatever the optimizer's name."""

LEFT_OUT = ("params", "param_names", "lr", "initial_lr")
"""Of a group's entries; the learning rate is that of the fit."""

LOSS, OTHERS = "settings of the loss", "of the optimizer"

FOREACH = f"foreach {OTHERS}"
SWITCHES = (
    FOREACH,
    *(f"{name} {OTHERS}" for name in ("fused", "capturable", "differentiable", "maximize")),
)
"""Settings of torch's optimizers that an older or another one may not have."""

OFF = ("None", "False")

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.])")
FRACTION = re.compile(r"[.e]")
ROUNDING = 1e-6
"""By what part a number may differ that was rounded to float32 on its way."""


def fit_identity(learn: "Learner") -> dict[str, Any]:
    """The kinds of what takes part in a fit: a checkpoint of other ones cannot be loaded."""
    return {
        "model": _name(learn.model),
        "weights": shapes(plain_state(learn.model)),
        "optimizer": optimizer_name(learn.opt),
        "learning rate": learn.base_lr,
        "loss": metric_name(learn.loss_func),
        "schedule": _without_addresses(schedule_name(learn.schedule, learn.n_epoch)),
        "callbacks with a state": ", ".join(stateful_callbacks(learn.active_cbs)) or NONE,
    }


def identity_in_checkpoint(learn: Any, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the name of a learner's model that an earlier version noted by today's.

    It named a factory's model after the built-in one with the same layers.
    """
    if identity["model"] == built_in_name(learn.model):
        return {**identity, "model": _name(learn.model)}
    return dict(identity)


def optimizer_name(optimizer: object) -> str:
    """The full name of an optimizer's class."""
    kind = type(optimizer)
    return f"{kind.__module__}.{kind.__qualname__}"


def fit_settings(learn: "Learner") -> dict[str, str]:
    """The settings of what takes part in a fit, each by the name that an error has for it."""
    loaders = {"training": learn.dls.train, "validation": learn.dls.valid}
    return {
        **_optimizer_settings(learn.opt_settings or group_settings(learn.opt)),
        DTYPE: _dtypes(plain_state(learn.model)),
        LAYERS: _without_addresses(_layers(unwrapped(learn.model))),
        LOSS: loss_settings(learn.loss_func),
        **{f"{part} batches": _batches(loader) for part, loader in loaders.items()},
        **callback_settings(learn.active_cbs),
    }


def settings_of_format_2(state: Mapping[str, Any]) -> dict[str, str]:
    """The settings that a checkpoint shows which was written before settings were noted.

    A schedule changes the optimizer's momentum, and so hides the one that it began with.
    """
    settings = _optimizer_settings(state["optimizer"]["param_groups"])
    if state["fit"]["schedule"] != "flat":
        del settings[MOMENTUM]
    return settings | {DTYPE: _dtypes(state["model"])}


def comparable(settings: Mapping[str, str]) -> dict[str, str]:
    """Those settings whose text is the same in every version of torch."""
    return {
        name: value
        for name, value in settings.items()
        if name not in (LAYERS, LOSS) and not name.endswith(OTHERS)
    }


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """The first entry in which a checkpoint and a fit differ, as a sentence; None if none does."""
    for name in dict.fromkeys([*here, *there]):
        before, now = there.get(name, NONE), here.get(name, NONE)
        if name == LAYERS:
            before, now = _first_other_line(before, now)
        if not _alike(before, now):
            return f"other {name}: the checkpoint has {before}, this fit has {now}"
    return None


def normalised(settings: Mapping[str, str]) -> dict[str, str]:
    """The settings without those of an optimizer that change how it is computed, but are off."""
    return {
        name: value
        for name, value in settings.items()
        if not (name in SWITCHES and (value in OFF or name == FOREACH))
    }


def _alike(there: object, here: object) -> bool:
    """Whether two settings are the same, but for the rounding of a number to float32."""
    if there == here:
        return True
    one, other = str(there), str(here)
    if "digest" in one:
        return False
    if NUMBER.sub("", one) != NUMBER.sub("", other):
        return False
    pairs = zip(NUMBER.findall(one), NUMBER.findall(other), strict=True)
    return all(
        a == b or (bool(FRACTION.search(a + b)) and isclose(float(a), float(b), rel_tol=ROUNDING))
        for a, b in pairs
    )


def callback_settings(cbs: Iterable[Callback]) -> dict[str, str]:
    """What callbacks that change the training tell of themselves; repeated names are numbered."""
    told = [cb.fit_settings() for cb in cbs if hasattr(cb, "fit_settings")]
    entries = [entry for settings in told for entry in settings.items()]
    names = unique_names([name for name, _ in entries])
    return dict(zip(names, [value for _, value in entries], strict=True))


def group_settings(optimizer: Any) -> list[dict[str, Any]]:
    """The settings of an optimizer's groups of parameters, as they are now."""
    return [
        {key: value for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    ]


def stateful_callbacks(cbs: Iterable[Callback]) -> dict[str, Any]:
    """The callbacks that have a state, by the names of their classes, numbered if need be."""
    named: dict[str, Any] = {}
    for cb in cbs:
        if hasattr(cb, "state_dict"):
            name = type(cb).__name__
            named[f"{name} {len(named) + 1}" if name in named else name] = cb
    return named


def _optimizer_settings(groups: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Each setting's value in the groups, once if it is the same in all."""
    found: dict[str, list[str]] = {MOMENTUM: [], DECAY: [], RATIOS: []}
    last = groups[-1]["lr"]
    for group in groups:
        found[RATIOS].append(f"{group['lr'] / last if last else 1.0:.6g}")
        found[MOMENTUM].append(_text(momentum_of(group)))
        found[DECAY].append(_text(group.get("wd", group.get("weight_decay", 0.0))))
        others = {k: v for k, v in group.items() if k not in OWN_NAMES and k not in LEFT_OUT}
        if "betas" in group:
            others["second beta"] = group["betas"][1]
        for key, value in others.items():
            found.setdefault(f"{key} {OTHERS}", []).append(_text(value))
    return {
        name: values[0] if len(set(values)) == 1 else " and ".join(values)
        for name, values in found.items()
    }


def _text(value: object) -> str:
    """A setting as text: 0 is 0.0, NumPy's numbers are Python's, and lists are tuples."""
    if isinstance(value, list | tuple):
        value = tuple(each.item() if isinstance(each, np.generic) else each for each in value)
    if isinstance(value, np.generic):
        value = value.item()
    return str(float(value) if type(value) is int else value)


def _dtypes(state: Mapping[str, Any]) -> str:
    tensors = [value for value in state.values() if isinstance(value, Tensor)]
    kinds = {str(t.dtype).removeprefix("torch.") for t in tensors if t.is_floating_point()}
    return ", ".join(sorted(kinds)) or NONE


def loss_settings(loss_func: Any) -> str:
    """The arguments of a partial, or the `repr` of a module."""
    if isinstance(loss_func, partial):
        arguments = [*map(_shown, loss_func.args)]
        arguments += [f"{key}={_shown(each)}" for key, each in sorted(loss_func.keywords.items())]
        name = metric_name(loss_func.func)
        return _without_addresses(f"{name}({', '.join(arguments)})")
    return _without_addresses(repr(loss_func)) if isinstance(loss_func, nn.Module) else NONE


def _shown(argument: object) -> str:
    """An argument of a loss; of a record its kind alone, as it may hold anything."""
    return type(argument).__name__ if is_record(argument) else repr(argument)


def with_loss_buffers(settings: Mapping[str, str], loss_func: Any) -> dict[str, str]:
    """The settings as checkpoints have them that do not note attributes."""
    state = loss_func.state_dict() if isinstance(loss_func, nn.Module) else {}
    buffers = {name: t.tolist() for name, t in state.items()}
    return {**settings, LOSS: f"{settings[LOSS]} {buffers}" if buffers else settings[LOSS]}


def _name(model: nn.Module) -> str:
    """The name of a model; that of a lazy layer is what it will be."""
    inner = unwrapped(model)
    kind = getattr(inner, "cls_to_become", None) if isinstance(inner, LazyModuleMixin) else None
    return kind.__name__ if kind else model_name(model)


def _layers(module: nn.Module) -> str:
    """The `repr` of a module, as if none in it were wrapped."""
    if all(unwrapped(each) is each for each in module.modules()):
        return repr(module)
    lines = []
    for name, child in module.named_children():
        first, *others = _layers(unwrapped(child)).split("\n")
        lines += [f"  ({name}): {first}", *(f"  {line}" for line in others)]
    extra = [f"  {line}" for line in module.extra_repr().splitlines()]
    return "\n".join([f"{type(module).__name__}(", *extra, *lines, ")"])


def _batches(loader: object) -> str:
    """What a loader makes of an image; of another package's only its class is known."""
    if not isinstance(loader, DataLoader):
        return f"a {type(loader).__name__}"
    dtype = str(loader.dtype).removeprefix("torch.")
    return f"{dtype} {list(loader.sample_shape)} with mean {loader.mean} and std {loader.std}"


def _without_addresses(text: str) -> str:
    """A repr without the places in memory, which are others in each process."""
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def _first_other_line(there: str, here: str) -> tuple[str, str]:
    """The first line in which two models differ; a lazy layer is like what it becomes."""
    pairs = zip_longest(there.splitlines(), here.splitlines(), fillvalue=NONE)
    lazy = re.compile(r"^\s*(\(\w+\): )?Lazy[A-Z]")
    others = (pair for pair in pairs if pair[0] != pair[1] and not any(map(lazy.match, pair)))
    before, now = next(others, ("", ""))
    return before.strip(), now.strip()
