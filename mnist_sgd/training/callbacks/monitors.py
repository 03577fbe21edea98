"""Early stopping, best-weights saving, and learning rate reduction on a plateau.

Each derives its state from the recorder's rows, so that a resumed fit needs nothing more; the best
weights themselves are in the checkpoint.

    learn.fit(100, lr=0.1, cbs=[EarlyStopping(patience=5), SaveBest()])
"""

import copy
import os
from collections.abc import Mapping
from math import nan
from typing import Any

from mnist_sgd.models.wrappers import (
    load_non_persistent_buffers,
    load_plain_state,
    non_persistent_buffers,
    plain_state,
)
from mnist_sgd.training.callbacks.base import Callback, CancelFit
from mnist_sgd.training.metadata import is_of_last_row
from mnist_sgd.training.resume.attribute_values import from_stored, is_storable, to_stored
from mnist_sgd.training.resume.attributes import attributes


class TrackerCallback(Callback):
    """Base class of callbacks that monitor a column of the table.

    Args:
        monitor: the column's name. Lower is better if it contains "loss" or "error", else higher.
        min_delta: the least improvement that counts, 0 or more.
    """

    during_lr_find = False

    def __init__(self, monitor: str = "valid_loss", min_delta: float = 0.0) -> None:
        if min_delta < 0:
            raise ValueError(f"min_delta must be 0 or more, got {min_delta}")
        self.monitor = monitor
        self.min_delta = min_delta
        self.sign = -1.0 if "loss" in monitor or "error" in monitor else 1.0

    def before_fit(self, learn: Any) -> None:
        """Check that there is one such column.

        Raises:
            ValueError: there is none, or more than one.
        """
        names = learn.recorder.metric_names[1:-1]
        if names.count(self.monitor) != 1:
            found = "there are" if self.monitor not in names else "several of that name:"
            raise ValueError(
                f"{type(self).__name__} watches {self.monitor!r}; {found} {', '.join(names)}"
            )

    def improvements(self, learn: Any) -> list[bool]:
        """Return for each row of the recorder whether it is better than all before it."""
        column = learn.recorder.metric_names.index(self.monitor) - 1
        best, better = float("-inf"), []
        for i, row in enumerate(learn.recorder.values):
            # A mean over some of the validation images cannot be compared with one over all.
            value = nan if i in learn.recorder.partial else self.sign * row[column]
            better.append(value - self.min_delta > best)
            best = value if better[-1] else best
        return better

    def best_row(self, learn: Any) -> int | None:
        """Return the index of the best row; None if there is none, or none is a number."""
        better = self.improvements(learn)
        return max((i for i, is_better in enumerate(better) if is_better), default=None)


class EarlyStopping(TrackerCallback):
    """Stops the fit after `patience` epochs without improvement.

    Args:
        patience: at least 1.
        monitor: the column's name. Lower is better if it contains "loss" or "error", else higher.
        min_delta: the least improvement that counts, 0 or more.

    Raises:
        TypeError: `patience` is not an integer.
        ValueError: a number is out of its range.
    """

    def __init__(
        self, patience: int = 1, monitor: str = "valid_loss", min_delta: float = 0.0
    ) -> None:
        super().__init__(monitor, min_delta)
        self.patience = _checked_patience(patience)

    def rank_settings(self) -> dict[str, str]:
        """Return what must be the same on all ranks, which stop together."""
        watched = f"monitor {self.monitor}, min_delta {self.min_delta}"
        return {"EarlyStopping": f"patience {self.patience}, {watched}"}

    def before_epoch(self, learn: Any) -> None:
        """Stop the fit, now that the last epoch and its checkpoint are complete."""
        better = self.improvements(learn)
        if len(better) >= self.patience and not any(better[-self.patience :]):
            raise CancelFit


