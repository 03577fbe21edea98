"""The figures of training, computed as fastai computes them, to the last bit.

Source of the formulas: fastai 2.8.12's `AvgSmoothLoss`, `AvgLoss` and `AvgMetric`. Running figures
stay tensors while batches pass and are read once an epoch, so that recording never waits for a
device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Mean", "Metric", "Recorder", "SmoothLoss"]

Metric = Callable[[Tensor, Tensor], Tensor]
BETA = 0.98


class SmoothLoss:
    """A debiased moving average of the training loss, beta 0.98, over all batches of a fit."""

    def __init__(self) -> None:
        self.count = 0
        self.average = torch.tensor(0.0)

    def add(self, loss: Tensor) -> None:
        """Take the next batch's loss, of any shape, into the average."""
        self.count += 1
        # torch.lerp itself: for a weight of 0.5 and more it computes end - (end - start) * (1 -
        # weight), which differs from the textbook form in the last bit.
        self.average = torch.lerp(loss.detach().mean(), self.average, BETA)

    @property
    def value(self) -> Tensor:
        """The average, a float32 scalar."""
        return self.average / (1 - BETA**self.count)


class Mean:
    """The mean of a batch's figure, each batch weighted by its size."""

    def __init__(self) -> None:
        self.total: Tensor | float = 0.0
        self.count = 0

    def add(self, value: Tensor, size: int) -> None:
        """Take a batch's figure into the mean; a figure of several values counts as their mean."""
        self.total = self.total + value.detach().mean() * size
        self.count += size

    @property
    def value(self) -> float:
        """The mean; NaN when there was no batch."""
        return float(self.total / self.count) if self.count else float("nan")


class Recorder:
    """What happened in a fit; a new fit begins anew.

    Attributes:
        metric_names: the columns of the table: epoch, train_loss, valid_loss, the metrics, time.
        values: a row an epoch: train_loss, valid_loss and the metrics.
        losses: the smoothed training loss after each batch, as shown in the table.
        lrs: the learning rate of each batch.
        iters: how many training batches there had been at the end of each epoch.
    """

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.metric_names = [
            "epoch",
            "train_loss",
            "valid_loss",
            *(metric_name(metric) for metric in metrics),
            "time",
        ]
        self.values: list[list[float]] = []
        self.losses: list[float] = []
        self.lrs: list[float] = []
        self.iters: list[int] = []
        self.smooth_loss = SmoothLoss()
        self._unread: list[Tensor] = []

    def add_batch(self, loss: Tensor, lr: float) -> None:
        """Record a training batch."""
        self.smooth_loss.add(loss)
        self._unread.append(self.smooth_loss.value)
        self.lrs.append(lr)

    def read_losses(self) -> None:
        """Bring `losses` up to date."""
        if self._unread:
            self.losses += torch.stack(self._unread).tolist()
            self._unread.clear()

    def add_epoch(self, valid: Sequence[float]) -> list[float]:
        """Record an epoch, given its validation loss and metrics, and return its row."""
        self.read_losses()
        row = [self.losses[-1] if self.losses else float("nan"), *valid]
        self.values.append(row)
        self.iters.append(self.smooth_loss.count)
        return row

    def plot_loss(
        self, skip_start: int = 5, with_valid: bool = True, ax: Axes | None = None
    ) -> Axes:
        """Plot the smoothed training loss a batch and the validation loss an epoch.

        Args:
            skip_start: leave out so many first batches, whose average is still rough.
            with_valid: whether the validation loss is drawn.
            ax: matplotlib axes to draw on; None takes the current ones.

        Raises:
            ImportError: matplotlib is not installed.
        """
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError(
                "plot_loss draws with matplotlib: pip install 'mnist-sgd[plot]'"
            ) from error
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


def metric_name(metric: Metric) -> str:
    """The name of a metric's column: that of its function."""
    return getattr(metric, "__name__", type(metric).__name__)
