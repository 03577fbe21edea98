"""Training history: losses and metrics, averaged as fastai averages them, to the last bit.

Source of the formulas: fastai 2.8.12's `AvgSmoothLoss`, `AvgLoss` and `AvgMetric`. During an epoch
the losses and metrics of the batches are kept as tensors, and only become numbers when they are
read, once per epoch. So recording never waits for the device.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mnist_sgd._installed import need
from mnist_sgd.training.coming_from_fastai import RECORDER, StandIn, missing
from mnist_sgd.training.distributed import DistributedContext

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Metric = Callable[[Tensor, Tensor], Any]
"""Takes (predictions, targets) of a batch; returns a number or a tensor, NumPy's included."""

BETA = 0.98
LOSSES = ("epoch", "train_loss", "valid_loss")
"""The columns before the metrics."""

STATE_KEYS = ("metric_names", "values", "losses", "lrs", "moms", "iters", "lines", "average")

UNKNOWN: Mapping[str, Any] = {"state": None, "plain_loss": False}
"""For a row without a note of what it was measured with."""


class AvgSmoothLoss:
    """Exponential moving average of the training loss, debiased, beta 0.98, over a whole fit.

    Attributes:
        count: the number of losses so far.
        average: the average before debiasing, a float32 scalar on the CPU.
    """

    def __init__(self, count: int = 0, average: float = 0.0) -> None:
        self.count = count
        self.average = torch.tensor(average, dtype=torch.float32, device="cpu")

    def extend(self, losses: Tensor) -> list[float]:
        """Add losses, float32 `[N]` on the CPU, and return the debiased average after each."""
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


class AverageMeter:
    """Mean of a metric over batches, weighted by their sizes.

    A batch's value may be a tensor of any dtype, on any device, or a number of Python or NumPy.
    float32 and float64 values are averaged as they are; other tensors (half precision, integers,
    booleans) are converted to float32 first.
    """

    def __init__(self) -> None:
        self._values: list[Tensor] = []
        self._sizes: list[int] = []

    def add(self, value: object, size: int) -> None:
        """Add a batch's value; a tensor of several elements counts as their mean.

        Raises:
            TypeError: `value` is neither a tensor nor a number.
        """
        tensor = _as_tensor(value)
        self._values.append(tensor.mean() if tensor.ndim else tensor)
        self._sizes.append(size)

    @property
    def count(self) -> int:
        """Number of images."""
        return sum(self._sizes)

    @property
    def total(self) -> Tensor:
        """Sum of value times size, added up batch by batch, a scalar on the CPU."""
        if not self._values:
            return torch.zeros((), device="cpu")
        values = torch.stack([value.cpu() for value in self._values])
        weighted = values * values.new_tensor(self._sizes)
        return reduce(torch.add, weighted.unbind())  # torch.sum adds in another order

    @property
    def value(self) -> float:
        """Mean; nan if there was no batch."""
        return float(self.total / self.count) if self.count else float("nan")


def _as_tensor(value: object) -> Tensor:
    """Convert a metric's value to a detached float32 or float64 tensor."""
    if isinstance(value, Tensor):
        detached = value.detach()
        return detached if detached.dtype in (torch.float32, torch.float64) else detached.float()
    try:
        return torch.as_tensor(value, dtype=torch.float64, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"a metric must return a number or a tensor, got {type(value).__name__}"
        ) from None


def reduce_meters(
    meters: Sequence[AverageMeter], complete: bool, ranks: DistributedContext
) -> tuple[list[float], bool]:
    """Average over all ranks' images; also return whether some rank left out some of them."""
    if ranks.world_size == 1:
        return [meter.value for meter in meters], not complete and meters[0].count > 0
    own = [[float(meter.total), meter.count] for meter in meters]
    sums = ranks.all_reduce_sum(torch.tensor([*own, [not complete, 0]], dtype=torch.float64))
    totals, counts = sums.unbind(1)
    is_partial = bool(totals[-1] and counts[0])
    return (totals[:-1] / counts[:-1]).tolist(), is_partial


def _identity(losses: Tensor) -> Tensor:
    return losses