class SaveBest(TrackerCallback):
    """Restores the weights of the best epoch when the fit ends, however it ends.

    The weights of the loss are restored too, and so are numbers, texts, tensors and lists of them
    that callbacks changed in the model. `learn.kept_row` is then the best row of the recorder. If
    something else was changed in the model, which is not restored, files of the model contain no
    metrics.

    Args:
        path: a safetensors file that is written whenever the weights are better; None: no file.
        monitor: the column's name. Lower is better if it contains "loss" or "error", else higher.
        min_delta: the least improvement that counts, 0 or more.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        monitor: str = "valid_loss",
        min_delta: float = 0.0,
    ) -> None:
        super().__init__(monitor, min_delta)
        self.path = path
        self.weights: dict[str, Any] = {}
        self.buffers: dict[str, Any] = {}
        self.attributes: dict[str, str] = {}
        self.plain: dict[str, Any] = {}
        self.loss: dict[str, dict[str, Any]] = {}
        self.row: int | None = None
        self._in_fit = False

    def before_fit(self, learn: Any) -> None:
        """Forget the last fit's weights, unless this one resumes."""
        super().before_fit(learn)
        if not learn.recorder.values:
            self.weights, self.buffers, self.row = {}, {}, None
            self.attributes, self.plain, self.loss = {}, {}, {}
        self._in_fit = True

    def after_epoch(self, learn: Any) -> None:
        """Copy the weights, if they are the best so far."""
        if self.improvements(learn)[-1]:
            self.weights = copy.deepcopy(plain_state(learn.model))
            self.buffers = copy.deepcopy(non_persistent_buffers(learn.model))
            self.loss = {
                place: copy.deepcopy(
                    {"state": plain_state(m), "buffers": non_persistent_buffers(m)}
                )
                for place, m in learn.loss_modules().items()
            }
            found = attributes(learn.model, tensors=True).items()
            plain = {name: each for name, each in found if each.put and is_storable(each.value)}
            self.attributes = {name: each.text for name, each in plain.items()}
            self.plain = {name: copy.deepcopy(each.value) for name, each in plain.items()}
            self.row = len(learn.recorder.values) - 1
            if self.path is not None and learn.ranks.is_main_process:
                learn.save(self.path)

    def cleanup_fit(self, learn: Any) -> None:
        """Restore the best weights; none of an earlier fit, if this one was refused."""
        if not self._in_fit:
            return
        self._in_fit = False
        best = self.best_row(learn) if learn.recorder.values else None
        row = best if self.row is None else self.row
        if best is not None and best == len(learn.recorder.values) - 1 and is_of_last_row(learn):
            learn.kept_row = best  # also where a cancellation left `after_epoch` out
        elif self.weights and row is not None:
            load_plain_state(learn.model, self.weights)
            load_non_persistent_buffers(learn.model, self.buffers)
            self._put_attributes(learn)
            modules = learn.loss_modules()
            for place in self.loss.keys() & modules.keys():
                load_plain_state(modules[place], self.loss[place]["state"])
                load_non_persistent_buffers(modules[place], self.loss[place]["buffers"])
            learn.kept_row = row

    def _put_attributes(self, learn: Any) -> None:
        """Restore the attributes of the model that have changed."""
        for name, each in attributes(learn.model, tensors=True).items():
            if each.put and name in self.plain and each.text != self.attributes[name]:
                each.put(from_stored(self.plain[name], each.value, learn.ranks.device))

    def state_dict(self) -> dict[str, Any]:
        """Return the best weights so far, with what else of the model and the loss is restored."""
        kept = {"row": self.row, "weights": self.weights, "buffers": self.buffers}
        plain = {"attributes": self.attributes, "plain": to_stored(self.plain)}
        return {**kept, **plain, "loss": self.loss}

    def fit_settings(self) -> dict[str, str]:
        """Return what a fit that resumes must have in common, so that `kept_row` is right."""
        return {"SaveBest": f"monitor {self.monitor}, min_delta {self.min_delta}"}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load the best weights of a checkpoint."""
        if {"row", "weights"} <= set(state):
            self.row, self.weights = state["row"], dict(state["weights"])
        else:  # of a checkpoint that an earlier version wrote
            self.row, self.weights = None, dict(state)
        later = state if "row" in state else {}
        self.buffers = dict(later.get("buffers", {}))
        self.attributes = dict(later.get("attributes", {}))
        self.plain = dict(later.get("plain", {}))
        self.loss = dict(later.get("loss", {}))


class ReduceLROnPlateau(TrackerCallback):
    """Divides the learning rate after every `patience` epochs without improvement.

    It divides the current rate, so that other callbacks may change it too.

    Args:
        patience: at least 1.
        factor: the divisor, above 1.
        min_lr: the rate is not reduced below this; a lower rate is kept.
        monitor: the column's name. Lower is better if it contains "loss" or "error", else higher.
        min_delta: the least improvement that counts, 0 or more.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(
        self,
        patience: int = 1,
        factor: float = 10.0,
        min_lr: float = 0.0,
        monitor: str = "valid_loss",
        min_delta: float = 0.0,
    ) -> None:
        super().__init__(monitor, min_delta)
        self.patience = _checked_patience(patience)
        if not factor > 1:
            raise ValueError(f"factor must be above 1, got {factor}")
        self.factor = factor
        self.min_lr = min_lr

    def before_fit(self, learn: Any) -> None:
        """Check that nothing else sets the rate.

        Raises:
            ValueError: the fit has a schedule, or there is no such column.
        """
        super().before_fit(learn)
        if learn.schedule is not None:
            raise ValueError(
                "a schedule sets the learning rate of each batch, so ReduceLROnPlateau cannot; "
                "take one of them"
            )

    def fit_settings(self) -> dict[str, str]:
        """Return what a fit that resumes must have in common, so that the rates are the same."""
        settings = f"patience {self.patience}, factor {self.factor}, min_lr {self.min_lr}"
        watched = f"monitor {self.monitor}, min_delta {self.min_delta}"
        return {"ReduceLROnPlateau": f"{settings}, {watched}"}

    def before_epoch(self, learn: Any) -> None:
        """Reduce the rate, if `patience` epochs have passed without improvement."""
        if learn.batch or not self._is_due(learn):  # resumed within an epoch: it was reduced then
            return
        for group in learn.opt.param_groups:
            lr = group["lr"]
            group["lr"] = min(lr, max(lr / self.factor, self.min_lr))

    def _is_due(self, learn: Any) -> bool:
        """Whether the last row completes `patience` rows without improvement."""
        waited = 0
        for is_better in self.improvements(learn):
            waited = 0 if is_better or waited == self.patience else waited
            waited += not is_better
        return waited == self.patience


def _checked_patience(patience: int) -> int:
    if not hasattr(patience, "__index__"):
        raise TypeError(f"patience must be an integer, got {patience!r}")
    if patience < 1:
        raise ValueError(f"patience must be at least 1 epoch, got {patience}")
    return patience
