"""What a fit began with, so that the same learner can resume it after it was broken off.

A fit and its callbacks replace and change parts of a learner: they swap the loss, add layers or
groups of parameters, freeze layers, count in attributes. A new process has none of that when it
resumes, and neither has the learner whose fit was broken off, once it is put back. What its user
has changed since is kept, and compared as usual.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from mnist_sgd.training.resume.attributes import modules_within
from mnist_sgd.training.resume.fit_identity import group_settings
from mnist_sgd.training.resume.fit_start import FitStart, fit_attributes
from mnist_sgd.training.resume.remembered import RememberedModule, Structure

if TYPE_CHECKING:
    from mnist_sgd.training.interface import Learner

__all__ = ["Begun"]

FIELDS = (
    *("dls", "loss_func", "_model", "_metrics"),
    *("opt", "opt_settings", "_opt_made_for", "_rates"),
)
"""The attributes of a learner that callbacks replace."""


class Begun:
    """The parts of a learner when a fit began, and when it ended.

    Args:
        learn: its fit is about to begin.
        start: what the fit begins with.
    """

    def __init__(self, learn: Learner, start: FitStart) -> None:
        self._start = start
        self._begin = self._end = _Parts(learn)

    def ended(self, learn: Learner) -> None:
        """Note how the fit left the learner."""
        self._end = _Parts(learn)

    def is_of(self, state: Mapping[str, Any]) -> bool:
        """Whether a checkpoint is of this fit, or of one that began alike."""
        if "start" not in state:
            return False
        fit = {**self._start.identity, **self._start.settings}
        return {**state["fit"], **state["settings"]} == fit and _without_loaders(
            state["start"]
        ) == _without_loaders(self._start.facts)

    def put_back(self, learn: Learner) -> None:
        """Let the learner be as it was when the fit began, but for what has changed since its end.

        Its weights stay: a checkpoint has others anyway.
        """
        begin, end = self._begin, self._end
        for name, value in begin.fields.items():
            if getattr(learn, name) is end.fields[name]:
                setattr(learn, name, value)
        if learn.opt is begin.fields["opt"]:
            _note_changes(learn, end.groups)
            begin.structure.put_back_groups()
        begin.structure.put_back_modules(unless_other_than=end.structure)
        for p, is_trained in begin.trained.values():
            if end.trained.get(id(p), (p, p.requires_grad))[1] == p.requires_grad:
                p.requires_grad_(is_trained)
        now = _texts(learn)
        if learn.loss_func is begin.fields["loss_func"] and all(
            now.get(key) == text for key, text in end.texts.items() if key[0] == "loss"
        ):
            for module in begin.loss:
                module.put_back()
        for part, found in fit_attributes(learn).items():
            for name, each in found.items():
                key = part, name
                is_as_left = each.text == end.texts.get(key, each.text)
                is_other = key in begin.values and each.text != begin.texts[key]
                if is_other and is_as_left and each.put:
                    each.put(copy.deepcopy(begin.values[key]))
        learn.recorder.set_metrics(learn.metrics)


class _Parts:
    """The parts of a learner as they are now."""

    def __init__(self, learn: Learner) -> None:
        self.fields = {name: getattr(learn, name) for name in FIELDS}
        within = modules_within(learn.loss_func, apart=learn.model.modules()).values()
        modules: list[nn.Module] = [learn.model, *within]
        self.structure = Structure(modules, learn.opt)
        self.groups = copy.deepcopy(group_settings(learn.opt))
        self.trained = {id(p): (p, p.requires_grad) for each in modules for p in each.parameters()}
        self.loss = [RememberedModule(each) for each in within]
        self.texts = _texts(learn)
        self.values = {
            (part, name): copy.deepcopy(each.value)
            for part, found in fit_attributes(learn).items()
            for name, each in found.items()
            if each.put
        }


def _note_changes(learn: Learner, groups: list[dict[str, Any]]) -> None:
    """Let what was changed of the optimizer's settings since the fit's end be compared.

    The learning rate is that of the next fit, and is compared anyway.
    """
    settings = [dict(each) for each in learn.opt_settings]
    for made, left, now in zip(settings, groups, group_settings(learn.opt), strict=False):
        made |= {
            name: value
            for name, value in now.items()
            if name != "lr" and name in left and value != left[name]
        }
    learn.opt_settings = settings


def _texts(learn: Learner) -> dict[tuple[str, str], str]:
    return {
        (part, name): each.text
        for part, found in fit_attributes(learn).items()
        for name, each in found.items()
    }


def _without_loaders(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a fit began with, but for where its loaders stood."""
    return {name: value for name, value in facts.items() if name != "loaders"}
