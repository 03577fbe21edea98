"""The parts of a fit at a moment, as texts: the layers, the loss and the optimizer's class.

Callbacks may replace them. A checkpoint notes them when it is written: a fit that resumes has
others if a callback replaced one in an earlier epoch and does not do so again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.optim.lr_scheduler import LRScheduler

from mnist_sgd.models.wrappers import plain_modules, unwrapped
from mnist_sgd.training.recorder import metric_name
from mnist_sgd.training.resume.fit_identity import LOSS, loss_settings, optimizer_name

if TYPE_CHECKING:
    from mnist_sgd.training.interface import Learner

__all__ = ["OPTIMIZER", "FitParts", "fit_parts"]

OPTIMIZER = "optimizer"


def fit_parts(learn: Learner) -> dict[str, str]:
    """The names of the layers' classes, of the loss and of the optimizer's class, as they are now.

    What a layer holds is left out, as its state and its attributes are saved.
    """
    layers = {
        f"layer {name}" if name else "model": _class_name(unwrapped(layer))
        for name, layer in plain_modules(learn.model).items()
    }
    return {
        **layers,
        "loss": metric_name(learn.loss_func),
        LOSS: loss_settings(learn.loss_func),
        OPTIMIZER: optimizer_name(learn.opt),
    }


def _class_name(layer: nn.Module) -> str:
    """The name of a layer's class; that of a lazy layer is what it will be."""
    lazy = getattr(layer, "cls_to_become", None) if isinstance(layer, LazyModuleMixin) else None
    return (lazy or type(layer)).__name__


def _own_states(learn: Learner) -> dict[tuple[int, str], object]:
    """Of custom callbacks without a state, whether they run and where their schedulers stand.

    Other attributes are not looked at: most of them only count or collect.
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


class FitParts:
    """Tells which parts of a fit stay the same between the batches of an epoch.

    Those that do not are replaced by callbacks in each batch or for the validation, which a fit
    that resumes does by itself.
    """

    def __init__(self) -> None:
        self._begun: dict[str, str] | None = None
        self._states: dict[tuple[int, str], object] | None = None
        self._told: set[tuple[int, str]] = set()
        self._within_batches: set[str] = set()

    def begin_training(self, learn: Learner) -> None:
        """Note the parts that an epoch's training begins with."""
        self._begun = fit_parts(learn)
        if self._states is None:
            self._states = _own_states(learn)

    def state(self, learn: Learner, epoch_done: bool) -> dict[str, Any]:
        """The parts as a checkpoint has them, and the names of those that it leaves out."""
        now = fit_parts(learn)
        begun = now if self._begun is None else self._begun
        other = {name for name in {*now, *begun} if now.get(name) != begun.get(name)}
        if not epoch_done:
            self._within_batches |= other
        return {
            "texts": now,
            "left out": sorted(other | self._within_batches),
            "within batches": sorted(self._within_batches),
        }

    def end_training(self, learn: Learner) -> None:
        """Note which parts are others than at the beginning."""
        self.state(learn, epoch_done=False)

    def untold(self, learn: Learner) -> list[str]:
        """What callbacks have changed of themselves since the first batch, each told once.

        No checkpoint holds it.
        """
        own = _own_states(learn)
        begun = own if self._states is None else self._states
        new = [key for key, state in own.items() if begun.get(key) != state]
        new = [key for key in new if key not in self._told]
        self._told |= set(new)
        return [name for _, name in new]

    def take_up(self, state: dict[str, Any]) -> None:
        """Know what a checkpoint's fit has found out."""
        self._within_batches |= set(state.get("within batches", ()))
