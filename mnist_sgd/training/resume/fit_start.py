"""Record what a fit starts with: a checkpoint stores it, and a resumed fit must start alike.

It is recorded once, before the first callback. What the fit and its callbacks change later is the
checkpoint's state, not a setting.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch.nn.modules.lazy import LazyModuleMixin
from torch.optim.lr_scheduler import LRScheduler

from mnist_sgd.loader.dataloader import DataLoader
from mnist_sgd.models.wrappers import plain_modules, plain_parameters
from mnist_sgd.training.resume.attributes import Attribute, attributes
from mnist_sgd.training.resume.fit_identity import component_names, fit_identity, fit_settings
from mnist_sgd.training.schedule import copy_of_schedule, rates_at

POINTS = 16
"""Number of points, evenly spaced in a fit, at which schedules are compared."""

Attributes = dict[str, dict[str, Attribute]]


class ComponentTracker:
    """Finds the components of a fit that callbacks replace within an epoch.

    Those that callbacks replace in each batch or for the validation need no checking: a resumed fit
    replaces them again. Others, which a callback replaced once, are compared.
    """

    def __init__(self) -> None:
        self._at_start: dict[str, str] | None = None
        self._states: dict[tuple[int, str], object] | None = None
        self._reported: set[tuple[int, str]] = set()
        self._replaced: set[str] = set()

    def begin_training(self, learn: Any) -> None:
        """Note the components at the start of an epoch's training."""
        self._at_start = component_names(learn)
        if self._states is None:
            self._states = _callback_states(learn)

    def end_training(self, learn: Any) -> None:
        """Note which components were replaced since."""
        self.state(learn, epoch_done=False)

    def state(self, learn: Any, epoch_done: bool) -> dict[str, Any]:
        """Return the components for a checkpoint, and which of them are not compared."""
        now = component_names(learn)
        before = now if self._at_start is None else self._at_start
        other = {name for name in {*now, *before} if now.get(name) != before.get(name)}
        if not epoch_done:
            self._replaced |= other
        return {
            "texts": now,
            "left out": sorted(other | self._replaced),
            "within batches": sorted(self._replaced),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what the fit of a checkpoint found."""
        self._replaced |= set(state.get("within batches", ()))

    def unsaved_changes(self, learn: Any) -> list[str]:
        """Name what callbacks changed of themselves that no checkpoint holds, each only once."""
        now = _callback_states(learn)
        before = now if self._states is None else self._states
        changed = [key for key, state in now.items() if before.get(key) != state]
        new = [key for key in changed if key not in self._reported]
        self._reported |= set(new)
        return [name for _, name in new]


def _callback_states(learn: Any) -> dict[tuple[int, str], object]:
    """Return whether stateless custom callbacks run, and the positions of their schedulers.

    Other attributes are ignored: most of them only count or collect.
    """
    found = {}
    for i, cb in enumerate(learn.active_cbs):
        kind = type(cb)
        if kind.__module__.startswith("mnist_sgd.") or hasattr(cb, "state_dict"):
            continue
        for name, value in {**vars(cb), "run": cb.run}.items():
            if name == "run" or isinstance(value, LRScheduler):
                found[i, f"{name} of the callback {kind.__name__}"] = (
                    value.last_epoch if isinstance(value, LRScheduler) else value
                )
    return found


@dataclass(frozen=True)
class FitStart:
    """What decides the arithmetic of a fit, as it is at its start; JSON can hold all of it.

    Attributes:
        identity: the components, see `fit_identity`.
        settings: texts by the names that error messages use, see `fit_settings`.
        facts: everything else.
        reported: attributes for which a warning has said that a checkpoint cannot hold them.
        components: which components callbacks replace within an epoch.
    """

    identity: dict[str, Any]
    settings: dict[str, str]
    facts: dict[str, Any]
    reported: set[str] = field(default_factory=set, compare=False)
    components: ComponentTracker = field(default_factory=ComponentTracker, compare=False)

    @classmethod
    def of(cls, learn: Any) -> "FitStart":
        """Record the start of a learner's fit, when its optimizer has been made."""
        loaders = {"train": learn.dls.train, "valid": learn.dls.valid}
        plain = fit_attributes(learn)
        facts = {
            "trained": trained(learn),
            "places": _optimizer_places(learn),
            "rates": _rates(learn),
            "attributes": {
                part: {name: each.text for name, each in found.items()}
                for part, found in plain.items()
            },
            "decisive": {
                part: [name for name, each in found.items() if each.decides]
                for part, found in plain.items()
            },
            "loaders": {
                part: loader.state_dict()
                for part, loader in loaders.items()
                if isinstance(loader, DataLoader)
            },
            "columns": list(learn.recorder.metric_names),
            "lazy": [
                name
                for name, module in plain_modules(learn.model).items()
                if isinstance(module, LazyModuleMixin)
            ],
        }
        return cls(fit_identity(learn), fit_settings(learn), facts)


def fit_attributes(learn: Any) -> Attributes:
    """Return the plain attributes of the model, the loss and the optimizer, see `attributes`.

    Those of a loss include its buffers, such as class weights; those of an optimizer are what it
    holds besides the settings of its groups.
    """
    own = {
        name: replace(each, decides=True)
        for name, each in attributes(learn.opt).items()
        if isinstance(each.value, bool | int | float | str) and name.isidentifier()
        if not name.startswith("_")
    }
    loss = attributes(learn.loss_func, tensors=True, loss=True, apart=learn.model.modules())
    return {"model": attributes(learn.model, tensors=True), "loss": loss, "optimizer": own}


def flat_attributes(learn: Any) -> dict[tuple[str, str], Attribute]:
    """Return `fit_attributes` by part and name."""
    return {
        (part, name): each
        for part, found in fit_attributes(learn).items()
        for name, each in found.items()
    }


def saved_attributes(learn: Any) -> dict[tuple[str, str], Attribute]:
    """Return `flat_attributes` with copies of the values that can be set again."""
    return {
        key: replace(each, value=copy.deepcopy(each.value) if each.put else None)
        for key, each in flat_attributes(learn).items()
    }


def trained(learn: Any) -> dict[str, bool]:
    """Return for each parameter whether it is currently trained, that is, not frozen."""
    return {name: p.requires_grad for name, p in plain_parameters(learn.model).items()}


def _optimizer_places(learn: Any) -> dict[str, str]:
    """Return the position of each of the model's parameters in the optimizer."""
    names = {id(p): name for name, p in plain_parameters(learn.model).items()}
    found, number = {}, 0
    for i, group in enumerate(learn.opt.param_groups, 1):
        for p in group.get("params", ()):
            number += 1
            name = names.get(id(p), f"parameter {number}, which is not the model's")
            found[name] = f"number {number}, in group {i}"
    return found


def _rates(learn: Any) -> list[list[float | None]]:
    """Sample the schedule's learning rates and momenta.

    A copy of the schedule is called, in case it counts its calls; without a copy it is not called.

    Raises:
        TypeError, ValueError: as in `rates_at`.
    """
    shared = learn, learn.model, learn.dls, learn.loss_func, learn.opt
    schedule = learn.schedule and copy_of_schedule(learn.schedule, shared)
    return [list(rates_at(schedule, i / POINTS)) for i in range(POINTS)] if schedule else []
