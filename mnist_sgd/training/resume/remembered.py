"""All that a fit changes of a learner, to put it back: for a search, and for a refused resume."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from mnist_sgd.loader.dataloader import DataLoader
from mnist_sgd.models.wrappers import (
    load_non_persistent_buffers,
    load_plain_state,
    non_persistent_buffers,
    plain_state,
)
from mnist_sgd.training.callbacks.base import Callback
from mnist_sgd.training.random_states import (
    global_random_states,
    put_back_global,
    random_state,
    set_random_state,
)
from mnist_sgd.training.resume.attributes import Attribute, attributes, modules_within
from mnist_sgd.training.resume.fit_identity import stateful_callbacks

if TYPE_CHECKING:
    from mnist_sgd.training.learner import Learner

__all__ = ["Remembered", "RememberedModule", "Structure"]

FIELDS = (
    *("opt", "opt_settings", "_opt_made_for", "_rates", "lr", "base_lr", "schedule"),
    *("cbs", "recorder", "kept_row"),
    *("epoch", "n_epoch", "batch", "training", "dl", "pred", "loss", "loss_grad"),
    *("dls", "loss_func", "_model", "_metrics", "fit_start", "begun"),
    *("_in_batch", "_under_way", "_put_back"),
)
"""The attributes of a learner that a fit and its callbacks change."""


class Remembered:
    """A learner as it is now.

    Args:
        learn: any; its fit may be about to begin.
        cbs: the callbacks that will be called.
    """

    def __init__(self, learn: Learner, cbs: Sequence[Callback]) -> None:
        self._learn = learn
        self._fields = {name: getattr(learn, name) for name in FIELDS}
        self._runs = [(cb, cb.run) for cb in cbs]
        modules = [
            learn.model,
            *modules_within(learn.loss_func, apart=learn.model.modules()).values(),
        ]
        self._structure = Structure(modules, learn.opt)
        self._modules = [RememberedModule(module) for module in modules]
        self._attributes = {
            name: (each.text, copy.deepcopy(each.value)) for name, each in self._now().items()
        }
        self._states = [
            (each, copy.deepcopy(each.state_dict()))
            for each in (learn.opt, *stateful_callbacks(cbs).values())
            if hasattr(each, "state_dict") and hasattr(each, "load_state_dict")
        ]
        both = learn.train_place, learn.valid_place
        self._fit_places = [(each, dict(vars(each))) for each in both]
        loaders = {id(each): each for each in (learn.dls.train, learn.dls.valid)}.values()
        self._places = [each.place() for each in loaders if isinstance(each, DataLoader)]
        generators = [each for loader in loaders for each in _generators(loader)]
        self._generators = [(each, each.get_state()) for each in generators]
        self._random = random_state(learn.ranks.device), global_random_states()

    def _now(self) -> dict[tuple[str, str], Attribute]:
        """The plain attributes of the model and of the loss."""
        model, loss = self._learn.model, self._learn.loss_func
        of_loss = attributes(loss, tensors=True, apart=model.modules())
        found = {"model": attributes(model, tensors=True), "loss": of_loss}
        return {(part, name): each for part in found for name, each in found[part].items()}

    def keeps_optimizer(self) -> bool:
        """Whether the optimizer is among what is put back."""
        return any(each is self._learn.opt for each, _ in self._states)

    def put_back(self) -> None:
        """Let the learner be as it was.

        Raises:
            Exception: a callback does not take its state, when all else is put back.
        """
        learn = self._learn
        for name, value in self._fields.items():
            setattr(learn, name, value)
        for cb, run in self._runs:
            cb.run = run
        self._structure.put_back_groups()
        self._structure.put_back_modules()
        for module in self._modules:
            module.put_back()
        now = self._now()
        for key, (text, value) in self._attributes.items():
            if key in now and now[key].text != text and (put := now[key].put):
                put(value)
        for fit_place, fields in self._fit_places:
            vars(fit_place).update(fields)
        for place in self._places:
            place.loader.put_back(place)
        for generator, state in self._generators:
            generator.set_state(state)
        set_random_state(learn.ranks.device, self._random[0])
        put_back_global(self._random[1])
        with ExitStack() as each_of_them:  # also after one that refuses
            for each, state in self._states:
                each_of_them.callback(each.load_state_dict, state)


class Structure:
    """Of what modules are made, and the groups of an optimizer, as they are now.

    Args:
        modules: with all within them.
        opt: any optimizer, or None.
    """

    def __init__(self, modules: Iterable[nn.Module], opt: Any) -> None:
        self._made_of = [(each, _Contents(each)) for m in modules for each in m.modules()]
        self._opt = opt
        groups = getattr(opt, "param_groups", ())
        self._groups = [(group, _copied(group)) for group in groups]

    def put_back_modules(self, unless_other_than: Structure | None = None) -> None:
        """Let each module have the children, parameters and buffers that it had.

        Args:
            unless_other_than: a module that has others than there now is left alone.
        """
        known = {id(module): each for module, each in getattr(unless_other_than, "_made_of", ())}
        for module, contents in self._made_of:
            now = _Contents(module)
            if known.get(id(module), now).is_like(now):
                contents.put_back(now)

    def put_back_groups(self) -> None:
        """Let the optimizer have the groups that it had, with their parameters and settings.

        It forgets the averages of parameters that are in none of them.
        """
        if self._groups:
            self._opt.param_groups[:] = [group for group, _ in self._groups]
        for group, entries in self._groups:
            group.clear()
            group.update(_copied(entries))
        kept = {id(p) for group, _ in self._groups for p in group.get("params", ())}
        state = getattr(self._opt, "state", None)
        if self._groups and isinstance(state, dict):
            for p in [p for p in state if id(p) not in kept]:
                del state[p]


def _copied(group: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a group of an optimizer; the parameters are the same ones."""
    return {
        name: list(value) if name == "params" else copy.deepcopy(value)
        for name, value in group.items()
    }


