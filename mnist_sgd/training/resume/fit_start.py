"""What a fit begins with: a checkpoint notes it, and a fit that resumes it must begin alike.

It is taken once, before the first callback, and not when a checkpoint is written: what a fit and
its callbacks change on the way is the checkpoint's state, and no setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isclose
from typing import TYPE_CHECKING, Any

from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy

from mnist_sgd.loader.dataloader import DataLoader
from mnist_sgd.models.weights import shapes
from mnist_sgd.models.wrappers import plain_modules, plain_parameters, plain_state
from mnist_sgd.training.resume.attributes import Attribute, attributes
from mnist_sgd.training.resume.fit_identity import (
    NONE,
    comparable,
    difference,
    fit_identity,
    fit_settings,
    identity_in_checkpoint,
    normalised,
)
from mnist_sgd.training.resume.fit_parts import FitParts
from mnist_sgd.training.schedule import copy_of_schedule, rates_at

if TYPE_CHECKING:
    from mnist_sgd.training.learner import Learner

__all__ = [
    "FitStart",
    "fit_attributes",
    "other_attributes",
    "other_start",
    "other_weights",
    "trained",
]

POINTS = 16
"""Places in a fit at which schedules are compared: every sixteenth of it."""

Attributes = dict[str, dict[str, Attribute]]


@dataclass(frozen=True)
class FitStart:
    """What decides the arithmetic of a fit, as it is at its begin; all that JSON can hold.

    Attributes:
        identity: the kinds of what takes part, see `fit_identity`.
        settings: texts by the names that an error has for them, see `fit_settings`.
        facts: what checkpoints of earlier versions did not note.
        told: of which attributes a warning has said that a checkpoint cannot hold them.
        parts: which parts of the fit callbacks replace within an epoch.
    """

    identity: dict[str, Any]
    settings: dict[str, str]
    facts: dict[str, Any]
    told: set[str] = field(default_factory=set, compare=False)
    parts: FitParts = field(default_factory=FitParts, compare=False)

    @classmethod
    def of(cls, learn: Learner) -> FitStart:
        """That of a learner whose fit is about to begin, its optimizer made."""
        loaders = {"train": learn.dls.train, "valid": learn.dls.valid}
        plain = fit_attributes(learn)
        facts = {
            "trained": trained(learn),
            "places": _places(learn),
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


def fit_attributes(learn: Learner) -> Attributes:
    """The plain attributes of the model, the loss and the optimizer, see `attributes`.

    Those of a loss include its buffers, such as the weights of the classes; those of an optimizer
    are what it holds besides the settings of its groups.
    """
    own = {
        name: replace(each, decides=True)
        for name, each in attributes(learn.opt).items()
        if isinstance(each.value, bool | int | float | str) and name.isidentifier()
        if not name.startswith("_")
    }
    loss = attributes(learn.loss_func, tensors=True, loss=True, apart=learn.model.modules())
    return {"model": attributes(learn.model, tensors=True), "loss": loss, "optimizer": own}


def trained(learn: Learner) -> dict[str, bool]:
    """Of each parameter whether it is trained, and not frozen, as it is now."""
    return {name: p.requires_grad for name, p in plain_parameters(learn.model).items()}


def other_start(
    learn: Learner, state: Mapping[str, Any], same_torch: bool, here: FitStart
) -> str | None:
    """In what the fit of a checkpoint began otherwise, as a sentence; None if it began alike.

    Attributes that may have no part in what is computed are not compared, see `other_attributes`.

    Args:
        learn: its fit is about to begin.
        state: of a checkpoint that notes what its fit began with.
        same_torch: whether the same version of torch wrote it: others may note other settings.
        here: what the learner's fit begins with.
    """
    kinds = [
        {**each, "weights": None}
        for each in (identity_in_checkpoint(learn, state["fit"]), here.identity)
    ]
    settings = [state["settings"], here.settings]
    if not same_torch:
        settings = [comparable(each) for each in settings]
    settings = [normalised(each) for each in settings]
    weights = None
    if state["fit"]["weights"] != here.identity["weights"]:
        weights = other_weights(learn, state["model"])
    there = state["start"]
    return (
        difference(*kinds)
        or weights
        or difference(*settings)
        or _other_facts(there, here.facts)
        or next(iter(other_attributes(state, same_torch, here, decisive=True)), None)
    )


def other_weights(learn: Learner, weights: Mapping[str, Any]) -> str | None:
    """In what the names and shapes of weights are others than a model's, as a sentence.

    The weights of a lazy layer that had no batch have no shape, and take any.
    """
    own = plain_state(learn.model)
    here = {name: weights.get(name, t) if is_lazy(t) else t for name, t in own.items()}
    return difference({"weights": shapes(weights)}, {"weights": shapes(here)})


def _places(learn: Learner) -> dict[str, str]:
    """Where the optimizer has each of the model's parameters."""
    names = {id(p): name for name, p in plain_parameters(learn.model).items()}
    found, number = {}, 0
    for i, group in enumerate(learn.opt.param_groups, 1):
        for p in group.get("params", ()):
            number += 1
            name = names.get(id(p), f"parameter {number}, which is not the model's")
            found[name] = f"number {number}, in group {i}"
    return found


