"""The state of a fit that is under way: what a checkpoint holds, and how a learner takes it up."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Set as AbstractSet
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mnist_sgd.loader.dataloader import DataLoader
from mnist_sgd.models.wrappers import (
    load_non_persistent_buffers,
    load_plain_state,
    non_persistent_buffers,
    plain_parameters,
    plain_state,
)
from mnist_sgd.training.optimizers import Rates
from mnist_sgd.training.random_states import set_random_state
from mnist_sgd.training.resume.attribute_values import held, is_held, taken
from mnist_sgd.training.resume.attributes import put_attribute
from mnist_sgd.training.resume.fit_identity import difference, optimizer_name, stateful_callbacks
from mnist_sgd.training.resume.fit_parts import OPTIMIZER
from mnist_sgd.training.resume.fit_start import FitStart, fit_attributes, other_weights, trained

if TYPE_CHECKING:
    from mnist_sgd.training.learner import Learner

__all__ = ["PARTS", "awaited", "begin_loaders", "fit_state", "put_state", "take_up"]

PARTS = frozenset({"model", "optimizer", "others"})
"""The parts of a state that are put separately; of the others the callbacks and the loss."""


def fit_state(learn: Learner, start: FitStart, epoch_done: bool) -> dict[str, Any]:
    """Where a fit stands, but for the random numbers.

    Args:
        learn: in a fit, after a training batch or after an epoch.
        start: what the fit began with.
        epoch_done: whether `learn.epoch` is over.

    Raises:
        ValueError: a layer's weights have no shape yet.
    """
    model = plain_state(learn.model)
    for name, value in model.items():
        if isinstance(value, Tensor) and is_lazy(value):
            raise ValueError(f"{name} has no shape yet, as the layer has had no batch")
    if untold := start.parts.untold(learn):
        warnings.warn(
            f"{', '.join(untold)} has changed, which a checkpoint does not hold: a fit that "
            "resumes begins with what before_fit makes of it; give the callback state_dict() and "
            "load_state_dict()",
            stacklevel=2,
        )
    train = learn.train_place.state_dict()
    state = {
        "fit": start.identity,
        "settings": start.settings,
        "start": start.facts,
        "parts": start.parts.state(learn, epoch_done),
        "epoch": learn.epoch + epoch_done,
        "train": _next_epoch(train) if epoch_done else train,
        "recorder": _as_tensors(learn.recorder.state_dict()),
        "model": model,
        "passing buffers": non_persistent_buffers(learn.model),
        "trained": trained(learn),
        **_gradients(learn.model),
        **_attributes(learn, start),
        "loss": {
            place: {
                "state": plain_state(each),
                "passing buffers": non_persistent_buffers(each),
                **_gradients(each),
            }
            for place, each in learn.loss_modules().items()
        },
        "optimizer": learn.opt.state_dict(),
        "made rates": _made_rates(learn),
        "callbacks": {
            name: cb.state_dict() for name, cb in stateful_callbacks(learn.active_cbs).items()
        },
    }
    if isinstance(learn.dls.valid, DataLoader) and learn.dls.valid is not learn.dls.train:
        state["valid"] = _next_epoch(learn.valid_place.state_dict())
    return state


def take_up(learn: Learner, state: Mapping[str, Any]) -> None:
    """Put a learner where a fit stood, before its callbacks are called.

    What callbacks have yet to bring in, another model or optimizer, waits for them, see
    `put_state`.

    Raises:
        ValueError, RuntimeError: the recorder, a callback or the optimizer refuses its state.
    """
    recorder = _as_lists(state["recorder"])
    if "start" in state:  # the columns with which both fits began were compared
        learn.recorder.metric_names = list(recorder["metric_names"])
    learn.recorder.load_state_dict(recorder)
    learn.epoch = state["epoch"]
    learn.batch = -(-state["train"]["samples_seen"] // state["train"]["batch_size"])
    put_state(learn, state, PARTS - awaited(learn, state).keys())


def awaited(learn: Learner, state: Mapping[str, Any]) -> dict[str, str]:
    """Which parts of a state are of another model or optimizer, which callbacks may bring in.

    Returns:
        What is other, as a sentence for each part.
    """
    if "start" not in state:
        return {}
    found = {
        "model": other_weights(learn, state["model"]),
        "optimizer": _other_optimizer(learn, state),
    }
    return {part: sentence for part, sentence in found.items() if sentence}


def put_state(learn: Learner, state: Mapping[str, Any], parts: AbstractSet[str] = PARTS) -> None:
    """Put the weights, the optimizer, the callbacks and the random numbers where a fit stood.

    Args:
        learn: any; the callbacks of its fit are the active ones.
        state: of a checkpoint.
        parts: which of `PARTS` it is put into.

    Raises:
        ValueError, RuntimeError: the model, the optimizer or a callback refuses its state.
    """
    if "model" in parts:
        if found := other_weights(learn, state["model"]):
            raise ValueError(found)
        load_plain_state(learn.model, _own_copy(state["model"]))
        load_non_persistent_buffers(learn.model, state.get("passing buffers", {}))
        _put_parameters(learn, state)
    if "optimizer" in parts:
        learn.opt.load_state_dict(copy.deepcopy(state["optimizer"]))
        if "made rates" in state:
            learn._rates = Rates(learn.opt, map(tuple, state["made rates"]))
    if "others" in parts:
        _put_others(learn, state)
    _put_attributes(learn, state, parts)
    set_random_state(learn.ranks.device, _own_random_state(learn.ranks.rank, state))


def _put_others(learn: Learner, state: Mapping[str, Any]) -> None:
    """Put the callbacks and the loss where a fit stood."""
    for name, cb in stateful_callbacks(learn.active_cbs).items():
        cb.load_state_dict(copy.deepcopy(state["callbacks"][name]))
    modules = learn.loss_modules()
    for place, each in state.get("loss", {}).items():
        if place in modules:
            load_plain_state(modules[place], _own_copy(each["state"]))
            load_non_persistent_buffers(modules[place], each["passing buffers"])
            _put_gradients(plain_parameters(modules[place]), each)


def _put_attributes(learn: Learner, state: Mapping[str, Any], parts: AbstractSet[str]) -> None:
    """Set the attributes that a fit had changed."""
    roots = {"model": learn.model, "loss": learn.loss_func, "optimizer": learn.opt}
    for part, found in fit_attributes(learn).items():
        if (part if part in PARTS else "others") in parts:
            for name, value in state.get("attributes", {}).get(part, {}).items():
                before = found[name].value if name in found else None
                new = taken(value, before, learn.ranks.device)
                put_attribute(found, roots[part], name, new)


def begin_loaders(
    learn: Learner,
    state: Mapping[str, Any],
    later: Callable[[Mapping[str, int], DataLoader], None],
) -> None:
    """Put the loaders where a fit stood: both of them, or neither.

    Args:
        learn: its fit is about to begin.
        state: of a checkpoint.
        later: puts a loader into a state, which callbacks have yet to put in another's place.

    Raises:
        ValueError: a loader is not one of the same batches; the message says what differs.
    """
    loaders = {"train": learn.dls.train, "valid": learn.dls.valid}
    if learn.dls.valid is learn.dls.train:  # which has one place, the training's
        del loaders["valid"]
    begun = state["start"]["loaders"] if "start" in state else state
    known = {
        part: loader
        for part, loader in loaders.items()
        if isinstance(loader, DataLoader) and part in begun
    }
    for part, loader in known.items():
        with loader.undisturbed():  # refuses what is not of this loader
            loader.load_state_dict(begun[part])
    places = {"train": learn.train_place, "valid": learn.valid_place}
    for part, place in places.items():
        there = state.get(part)
        awaited = None
        if there and part in known:
            if _same_order(there, begun[part]):
                known[part].load_state_dict(there)
            else:
                awaited = partial(later, there)
        place.begin(loaders.get(part), awaited)


def _same_order(there: Mapping[str, int], begun: Mapping[str, int]) -> bool:
    """Whether two states are of loaders with the same batches."""
    place = ("epoch", "samples_seen")
    return all(there[key] == begun[key] for key in begun if key not in place)


def _put_parameters(learn: Learner, state: Mapping[str, Any]) -> None:
    """Freeze what was frozen, and take the gradients of the model."""
    parameters = plain_parameters(learn.model)
    for name, is_trained in state.get("trained", {}).items():
        if name in parameters:
            parameters[name].requires_grad_(is_trained)
    _put_gradients(parameters, state)


def _put_gradients(parameters: Mapping[str, nn.Parameter], state: Mapping[str, Any]) -> None:
    """Take the gradients that were being accumulated; there are no others."""
    for p in parameters.values():
        p.grad = None
    for name, gradient in state.get("gradients", {}).items():
        # Earlier versions noted the names that wrappers give.
        p = parameters[name if name in parameters else _without_wrappers(name)]
        p.grad = gradient.to(p, copy=True)


def _own_copy(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a module whose extra states it may keep; tensors are copied anyway."""
    return {
        name: value if isinstance(value, Tensor) else copy.deepcopy(value)
        for name, value in state.items()
    }


