"""Let a learner resume its own interrupted fit.

A fit and its callbacks replace and change parts of a learner: they swap the loss, add layers or
parameter groups, freeze layers, count in attributes. Before the same learner resumes, these are
reset to the start of the fit. What its user has changed since the end is kept, and compared with
the checkpoint.
"""

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn

from mnist_sgd.training.resume.attributes import modules_within
from mnist_sgd.training.resume.fit_identity import group_settings
from mnist_sgd.training.resume.fit_start import FitStart, flat_attributes, saved_attributes
from mnist_sgd.training.resume.snapshot import ModuleSnapshot, Structure

FIELDS = (
    *("dls", "loss_func", "_model", "_metrics"),
    *("opt", "opt_settings", "_opt_made_for", "_rates"),
)
"""The attributes of a learner that callbacks replace."""


class StartedFit:
    """The parts of a learner at the start and at the end of a fit.

    Args:
        learn: its fit is about to start.
        start: of the fit.
    """

    def __init__(self, learn: Any, start: FitStart) -> None:
        self._start = start
        self._begin = self._end = _Parts(learn)

    def ended(self, learn: Any) -> None:
        """Note how the fit left the learner."""
        self._end = _Parts(learn)

    def is_of(self, state: Mapping[str, Any]) -> bool:
        """Whether a checkpoint is of this fit, or of one that started alike."""
        if "start" not in state:
            return False
        fit = {**self._start.identity, **self._start.settings}
        # The loaders may be at another position.
        there, here = ({**e, "loaders": None} for e in (state["start"], self._start.facts))
        return {**state["fit"], **state["settings"]} == fit and there == here

    def reset(self, learn: Any) -> None:
        """Reset the learner to the start of the fit, except what has changed since its end.

        Its weights stay, because a checkpoint brings its own.
        """
        begin, end = self._begin, self._end
        for name, value in begin.fields.items():
            if getattr(learn, name) is end.fields[name]:
                setattr(learn, name, value)
        if learn.opt is begin.fields["opt"]:
            _note_changes(learn, end.groups)
            begin.structure.restore_groups()
        begin.structure.restore_modules(if_unchanged_since=end.structure)
        for p, is_trained in begin.trained.values():
            if end.trained.get(id(p), (p, p.requires_grad))[1] == p.requires_grad:
                p.requires_grad_(is_trained)
        now = flat_attributes(learn)
        if learn.loss_func is begin.fields["loss_func"] and all(
            key in now and now[key].text == each.text
            for key, each in end.attributes.items()
            if key[0] == "loss"
        ):
            for module in begin.loss:
                module.restore()
        for key, each in flat_attributes(learn).items():
            before = begin.attributes.get(key)
            is_unchanged = each.text == end.attributes.get(key, each).text
            if before and before.put and before.text != each.text and is_unchanged and each.put:
                each.put(copy.deepcopy(before.value))
        learn.recorder.set_metrics(learn.metrics)


class _Parts:
    """The current parts of a learner that callbacks replace or change."""

    def __init__(self, learn: Any) -> None:
        self.fields = {name: getattr(learn, name) for name in FIELDS}
        within = modules_within(learn.loss_func, apart=learn.model.modules()).values()
        modules: list[nn.Module] = [learn.model, *within]
        self.structure = Structure(modules, learn.opt)
        self.groups = copy.deepcopy(group_settings(learn.opt))
        self.trained = {id(p): (p, p.requires_grad) for each in modules for p in each.parameters()}
        self.loss = [ModuleSnapshot(each) for each in within]
        self.attributes = saved_attributes(learn)


def _note_changes(learn: Any, groups: list[dict[str, Any]]) -> None:
    """Note as the optimizer's settings what was changed since the fit's end, to compare it.

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
