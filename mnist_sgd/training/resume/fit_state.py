"""Collect the state of a running fit for a checkpoint."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mnist_sgd.loader.dataloader import DataLoader
from mnist_sgd.models.wrappers import non_persistent_buffers, plain_parameters, plain_state
from mnist_sgd.training.resume.attribute_values import is_storable, to_stored
from mnist_sgd.training.resume.fit_identity import stateful_callbacks
from mnist_sgd.training.resume.fit_start import FitStart, fit_attributes, trained


def fit_state(learn: Any, start: FitStart, epoch_done: bool) -> dict[str, Any]:
    """Return the state of a fit, without the random states.

    Args:
        learn: in a fit, after a training batch or after an epoch.
        start: of the fit.
        epoch_done: whether `learn.epoch` is over.

    Raises:
        ValueError: a layer's weights have no shape yet.
    """
    model = plain_state(learn.model)
    for name, value in model.items():
        if isinstance(value, Tensor) and is_lazy(value):
            raise ValueError(f"{name} has no shape yet, as the layer has had no batch")
    if changes := start.components.unsaved_changes(learn):
        warnings.warn(
            f"{', '.join(changes)} has changed, which a checkpoint does not hold: a fit that "
            "resumes begins with what before_fit makes of it; give the callback state_dict() and "
            "load_state_dict()",
            stacklevel=2,
        )
    train = learn.train_place.state_dict()
    state = {
        "fit": start.identity,
        "settings": start.settings,
        "start": start.facts,
        "parts": start.components.state(learn, epoch_done),
        "epoch": learn.epoch + epoch_done,
        "train": _next_epoch(train) if epoch_done else train,
        "recorder": _recorder_state(learn.recorder),
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
        "made rates": _initial_rates(learn),
        "callbacks": {
            name: cb.state_dict() for name, cb in stateful_callbacks(learn.active_cbs).items()
        },
    }
    if isinstance(learn.dls.valid, DataLoader) and learn.dls.valid is not learn.dls.train:
        state["valid"] = _next_epoch(learn.valid_place.state_dict())
    return state


def _next_epoch(loader_state: dict[str, int]) -> dict[str, int]:
    """Return the state at the start of the next epoch, also if this one was not finished."""
    if loader_state["samples_seen"] == 0:
        return loader_state
    return loader_state | {"epoch": loader_state["epoch"] + 1, "samples_seen": 0}


def _recorder_state(recorder: Any) -> dict[str, Any]:
    """Return the recorder's state with its long lists as tensors, which are faster than JSON."""
    state: dict[str, Any] = recorder.state_dict()
    long = ("losses", "lrs", "moms")
    return state | {name: torch.tensor(state[name], dtype=torch.float64) for name in long}


def _gradients(module: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Return gradients that cancelled batches accumulated for the next step; usually none."""
    parameters = plain_parameters(module)
    found = {name: p.grad for name, p in parameters.items() if p.grad is not None}
    return {"gradients": found} if found else {}


def _attributes(learn: Any, start: FitStart) -> dict[str, Any]:
    """Return the names of the attributes that the fit changed, and the storable values."""
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
            if is_storable(each.value):
                values[part][name] = to_stored(each.value)
            else:
                _warn_once(start, f"{name} of the {part}", type(each.value).__name__)
    return {"changed": changed, "attributes": values}


def _warn_once(start: FitStart, name: str, kind: str) -> None:
    """Warn, once in a fit, that a checkpoint cannot hold the value of an attribute."""
    if name not in start.reported:
        start.reported.add(name)
        warnings.warn(
            f"{name} has changed, but a checkpoint cannot hold what it is, of type {kind}: a fit "
            "that resumes begins with its initial value",
            stacklevel=2,
        )


def _initial_rates(learn: Any) -> list[list[Any]]:
    """Return the rates that the optimizer's groups were made with, before any schedule."""
    rates = learn._rates
    return [list(each) for each in rates.made] if rates and rates.opt is learn.opt else []