def _without_wrappers(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in ("_orig_mod", "module"))


def _gradients(module: nn.Module) -> dict[str, dict[str, Tensor]]:
    """What cancelled batches have accumulated for the next step; usually nothing."""
    parameters = plain_parameters(module)
    found = {name: p.grad for name, p in parameters.items() if p.grad is not None}
    return {"gradients": found} if found else {}


def _attributes(learn: Learner, start: FitStart) -> dict[str, Any]:
    """Which attributes the fit has changed, and the values of those that can be held."""
    changed: dict[str, list[str]] = {}
    values: dict[str, dict[str, Any]] = {}
    for part, found in fit_attributes(learn).items():
        before = start.facts["attributes"][part]
        other = {name: each for name, each in found.items() if before.get(name) != each.text}
        changed[part] = [*other, *(name for name in before if name not in found)]
        values[part] = {}
        for name, each in other.items():
            if each.put is None:  # a buffer, which is in the loss's state, or an argument
                continue
            if is_held(each.value):
                values[part][name] = held(each.value)
            else:
                _tell(start, f"{name} of the {part}", type(each.value).__name__)
    return {"changed": changed, "attributes": values}


def _made_rates(learn: Learner) -> list[list[Any]]:
    """The rates that the optimizer's groups were made with, which a schedule has changed since."""
    rates = learn._rates
    return [list(each) for each in rates.made] if rates and rates.opt is learn.opt else []


