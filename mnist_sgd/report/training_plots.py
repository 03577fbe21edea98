"""The charts of a training: its losses, and the learning rate and momentum that it went by."""

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from mnist_sgd.report.chart import Chart, draw, number, plural
from mnist_sgd.report.history import History
from mnist_sgd.report.palette import INK, NEGATIVE, POSITIVE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["training_charts"]

MANY = 2000
"""Points of a line; a longer history is thinned out to them."""


def training_charts(history: History) -> list[Chart]:
    """The charts of a history; none if it has no batch."""
    if not history.losses:
        return []
    return [_losses(history), _rates(history)]


def epoch_axis(history: History) -> list[float]:
    """How far each batch is through the fit, in epochs; a batch counts when it is over."""
    bounds = list(pairwise([0, *history.ends]))
    if history.ends and len(history.losses) > history.ends[-1]:  # the last epoch was left early
        size = max((b - a for a, b in bounds), default=1)
        bounds.append((history.ends[-1], history.ends[-1] + size))
    bounds = bounds or [(0, len(history.losses))]
    places = [e + (i + 1) / (b - a) for e, (a, b) in enumerate(bounds) for i in range(b - a)]
    return places[: len(history.losses)]


def whole_epochs(axes: "Axes") -> None:
    """Mark whole epochs only on the x axis."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))


def plain_log_axis(axes: "Axes", values: list[float]) -> None:
    """A logarithmic y axis for positive numbers, with plain numbers beside it."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    good = [value for value in values if isfinite(value) and value > 0]
    if not good:
        return
    low, high = min(good), max(good)
    decades = np.log10(high / low)
    axes.set_yscale("log")
    axes.set_ylim(low / 1.15, high * 1.15)
    subs = [1, 1.5, 2, 3, 4, 5, 7] if decades < 0.7 else [1, 2, 5] if decades < 3 else [1]
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _losses(history: History) -> Chart:
    places = epoch_axis(history)
    thin = slice(None, None, -(-len(places) // MANY))
    valid = history.column("valid_loss")
    ends = range(1, len(valid) + 1)

    def paint(axes: "Axes") -> None:
        axes.plot(places[thin], history.losses[thin], color=NEGATIVE.light, label="training")
        marks = {"marker": "o", "markersize": 4} if len(valid) <= 40 else {}
        axes.plot(ends, valid, color=POSITIVE.light, label="validation", **marks)  # type: ignore[arg-type]
        axes.set(xlabel="epochs trained", ylabel="loss (logarithmic)")
        whole_epochs(axes)
        plain_log_axis(axes, [*history.losses, *valid])
        axes.legend()

    caption = (
        f"The training loss, smoothed over batches, goes from {number(history.losses[0])} to "
        f"{number(history.losses[-1])}."
    )
    good = [loss for loss in valid if isfinite(loss)]
    if good:
        best = valid.index(min(good))
        at = f" The validation loss is lowest, {number(valid[best])}, after"
        if best == len(valid) - 1:
            caption += f"{at} the last epoch."
        else:
            caption += f"{at} {plural(best + 1, 'epoch')}; it ends at {number(valid[-1])}."
    alt = f"Line chart of the training and the validation loss over {plural(len(valid), 'epoch')}."
    return draw("loss", "Loss", caption, alt, paint)


def _rates(history: History) -> Chart:
    places = epoch_axis(history)
    thin = slice(None, None, -(-len(places) // MANY))
    moved = max(history.moms) > 0

    def paint(axes: "Axes") -> None:
        axes.plot(places[thin], history.lrs[thin], color=INK.light, label="learning rate")
        axes.set(xlabel="epochs trained", ylabel="learning rate")
        whole_epochs(axes)
        axes.set_ylim(0, max(history.lrs) * 1.08 or 1)
        if moved:
            second = axes.twinx()
            second.plot(places[thin], history.moms[thin], color=POSITIVE.light, ls="--")
            second.set_ylabel("momentum", color=POSITIVE.light)
            second.set_ylim(0, 1)
            second.grid(visible=False)

    caption = _range("The learning rate", history.lrs)
    caption += _range(" Momentum", history.moms) if moved else " There is no momentum."
    alt = "Line chart of the learning rate" + (" and the momentum" if moved else "") + " by epoch."
    return draw("learning_rate", "Learning rate", caption, alt, paint)


def _range(what: str, values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    if low == high:
        return f"{what} is {number(low)} throughout."
    return (
        f"{what} begins at {number(values[0])}, ends at {number(values[-1])} and lies between "
        f"{number(low)} and {number(high)}."
    )
