"""Snapshots of a learner, to undo a fit: after a rate search, or a resume that is refused."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

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
from mnist_sgd.training.resume.attributes import modules_within
from mnist_sgd.training.resume.fit_identity import stateful_callbacks
from mnist_sgd.training.resume.fit_start import flat_attributes, saved_attributes

FIELDS = (
    *("opt", "opt_settings", "_opt_made_for", "_rates", "lr", "base_lr", "schedule"),
    *("cbs", "recorder", "kept_row"),
    *("epoch", "n_epoch", "batch", "training", "dl", "pred", "loss", "loss_grad"),
    *("dls", "loss_func", "_model", "_metrics", "fit_start", "started_fit"),
    *("_in_batch", "_under_way", "_put_back"),
)
"""The attributes of a learner that a fit and its callbacks may replace."""


class Snapshot:
    """The current state of a learner, its model, its loaders and its callbacks.

    Args:
        learn: any learner; its fit may be about to start.
        cbs: the callbacks that will be called.
    """

    def __init__(self, learn: Any, cbs: Sequence[Callback]) -> None:
        self._learn = learn
        self._fields = {name: getattr(learn, name) for name in FIELDS}
        self._runs = [(cb, cb.run) for cb in cbs]
        modules = [
            learn.model,
            *modules_within(learn.loss_func, apart=learn.model.modules()).values(),
        ]
        self._structure = Structure(modules, learn.opt)
        self._modules = [ModuleSnapshot(module) for module in modules]
        self._attributes = saved_attributes(learn)
        self._states = [
            (each, copy.deepcopy(each.state_dict()))
            for each in (learn.opt, *stateful_callbacks(cbs).values())
            if hasattr(each, "state_dict") and hasattr(each, "load_state_dict")
        ]
        positions = learn.train_place, learn.valid_place
        self._positions = [(each, dict(vars(each))) for each in positions]
        loaders = {id(each): each for each in (learn.dls.train, learn.dls.valid)}.values()
        self._places = [each.place() for each in loaders if isinstance(each, DataLoader)]
        generators = [each for loader in loaders for each in _generators(loader)]
        self._generators = [(each, each.get_state()) for each in generators]
        self._random = random_state(learn.ranks.device), global_random_states()

    def keeps_optimizer(self) -> bool:
        """Whether the snapshot includes the optimizer's state."""
        return any(each is self._learn.opt for each, _ in self._states)

    def restore(self) -> None:
        """Restore the learner.

        Raises:
            Exception: a callback refuses its state, after everything else is restored.
        """
        learn = self._learn
        for name, value in self._fields.items():
            setattr(learn, name, value)
        for cb, run in self._runs:
            cb.run = run
        self._structure.restore_groups()
        self._structure.restore_modules()
        for module in self._modules:
            module.restore()
        for key, each in flat_attributes(learn).items():
            before = self._attributes.get(key)
            if before and before.put and before.text != each.text and each.put:
                each.put(before.value)
        for position, fields in self._positions:
            vars(position).update(fields)
        for place in self._places:
            place.loader.put_back(place)
        for generator, state in self._generators:
            generator.set_state(state)
        set_random_state(learn.ranks.device, self._random[0])
        put_back_global(self._random[1])
        with ExitStack() as stack:  # it calls the others also if one raises
            for each, state in self._states:
                stack.callback(each.load_state_dict, state)


class Structure:
    """The current children, parameters and buffers of modules, and the groups of an optimizer.

    Args:
        modules: all modules within them are included.
        opt: any optimizer, or None.
    """

    def __init__(self, modules: Iterable[nn.Module], opt: Any) -> None:
        self._modules = [(each, _Content(each)) for m in modules for each in m.modules()]
        self._opt = opt
        groups = getattr(opt, "param_groups", ())
        self._groups = [(group, _copied(group)) for group in groups]

    def restore_modules(self, if_unchanged_since: "Structure | None" = None) -> None:
        """Restore the children, parameters and buffers of each module.

        Args:
            if_unchanged_since: a module that has changed since this one is left alone.
        """
        known = {id(module): each for module, each in getattr(if_unchanged_since, "_modules", ())}
        for module, content in self._modules:
            now = _Content(module)
            if known.get(id(module), now).is_like(now):
                content.restore(now)

    def restore_groups(self) -> None:
        """Restore the optimizer's groups, with their parameters and settings.

        The state of parameters that are in none of them is dropped.
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
    """Copy the entries of an optimizer's group, but not the parameters themselves."""
    return {
        name: list(value) if name == "params" else copy.deepcopy(value)
        for name, value in group.items()
    }


class _Content:
    """The class, children, parameters, buffers and hooks of a module.

    If names of parameters or buffers changed, as in pruning, the hooks and the class are restored
    too, because they compute one from the other. Otherwise both stay; a lazy layer changes them.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module, self._class = module, type(module)
        held = ("_modules", "_parameters", "_buffers")
        self._held: dict[str, dict[str, object]] = {name: dict(vars(module)[name]) for name in held}
        hooks = ("_forward_pre_hooks", "_forward_hooks", "_backward_hooks", "_backward_pre_hooks")
        self._hooks: dict[str, dict[str, object]] = {
            name: dict(vars(module)[name]) for name in hooks
        }

    def is_like(self, other: "_Content") -> bool:
        """Whether the children, parameters and buffers are the same objects."""
        return all(_same_objects(self._held[name], other._held[name]) for name in self._held)

    def restore(self, now: "_Content") -> None:
        """Restore the module, whose content is now another."""
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
            for name in values:  # an attribute set by a hook would hide it
                vars(self._module).pop(name, None)


def _same_objects(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    return one.keys() == other.keys() and all(one[name] is other[name] for name in one)


class ModuleSnapshot:
    """The current state, modes and gradients of a module."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        state, buffers = plain_state(module), non_persistent_buffers(module)
        # What has no shape yet cannot be copied.
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

    def restore(self) -> None:
        """Restore the module."""
        load_plain_state(self._module, self._state, strict=self._is_whole)
        load_non_persistent_buffers(self._module, self._buffers)
        for each, mode in self._modes:
            each.training = mode
        for p, requires_grad, grad in self._parameters:
            p.requires_grad_(requires_grad)
            p.grad = grad


def _generators(loader: object) -> list[torch.Generator]:
    """Return the generators of a torch loader, its samplers and its dataset."""
    parts = [
        loader,
        *(getattr(loader, name, None) for name in ("sampler", "batch_sampler", "dataset")),
    ]
    parts.append(getattr(getattr(loader, "batch_sampler", None), "sampler", None))
    values: list[Any] = [each for part in parts for each in getattr(part, "__dict__", {}).values()]
    return [each for each in values if isinstance(each, torch.Generator)]