def _tell(start: FitStart, name: str, kind: str) -> None:
    """Warn, once in a fit, that a checkpoint does not have what an attribute has become."""
    if name not in start.told:
        start.told.add(name)
        warnings.warn(
            f"{name} has changed, but a checkpoint cannot hold what it is, of type {kind}: a fit "
            "that resumes begins with its initial value",
            stacklevel=2,
        )


def _other_optimizer(learn: Learner, state: Mapping[str, Any]) -> str | None:
    """In what the optimizer is of another class or has other groups of parameters than a state."""
    there = state.get("parts", {}).get("texts", {}).get(OPTIMIZER)
    if there and (found := difference({OPTIMIZER: there}, {OPTIMIZER: optimizer_name(learn.opt)})):
        return found
    groups = (state["optimizer"].get("param_groups", []), learn.opt.param_groups)
    there, here = ([len(group.get("params", ())) for group in each] for each in groups)
    name = "numbers of parameters in the optimizer's groups"
    return difference({name: there}, {name: here})


def _as_tensors(recorder: dict[str, Any]) -> dict[str, Any]:
    """A recorder's state with its long lists as tensors, a twentieth of the time in JSON."""
    numbers = {
        name: torch.tensor(recorder[name], dtype=torch.float64)
        for name in ("losses", "lrs", "moms")
    }
    return recorder | numbers


def _as_lists(recorder: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.tolist() if isinstance(value, Tensor) else value
        for name, value in recorder.items()
    }


def _next_epoch(loader_state: dict[str, int]) -> dict[str, int]:
    """The state from which the next epoch begins, also if the last one was left in the middle."""
    if loader_state["samples_seen"] == 0:
        return loader_state
    return loader_state | {"epoch": loader_state["epoch"] + 1, "samples_seen": 0}


def _own_random_state(rank: int, state: Mapping[str, Any]) -> dict[str, Tensor]:
    """A rank's part of the random numbers; nothing for one that was not there.

    It is a copy: torch reads a state from the beginning of its storage, whatever its offset.
    """
    rows = state.get("random of ranks") or {name: t[None] for name, t in state["random"].items()}
    return {name: each[rank].clone() for name, each in rows.items() if rank < len(each)}
