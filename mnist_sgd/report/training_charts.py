"""The charts of a training: losses, learning rate and momentum."""

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING

from mnist_sgd.report.chart import (
    Chart,
    draw,
    mark_whole_epochs,
    number,
    percent,
    plural,
    set_log_loss_axis,
)
from mnist_sgd.report.history import History
from mnist_sgd.report.palette import INK, NEGATIVE, POSITIVE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_POINTS = 2000
"""Points per line; a longer history is thinned out."""


OVERFITTING = 0.02
"""Difference of the accuracies on training and validation images that is pointed out."""


def training_charts(
    history: History, training_correct: tuple[int, int] | None = None
) -> list[Chart]:
    """Draw the charts of a history; none if it has no batch.

    Args:
        history: of the training.
        training_correct: number of training images that the saved model classifies correctly, and
            of those measured.
    """
    if not history.losses:
        return []
    accuracy = [name for name in history.names if "accuracy" in name][: bool(history.epochs)]
    charts = [_accuracy_chart(history, name, training_correct) for name in accuracy]
    return [_loss_chart(history), *charts, _rate_chart(history)]


def epoch_axis(history: History) -> list[float]:
    """Convert batch numbers to epochs: how many epochs were done at the end of each batch."""
    bounds = list(pairwise([0, *history.ends]))
    if history.ends and len(history.losses) > history.ends[-1]:  # the last epoch was left early
        size = max((b - a for a, b in bounds), default=1)
        bounds.append((history.ends[-1], history.ends[-1] + size))
    bounds = bounds or [(0, len(history.losses))]
    places = [e + (i + 1) / (b - a) for e, (a, b) in enumerate(bounds) for i in range(b - a)]
    return places[: len(history.losses)]


def _loss_chart(history: History) -> Chart:
    places = epoch_axis(history)
    thin = slice(None, None, -(-len(places) // MAX_POINTS))
    valid = history.column("valid_loss")

    def paint(axes: "Axes") -> None:
        axes.plot(places[thin], history.losses[thin], color=NEGATIVE.light, label="training")
        marker = "o" if len(valid) <= 40 else ""
        ends = range(1, len(valid) + 1)
        axes.plot(
            ends, valid, color=POSITIVE.light, label="validation", marker=marker, markersize=4
        )
        mark_whole_epochs(axes)
        set_log_loss_axis(axes, [*history.losses, *valid])
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


def _accuracy_chart(history: History, name: str, training_correct: tuple[int, int] | None) -> Chart:
    valid = history.column(name)
    trained = None if training_correct is None else training_correct[0] / training_correct[1]

    def paint(axes: "Axes") -> None:
        marker = "o" if len(valid) <= 40 else ""
        ends = range(1, len(valid) + 1)
        axes.plot(
            ends, valid, color=POSITIVE.light, label="validation", marker=marker, markersize=4
        )
        if trained is not None:
            axes.axhline(trained, color=NEGATIVE.light, ls="--", label="training, saved model")
        mark_whole_epochs(axes)
        lowest = min(filter(isfinite, [*valid, trained or 1.0]), default=0.0)
        axes.set(ylabel="accuracy", ylim=(max(0.0, lowest - 0.1 * (1 - lowest) - 0.002), 1.002))
        axes.legend(loc="lower right")

    caption = (
        f"Accuracy on the validation images after each epoch; it ends at {percent(valid[-1])}."
    )
    if training_correct is not None and trained is not None:
        caption += (
            f" The saved model classifies {percent(trained)} of {training_correct[1]:,} training "
            "images correctly."
        )
        if trained - valid[-1] > OVERFITTING:
            caption += (
                " That is much more than of the validation images: it has learned the training "
                "images by heart. More images help, or fewer epochs."
            )
    alt = f"Line chart of the validation accuracy over {plural(len(valid), 'epoch')}."
    return draw("accuracy", "Accuracy", caption, alt, paint)


def _rate_chart(history: History) -> Chart:
    places = epoch_axis(history)
    thin = slice(None, None, -(-len(places) // MAX_POINTS))
    has_momentum = max(history.moms) > 0

    def paint(axes: "Axes") -> None:
        axes.plot(places[thin], history.lrs[thin], color=INK.light, label="learning rate")
        mark_whole_epochs(axes)
        axes.set(ylabel="learning rate", ylim=(0, max(history.lrs) * 1.08 or 1))
        if has_momentum:
            second = axes.twinx()
            second.plot(places[thin], history.moms[thin], color=POSITIVE.light, ls="--")
            second.set_ylabel("momentum", color=POSITIVE.light)
            second.set_ylim(0, 1)
            second.grid(visible=False)

    caption = _range("The learning rate", history.lrs)
    caption += _range(" Momentum", history.moms) if has_momentum else " There is no momentum."
    what = "learning rate and the momentum" if has_momentum else "learning rate"
    alt = f"Line chart of the {what} by epoch."
    return draw("learning_rate", "Learning rate", caption, alt, paint)


def _range(what: str, values: Sequence[float]) -> str:
    """Describe a curve by its turning points."""
    turns = [values[0], min(values), max(values), values[-1]]
    if values.index(min(values)) > values.index(max(values)):
        turns[1:3] = turns[2:0:-1]
    path = [turn for turn, before in zip(turns, [None, *turns], strict=False) if turn != before]
    if len(path) == 1:
        return f"{what} is {number(path[0])} throughout."
    return f"{what} goes from {' to '.join(map(number, path))}."
