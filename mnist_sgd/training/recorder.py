"""The losses and metrics of training, computed as fastai computes them, to the last bit.

Source of the formulas: fastai 2.8.12's `AvgSmoothLoss`, `AvgLoss` and `AvgMetric`. During an epoch
each batch's loss and metrics are only kept, as tensors; they become numbers when somebody reads
them, once an epoch. So recording never waits for a device, and costs about a microsecond a batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mnist_sgd._installed import need

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Mean", "Metric", "Recorder", "SmoothLoss", "metric_name", "unique_names"]

Metric = Callable[[Tensor, Tensor], Any]
"""Takes (predictions, targets) of a batch; returns a number or a tensor, NumPy's included."""

BETA = 0.98
LOSSES = ("epoch", "train_loss", "valid_loss")
"""What heads the columns before the metrics."""

STATE_KEYS = ("metric_names", "values", "losses", "lrs", "moms", "iters", "lines", "average")

UNKNOWN: Mapping[str, Any] = {"state": None, "plain_loss": False}
"""Of a row of which nobody noted what it was measured with."""


class SmoothLoss:
    """A debiased moving average of the training loss, beta 0.98, over all batches of a fit.

    Attributes:
        count: how many losses went into it.
        average: the average before it is debiased, a float32 scalar on the CPU.
    """

    def __init__(self, count: int = 0, average: float = 0.0) -> None:
        self.count = count
        self.average = torch.tensor(average, dtype=torch.float32, device="cpu")

    def extend(self, losses: Tensor) -> list[float]:
        """Take losses, float32 `[N]` on the CPU, into the average.

        Returns:
            The debiased average after each of them.
        """
        averages: list[Tensor] = []
        weights: list[float] = []
        for loss in losses.unbind():
            self.count += 1
            # torch.lerp itself, one by one: for a weight of 0.5 and more it computes end - (end -
            # start) * (1 - weight), in one rounding or in two as the processor has it.
            self.average = torch.lerp(loss, self.average, BETA)
            averages.append(self.average)
            weights.append(1 - BETA**self.count)
        if not averages:
            return []
        smooth: list[float] = (torch.stack(averages) / losses.new_tensor(weights)).tolist()
        return smooth


class Mean:
    """The mean of a metric over batches, each weighted by its size.

    A batch's value may be a tensor of any dtype, on any device, or a number of Python or NumPy.
    float32 and float64 values are averaged as they are; other tensors (half precision, integers,
    booleans) are converted to float32 first, in which they would lose digits.
    """

    def __init__(self) -> None:
        self._values: list[Tensor] = []
        self._sizes: list[int] = []

    def add(self, value: object, size: int) -> None:
        """Add a batch's value; one of several elements counts as their mean.

        Raises:
            TypeError: it is neither a tensor nor a number.
        """
        tensor = _as_tensor(value)
        self._values.append(tensor.mean() if tensor.ndim else tensor)
        self._sizes.append(size)

    @property
    def count(self) -> int:
        """The sum of the batches' sizes."""
        return sum(self._sizes)

    @property
    def total(self) -> Tensor:
        """The sum of value times size, added up batch by batch, a scalar on the CPU."""
        if not self._values:
            return torch.zeros((), device="cpu")
        values = torch.stack([value.cpu() for value in self._values])
        weighted = values * values.new_tensor(self._sizes)
        return reduce(torch.add, weighted.unbind())  # torch.sum adds in another order

    @property
    def value(self) -> float:
        """The mean; nan when there was no batch."""
        return float(self.total / self.count) if self.count else float("nan")


def _as_tensor(value: object) -> Tensor:
    """A metric's value as a tensor of float32 or float64, detached from its graph."""
    if isinstance(value, Tensor):
        detached = value.detach()
        return detached if detached.dtype in (torch.float32, torch.float64) else detached.float()
    try:
        return torch.as_tensor(value, dtype=torch.float64, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"a metric must return a number or a tensor, got {type(value).__name__}"
        ) from None


def _unchanged(losses: Tensor) -> Tensor:
    return losses