class Recorder:
    """History of a fit; each fit makes a new one.

    Attributes:
        metric_names: the columns of the table: epoch, train_loss, valid_loss, the metrics, time.
        values: one row per epoch: train_loss, valid_loss and the metrics; nan where a cancelled
            epoch measured nothing.
        partial: indices of the rows whose validation was cancelled midway: their validation loss
            and metrics are means over some of the images.
        measured: for each row, what it was measured with, see `metadata.measured`.
        losses: smoothed training loss after each batch, as shown in the table; up to date after an
            epoch, after the fit, and after `read_losses`.
        lrs: learning rate of each batch.
        moms: momentum of each batch, 0 without one; for Adam the first beta.
        iters: number of training batches so far, at the end of each epoch.
        lines: rows of the table as they were printed.

    Args:
        metrics: the functions whose names head the columns after the losses.
        reduce_fn: maps this rank's per-batch losses, float32 `[N]`, to the losses of the global
            batches (an all-reduce).
    """

    def __init__(
        self, metrics: Sequence[Metric], reduce_fn: Callable[[Tensor], Tensor] = _identity
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
        self._smooth = AvgSmoothLoss()
        self._reduce = reduce_fn
        self._unread: list[Tensor] = []  # per-batch losses

    def __repr__(self) -> str:
        columns = ", ".join(self.metric_names[1:-1])
        return f"Recorder({len(self.values)} epochs, {len(self.lrs)} batches: {columns})"

    def set_metrics(self, metrics: Sequence[Metric]) -> None:
        """Set the columns after the losses; for a recorder without rows."""
        self.metric_names = [*LOSSES, *map(metric_name, metrics), "time"]

    def check_metrics(self, metrics: Sequence[Metric]) -> None:
        """Check that the columns are those of `metrics`.

        Raises:
            ValueError: they are not.
        """
        now = [*map(metric_name, metrics)]
        if now != (columns := self.metric_names[len(LOSSES) : -1]):
            raise ValueError(
                f"the metrics are {', '.join(now) or 'none'}, but the table of this fit has the "
                f"columns {', '.join(columns) or 'of the losses alone'}: assign learn.metrics "
                "before the fit, or in before_fit"
            )

    def add_batch(self, loss: Tensor, lr: float, mom: float = 0.0) -> None:
        """Record a training batch: its loss, a scalar or `[1]`, learning rate and momentum."""
        self._unread.append(loss.detach())
        self.lrs.append(lr)
        self.moms.append(mom)

    def read_losses(self) -> None:
        """Update `losses`, which waits for the device; all ranks call this together."""
        if self._unread:
            losses = self._reduce(_stacked(self._unread))
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
            measured: what they were measured with, see `metadata.measured`.
            partial: whether they are means over some of the validation images.
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
        """Return the history as lists and numbers that JSON keeps exactly."""
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
        """Replace the history by the one that `state_dict` returned.

        Raises:
            ValueError: the state is of other metrics, or is none; the recorder is unchanged.
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
        noted = state.get("measured", [UNKNOWN] * len(self.values))  # earlier versions noted none
        self.measured = [dict(each) for each in noted]
        self.losses = list(state["losses"])
        self.lrs = list(state["lrs"])
        self.moms = list(state["moms"])
        self.iters = list(state["iters"])
        self.lines = list(state["lines"])
        self._smooth = AvgSmoothLoss(len(self.losses), state["average"])
        self._unread.clear()

    def plot_loss(
        self, skip_start: int = 5, with_valid: bool = True, ax: Axes | None = None
    ) -> Axes:
        """Plot the smoothed training loss per batch and the validation loss per epoch.

        Args:
            skip_start: number of first batches to leave out, while the average is still rough.
            with_valid: whether to draw the validation loss.
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

    def plot_sched(self) -> None:
        """Plot the learning rate of each batch, and the momentum if there is one, as fastai does.

        Raises:
            ImportError: matplotlib is missing.
        """
        need("matplotlib", "Recorder.plot_sched")
        from matplotlib import pyplot

        curves = {"learning rate": self.lrs}
        if any(self.moms):
            curves["momentum"] = self.moms
        _, axes = pyplot.subplots(1, len(curves), figsize=(6 * len(curves), 4), squeeze=False)
        for ax, (name, values) in zip(axes[0], curves.items(), strict=True):
            ax.plot(values)
            ax.set(xlabel="batch", ylabel=name)

    if not TYPE_CHECKING:  # to a type checker, what is not here is an error

        def __getattr__(self, name: str) -> Any:
            """Name the replacement of an attribute that only fastai's Recorder has."""
            raise missing("this Recorder", name, RECORDER)


def _stacked(losses: Sequence[Tensor]) -> Tensor:
    """Copy the losses of N batches to the CPU, float32 `[N]`: the only wait for the device."""
    return torch.stack(list(losses)).flatten().to("cpu", torch.float32)


def as_metrics(metrics: Metric | Sequence[Metric] | None) -> list[Metric]:
    """Return one, several or no metrics as a list.

    Raises:
        NameError: one of them is fastai's.
        TypeError: one of them is not a function.
    """
    found: list[Any] = [metrics]
    if metrics is None or isinstance(metrics, list | tuple):
        found = list(metrics or ())
    for each in found:
        if not callable(each) or isinstance(each, type):
            raise TypeError(f"metrics must be functions of (predictions, targets), got {each!r}")
        function = each.func if isinstance(each, functools.partial) else each
        if isinstance(function, StandIn):
            function()  # which says what to use
    return found


def metric_name(metric: Metric) -> str:
    """Return the name of a metric's column: its function's, also for a partial."""
    if isinstance(metric, functools.partial) and "__name__" not in vars(metric):
        metric = metric.func
    return str(getattr(metric, "__name__", type(metric).__name__))


def unique_names(names: Sequence[str]) -> list[str]:
    """Number repeated names: recall, recall, f1 become recall, recall_2, f1.

    Two partials of one function have columns of the same name, as in fastai; the keys of a
    dictionary of their values must differ.
    """
    found: list[str] = []
    for name in names:
        number, key = 2, name
        while key in found:
            key, number = f"{name}_{number}", number + 1
        found.append(key)
    return found