def _rates(learn: Learner) -> list[list[float | None]]:
    """What the schedule gives on its way, each the rate and the momentum.

    A copy is asked, as one that counts its calls would give the fit others; what cannot be copied
    is not asked.

    Raises:
        TypeError, ValueError: as in `rates_at`.
    """
    shared = learn, learn.model, learn.dls, learn.loss_func, learn.opt
    schedule = learn.schedule and copy_of_schedule(learn.schedule, shared)
    return [list(rates_at(schedule, i / POINTS)) for i in range(POINTS)] if schedule else []


def _other_facts(there: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    texts = {"trained": "requires_grad of {}", "places": "place of {} in the optimizer"}
    for kind, name in texts.items():
        before = {name.format(key): value for key, value in there[kind].items()}
        found = difference(before, {name.format(key): value for key, value in here[kind].items()})
        if found:
            return found
    for i, (before, now) in enumerate(zip(there["rates"], here["rates"], strict=False)):
        for name, a, b in zip(("learning rate", "momentum"), before, now, strict=True):
            if a != b and (a is None or b is None or not isclose(a, b, rel_tol=1e-6)):
                where = f"{name} of the schedule after {i}/{POINTS} of the fit"
                return difference({where: a}, {where: b})
    return _other_columns(there["columns"], here["columns"])


def _other_columns(there: list[str], here: list[str]) -> str | None:
    if there == here:
        return None
    return f"the state has the columns {', '.join(there)}; this recorder has {', '.join(here)}"


def other_attributes(
    state: Mapping[str, Any], same_torch: bool, here: FitStart, *, decisive: bool
) -> list[str]:
    """The attributes in which a checkpoint and a fit differ, each as a sentence.

    One that the checkpoint's fit changed is none. Lazy layers have none before their first batch.

    Args:
        state: of a checkpoint.
        same_torch: as in `other_start`.
        here: as in `other_start`.
        decisive: whether those that surely decide what is computed, or the others.
    """
    if "start" not in state:
        return []
    found = []
    there, own = state["start"], here.facts
    lazy = {*there["lazy"], *own["lazy"]}
    for part, before in there["attributes"].items():
        now = own["attributes"][part]
        decides = {*own["decisive"][part], *there.get("decisive", {}).get(part, ())}
        for name in dict.fromkeys([*now, *before]):
            known = same_torch or (name in now and name in before)
            is_lazy_one = part == "model" and name.rpartition(".")[0] in lazy
            if name in state["changed"][part] or not known or is_lazy_one:
                continue
            if (name in decides) == decisive:
                title = f"{name} of the {part}"
                values = ({title: each.get(name, NONE)} for each in (before, now))
                found.append(difference(*values))
    return [each for each in found if each]
