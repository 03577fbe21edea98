"""Restore a learner to the state of a checkpoint."""

import copy
from collections.abc import Callable, Mapping, Set as AbstractSet
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from torch import Tensor, nn

from mnist_sgd.loader.dataloader import DataLoader
from mnist_sgd.models.wrappers import (
    load_non_persistent_buffers,
    load_plain_state,
    plain_parameters,
)
from mnist_sgd.training.optimizers import Rates
from mnist_sgd.training.random_states import set_random_state
from mnist_sgd.training.resume.attribute_values import from_stored
from mnist_sgd.training.resume.attributes import put_attribute
from mnist_sgd.training.resume.comparison import (
    comparable,
    difference,
    is_of_this_torch,
    other_weights,
)
from mnist_sgd.training.resume.fit_identity import (
    OPTIMIZER,
    component_names,
    optimizer_name,
    stateful_callbacks,
)
from mnist_sgd.training.resume.fit_start import fit_attributes

PARTS = frozenset({"model", "optimizer", "others"})
"""The parts of a state that are restored separately; the others are the callbacks and the loss."""

State = Mapping[str, Any]

AGAIN = (
    "A callback changed that during the fit: let it do so again when it is called in a resumed "
    "fit, as in before_fit if learn.epoch >= 1"
)


class DeferredState:
    """Restores a state again, after callbacks that had already changed it when it was saved.

    What the hooks of an epoch bring in does not exist before they are called. If the checkpoint was
    taken within an epoch, its hooks are called again and everything is restored after them. If a
    new epoch starts, only what they bring in is restored then.

    Args:
        learn: its fit is about to start, with everything restored that has a place yet.
        state: of the checkpoint.
        context: makes a context manager that converts the errors of `__call__`.
    """

    def __init__(
        self, learn: Any, state: State, context: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._learn, self._state, self._context = learn, state, context
        self._later: AbstractSet[str] = PARTS
        self._at_start = component_names(learn)
        self._known = PARTS - awaited(learn, state).keys()
        # What the hooks of a new epoch change is as it was in the interrupted fit.
        self._starts_epoch = state["train"]["samples_seen"] == 0 and state["epoch"] < learn.n_epoch

    def __call__(self, begun: bool) -> bool:
        """Restore the state; return whether that was all.

        Args:
            begun: whether the hooks before the epoch have been called.
        """
        with self._context():
            return self._restore(begun)

    def _restore(self, begun: bool) -> bool:
        missing = awaited(self._learn, self._state)
        if not begun:
            put_state(self._learn, self._state, PARTS - missing.keys())
            self._later = PARTS if self._learn.batch else self._missing().keys()
            return False
        if found := self._other_components() or next(iter(self._missing().values()), None):
            raise ValueError(f"{found}. {AGAIN}")
        if self._later:
            put_state(self._learn, self._state, self._later - missing.keys())
        return True

    def is_waiting(self) -> bool:
        """Whether the state is of components that the fit does not have."""
        return bool(self._missing() or self._other_components())

    def _missing(self) -> dict[str, str]:
        """Return which parts of the state have no place, with a sentence each."""
        found = awaited(self._learn, self._state)
        if not self._starts_epoch:
            return found
        later = self._later - self._known
        return {part: each for part, each in found.items() if part in later}

    def _other_components(self) -> str | None:
        """Say in which component the fit differs from the checkpoint's."""
        noted = self._state.get("parts")
        if noted is None:
            return None
        here = component_names(self._learn)
        omitted = set(noted["left out"])
        if self._starts_epoch:
            names = {*here, *self._at_start}
            omitted |= {name for name in names if here.get(name) != self._at_start.get(name)}
        same_torch = is_of_this_torch(self._state)
        return difference(
            *(
                {k: v for k, v in comparable(each, same_torch).items() if k not in omitted}
                for each in (noted["texts"], here)
            )
        )


def start_from(learn: Any, state: State) -> None:
    """Restore a learner before its callbacks are called.

    What callbacks have yet to bring in, another model or optimizer, waits for them.

    Raises:
        ValueError, RuntimeError: the recorder, a callback or the optimizer refuses its state.
    """
    recorder = {
        name: value.tolist() if isinstance(value, Tensor) else value
        for name, value in state["recorder"].items()
    }
    if "start" in state:  # the columns at the start of both fits were compared
        learn.recorder.metric_names = list(recorder["metric_names"])
    learn.recorder.load_state_dict(recorder)
    learn.epoch = state["epoch"]
    learn.batch = -(-state["train"]["samples_seen"] // state["train"]["batch_size"])
    put_state(learn, state, PARTS - awaited(learn, state).keys())


def awaited(learn: Any, state: State) -> dict[str, str]:
    """Return which parts of a state are of another model or optimizer, with a sentence each.

    Callbacks may bring these in.
    """
    if "start" not in state:
        return {}
    found = {
        "model": other_weights(learn, state["model"]),
        "optimizer": _other_optimizer(learn, state),
    }
    return {part: sentence for part, sentence in found.items() if sentence}


def _other_optimizer(learn: Any, state: State) -> str | None:
    """Say how the optimizer's class or parameter groups differ from a state's."""
    there = state.get("parts", {}).get("texts", {}).get(OPTIMIZER)
    if there and (found := difference({OPTIMIZER: there}, {OPTIMIZER: optimizer_name(learn.opt)})):
        return found
    groups = (state["optimizer"].get("param_groups", []), learn.opt.param_groups)
    there, here = ([len(group.get("params", ())) for group in each] for each in groups)
    name = "numbers of parameters in the optimizer's groups"
    return difference({name: there}, {name: here})


def put_state(learn: Any, state: State, parts: AbstractSet[str] = PARTS) -> None:
    """Restore the weights, the optimizer, the callbacks and the random state.

    Args:
        learn: any; the callbacks of its fit are the active ones.
        state: of a checkpoint.
        parts: which of `PARTS` to restore.

    Raises:
        ValueError, RuntimeError: the model, the optimizer or a callback refuses its state.
    """
    if "model" in parts:
        if found := other_weights(learn, state["model"]):
            raise ValueError(found)
        load_plain_state(learn.model, _copied_extra_states(state["model"]))
        load_non_persistent_buffers(learn.model, state.get("passing buffers", {}))
        parameters = plain_parameters(learn.model)
        for name, is_trained in state.get("trained", {}).items():
            if name in parameters:
                parameters[name].requires_grad_(is_trained)
        _put_gradients(parameters, state)
    if "optimizer" in parts:
        learn.opt.load_state_dict(copy.deepcopy(state["optimizer"]))
        if "made rates" in state:
            learn._rates = Rates(learn.opt, map(tuple, state["made rates"]))
    if "others" in parts:
        _put_others(learn, state)
    _put_attributes(learn, state, parts)
    set_random_state(learn.ranks.device, _random_state_of_rank(learn.ranks.rank, state))


def _put_others(learn: Any, state: State) -> None:
    """Restore the callbacks and the loss."""
    for name, cb in stateful_callbacks(learn.active_cbs).items():
        cb.load_state_dict(copy.deepcopy(state["callbacks"][name]))
    modules = learn.loss_modules()
    for place, each in state.get("loss", {}).items():
        if place in modules:
            load_plain_state(modules[place], _copied_extra_states(each["state"]))
            load_non_persistent_buffers(modules[place], each["passing buffers"])
            _put_gradients(plain_parameters(modules[place]), each)


def _put_attributes(learn: Any, state: State, parts: AbstractSet[str]) -> None:
    """Set the attributes that the fit had changed."""
    roots = {"model": learn.model, "loss": learn.loss_func, "optimizer": learn.opt}
    for part, found in fit_attributes(learn).items():
        if (part if part in PARTS else "others") in parts:
            for name, value in state.get("attributes", {}).get(part, {}).items():
                current = found[name].value if name in found else None
                new = from_stored(value, current, learn.ranks.device)
                put_attribute(found, roots[part], name, new)


def _put_gradients(parameters: Mapping[str, nn.Parameter], state: State) -> None:
    """Set the gradients that were being accumulated, and clear all others."""
    for p in parameters.values():
        p.grad = None
    for name, gradient in state.get("gradients", {}).items():
        if name not in parameters:  # earlier versions noted the prefixes of wrappers
            name = ".".join(part for part in name.split(".") if part not in ("_orig_mod", "module"))
        parameters[name].grad = gradient.to(parameters[name], copy=True)


def _copied_extra_states(state: State) -> dict[str, Any]:
    """Copy the extra states of a module, which it may keep; tensors are copied anyway."""
    return {
        name: value if isinstance(value, Tensor) else copy.deepcopy(value)
        for name, value in state.items()
    }


def _random_state_of_rank(rank: int, state: State) -> dict[str, Tensor]:
    """Return a rank's random states; none for a rank that did not exist.

    Clones, because torch reads a state from the beginning of its storage, whatever its offset.
    """
    rows = state.get("random of ranks") or {name: t[None] for name, t in state["random"].items()}
    return {name: each[rank].clone() for name, each in rows.items() if rank < len(each)}


def restore_loaders(
    learn: Any, state: State, later: Callable[[Mapping[str, int], DataLoader], None]
) -> None:
    """Move both loaders to where a fit stood, or neither.

    Args:
        learn: its fit is about to start.
        state: of a checkpoint.
        later: restores the state of a loader that callbacks have yet to bring in.

    Raises:
        ValueError: a loader has other batches; the message says what differs.
    """
    loaders = {"train": learn.dls.train, "valid": learn.dls.valid}
    if learn.dls.valid is learn.dls.train:  # it has one position, the training's
        del loaders["valid"]
    start = state["start"]["loaders"] if "start" in state else state
    known = {
        part: loader
        for part, loader in loaders.items()
        if isinstance(loader, DataLoader) and part in start
    }
    for part, loader in known.items():
        with loader.undisturbed():  # refuses a state of another loader
            loader.load_state_dict(start[part])
    positions = {"train": learn.train_place, "valid": learn.valid_place}
    for part, position in positions.items():
        there = state.get(part)
        awaited_loader = None
        if there and part in known:
            if _same_batches(there, start[part]):
                known[part].load_state_dict(there)
            else:
                awaited_loader = partial(later, there)
        position.begin(loaders.get(part), awaited_loader)


def _same_batches(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
    """Whether two states are of loaders with the same batches."""
    position = ("epoch", "samples_seen")
    return all(one[key] == other[key] for key in other if key not in position)