class Recorder:
    """The history of a fit; each fit has a new one.

    Attributes:
        metric_names: the columns of the table: epoch, train_loss, valid_loss, the metrics, time.
        values: a row for each epoch: train_loss, valid_loss and the metrics. What a cancelled
            epoch did not measure is nan.
        partial: the indices of the rows whose validation was cancelled midway: their validation
            loss and metrics are means over a part of the images.
        measured: for each row what it was measured with, as `provenance.measured` gives it.
        losses: the smoothed training loss after each batch, as shown in the table; up to date
            after an epoch, after the fit, and after `read_losses`.
        lrs: the learning rate of each batch.
        moms: the momentum of each batch, 0 without one; Adam's is the first of its betas.
        iters: how many training batches there had been at the end of each epoch.
        lines: the rows of the table as they were printed.

    Args:
        metrics: the functions that head the columns after the losses.
        over_ranks: maps this rank's losses of N batches, float32 `[N]`, to the losses of the whole
            batches (an all-reduce).
    """

    def __init__(
        self, metrics: Sequence[Metric], over_ranks: Callable[[Tensor], Tensor] = _unchanged
    ) -> None:
        self.set_metrics(metrics)
        self.values: list[list[float]] = []
        self.partial: list[int] = []
        self.measured: list[dict[str, Any]] = []
        self.losses: list[float] = []
        self.lrs: list[float] = []
        self.moms: list[float] = []
        self.iters: list[int] = []
        self.lines: list[str] = []
        self._smooth = SmoothLoss()
        self._over_ranks = over_ranks
        self._unread: list[Tensor] = []  # the losses of batches, as they came

    def set_metrics(self, metrics: Sequence[Metric]) -> None:
        """Head the columns after the losses with these; for a recorder without rows."""
        self.metric_names = [*LOSSES, *map(metric_name, metrics), "time"]

    def check_metrics(self, metrics: Sequence[Metric]) -> None:
        """See that these head the columns.

        Raises:
            ValueError: they are others.
        """
        now = [*map(metric_name, metrics)]
        if now != (columns := self.metric_names[len(LOSSES) : -1]):
            raise ValueError(
                f"the metrics are {', '.join(now) or 'none'}, but the table of this fit has the "
                f"columns {', '.join(columns) or 'of the losses alone'}: assign learn.metrics "
                "before the fit, or in before_fit"
            )

    def add_batch(self, loss: Tensor, lr: float, mom: float = 0.0) -> None:
        """Record a training batch: its loss, a scalar or `[1]`, its rate and its momentum."""
        self._unread.append(loss.detach())
        self.lrs.append(lr)
        self.moms.append(mom)

    def read_losses(self) -> None:
        """Bring `losses` up to date, which waits for the device; ranks do it together."""
        if self._unread:
            losses = self._over_ranks(_numbers(self._unread))
            self.losses += self._smooth.extend(losses)
            self._unread.clear()

    def add_epoch(
        self,
        valid: Sequence[float],
        measured: Mapping[str, Any] = UNKNOWN,
        partial: bool = False,
    ) -> list[float]:
        """Record an epoch and return its row.

        Args:
            valid: the validation loss and the metrics.
            measured: what they were measured with, as `provenance.measured` gives it.
            partial: whether they are means over a part of the validation images.
        """
        self.read_losses()
        row = [self.losses[-1] if self.losses else float("nan"), *valid]
        if partial:
            self.partial.append(len(self.values))
        self.values.append(row)
        self.measured.append(dict(measured))
        self.iters.append(len(self.losses))
        return row

    def state_dict(self) -> dict[str, Any]:
        """All that was recorded, as lists and numbers that JSON keeps exactly."""
        self.read_losses()
        return {
            "metric_names": list(self.metric_names),
            "values": [list(row) for row in self.values],
            "partial": list(self.partial),
            "measured": [dict(noted) for noted in self.measured],
            "losses": list(self.losses),
            "lrs": list(self.lrs),
            "moms": list(self.moms),
            "iters": list(self.iters),
            "lines": list(self.lines),
            "average": self._smooth.average.item(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on as the recorder that `state` is of, forgetting all that was recorded here.

        Raises:
            ValueError: the state is of other metrics, or is none; the recorder is as before.
        """
        missing = [key for key in STATE_KEYS if key not in state]
        if missing:
            raise ValueError(f"this is not a Recorder's state: it lacks {', '.join(missing)}")
        if state["metric_names"] != self.metric_names:
            raise ValueError(
                f"the state has the columns {', '.join(state['metric_names'])}; "
                f"this recorder has {', '.join(self.metric_names)}"
            )
        self.values = [list(row) for row in state["values"]]
        self.partial = list(state.get("partial", []))
        noted = state.get("measured", [UNKNOWN] * len(self.values))  # older states have none
        self.measured = [dict(each) for each in noted]
        self.losses = list(state["losses"])
        self.lrs = list(state["lrs"])
        self.moms = list(state["moms"])
        self.iters = list(state["iters"])
        self.lines = list(state["lines"])
        self._smooth = SmoothLoss(len(self.losses), state["average"])
        self._unread.clear()

    def plot_loss(
        self, skip_start: int = 5, with_valid: bool = True, ax: Axes | None = None
    ) -> Axes:
        """Plot the smoothed training loss a batch and the validation loss an epoch.

        Args:
            skip_start: leave out so many first batches, whose average is still rough.
            with_valid: whether the validation loss is drawn.
            ax: matplotlib axes to draw on; None takes the current ones.

        Raises:
            ImportError: matplotlib is missing.
        """
        need("matplotlib", "Recorder.plot_loss")
        from matplotlib import pyplot

        self.read_losses()
        ax = ax or pyplot.gca()
        steps = range(skip_start, len(self.losses))
        ax.plot(steps, self.losses[skip_start:], label="train")
        if with_valid:
            points = [(i, row[1]) for i, row in zip(self.iters, self.values, strict=True)]
            points = [(i, loss) for i, loss in points if i >= skip_start]
            ax.plot([i for i, _ in points], [loss for _, loss in points], label="valid")
        ax.set(title="learning curve", xlabel="steps", ylabel="loss")
        ax.legend()
        return ax


def _numbers(losses: Sequence[Tensor]) -> Tensor:
    """The losses of batches, each of one element, as float32 `[N]` on the CPU: the one wait."""
    return torch.stack(list(losses)).flatten().to("cpu", torch.float32)


def metric_name(metric: Metric) -> str:
    """The name of a metric's column: that of its function, also of a partial's."""
    if isinstance(metric, functools.partial) and "__name__" not in vars(metric):
        metric = metric.func
    return str(getattr(metric, "__name__", type(metric).__name__))


def unique_names(names: Sequence[str]) -> list[str]:
    """The same names, repeated ones numbered: recall, recall, f1 give recall, recall_2, f1.

    Two partials of one function head columns of the same name, as in fastai; a dictionary of their
    values needs keys that differ.
    """
    found: list[str] = []
    for name in names:
        number, key = 2, name
        while key in found:
            key, number = f"{name}_{number}", number + 1
        found.append(key)
    return found