class _Contents:
    """The class, the children, the parameters, the buffers and the hooks of a module.

    Where names of parameters or buffers come and go, as in pruning, hooks and the class go with
    them: they compute the one from the other. Otherwise both stay; a lazy layer changes them.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module, self._class = module, type(module)
        held = ("_modules", "_parameters", "_buffers")
        self._held: dict[str, dict[str, object]] = {name: dict(vars(module)[name]) for name in held}
        hooks = ("_forward_pre_hooks", "_forward_hooks", "_backward_hooks", "_backward_pre_hooks")
        self._hooks: dict[str, dict[str, object]] = {
            name: dict(vars(module)[name]) for name in hooks
        }

    def is_like(self, other: _Contents) -> bool:
        """Whether it has the same children, parameters and buffers as another."""
        return all(_same_objects(self._held[name], other._held[name]) for name in self._held)

    def put_back(self, now: _Contents) -> None:
        """Let the module have this, which has others now."""
        tensors = "_parameters", "_buffers"
        if any(self._held[name].keys() != now._held[name].keys() for name in tensors):
            self._module.__class__ = self._class
            self._put(self._hooks)
        self._put(self._held)

    def _put(self, entries: Mapping[str, Mapping[str, object]]) -> None:
        for kind, values in entries.items():
            own = vars(self._module)[kind]
            own.clear()
            own.update(values)
            for name in values:  # what a hook has put in front of it
                vars(self._module).pop(name, None)


def _same_objects(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    return one.keys() == other.keys() and all(one[name] is other[name] for name in one)


class RememberedModule:
    """A module as it is now: its state, its modes and its gradients."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        state, buffers = plain_state(module), non_persistent_buffers(module)
        # What has no shape yet cannot be copied, and has nothing to put back.
        self._state = copy.deepcopy({name: t for name, t in state.items() if not is_lazy(t)})
        self._buffers = copy.deepcopy(
            {name: t for name, t in buffers.items() if t is None or not is_lazy(t)}
        )
        self._is_whole = len(self._state) == len(state)
        self._modes = [(each, each.training) for each in module.modules()]
        self._parameters = [
            (p, p.requires_grad, None if p.grad is None else p.grad.clone())
            for p in module.parameters()
        ]

    def put_back(self) -> None:
        """Let the module be as it was."""
        load_plain_state(self._module, self._state, strict=self._is_whole)
        load_non_persistent_buffers(self._module, self._buffers)
        for each, mode in self._modes:
            each.training = mode
        for p, requires_grad, grad in self._parameters:
            p.requires_grad_(requires_grad)
            p.grad = grad


def _generators(loader: object) -> list[torch.Generator]:
    """The generators of torch's loader: its own, and those of what chooses and gives the items."""
    parts = [
        loader,
        *(getattr(loader, name, None) for name in ("sampler", "batch_sampler", "dataset")),
    ]
    parts.append(getattr(getattr(loader, "batch_sampler", None), "sampler", None))
    values: list[Any] = [each for part in parts for each in getattr(part, "__dict__", {}).values()]
    return [each for each in values if isinstance(each, torch.Generator)]
