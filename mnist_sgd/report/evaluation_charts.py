"""The charts of a model's predictions: probabilities, ROC, precision and recall, calibration.

Each curve is drawn by one function: for the report, and for `mnist-sgd evaluate --plot`.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnist_sgd._files import atomic_path
from mnist_sgd.evaluation.interval import wilson_interval
from mnist_sgd.report.chart import Chart, decimals, draw, percent
from mnist_sgd.report.palette import NEGATIVE, POSITIVE, SOFT
from mnist_sgd.report.plot_style import drawn_name, in_the_font, plot_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mnist_sgd.evaluation import Evaluation
    from mnist_sgd.report.predictions import Predictions

FEW, FEW_TO_CALIBRATE = 300, 100
"""Images below which each has a line of its own, and below which no calibration is shown."""

CORNERS = {0.02: 0.005, 0.05: 0.01, 0.1: 0.02, 0.2: 0.05}
"""Sizes of the corner of a curve that is enlarged, with the tick spacing: the smallest that holds
the threshold is used."""


def check_plot_file(path: str | os.PathLike[str]) -> None:
    """Check early that `plot_evaluation` can write this file.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: the folder does not exist.
        ValueError: the suffix is not a format that matplotlib writes.
    """
    path = Path(path)
    with plot_style():
        from matplotlib.figure import Figure

        formats = sorted(Figure().canvas.get_supported_filetypes())
    if path.suffix[1:].lower() not in formats:
        raise ValueError(f"{path}: the name must end in one of .{', .'.join(formats)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist; make it first")


def plot_evaluation(evaluation: "Evaluation", path: str | os.PathLike[str], positive: str) -> None:
    """Write the three curves side by side to a file, in the format of its suffix.

    Args:
        evaluation: metrics and curves.
        path: file to write.
        positive: name of the positive class, any text.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: the file cannot be written.
        ValueError: the suffix is not a format that matplotlib writes.
    """
    path = Path(path)
    check_plot_file(path)
    titles = (
        f"ROC, area {decimals(evaluation.auc)}",
        f"Precision and recall, average {decimals(evaluation.average_precision)}",
        f"Calibration, expected error {decimals(evaluation.expected_calibration_error)}",
    )
    with plot_style(user_fonts=True):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(13, 4.6))
        panels = figure.subplots(1, 3)
        name = drawn_name(positive)
        keeps_text = path.suffix.lower() in (".svg", ".svgz")
        _paint_roc(panels[0], evaluation)
        _paint_precision_recall(panels[1], evaluation)
        _paint_calibration(panels[2], evaluation, name if keeps_text else in_the_font(name))
        for axes, title in zip(panels, titles, strict=True):
            axes.set_title(title)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=120)


def evaluation_charts(evaluation: "Evaluation", predictions: "Predictions") -> list[Chart]:
    """Draw the charts of an evaluation, without curves that are undefined."""
    classes = predictions.dataset.classes
    charts = [_probabilities_chart(predictions)]
    if evaluation.roc is not None:
        charts.append(roc_chart(evaluation, classes))
    if evaluation.precision_recall is not None:
        charts.append(_precision_recall_chart(evaluation, classes[1]))
    return [*charts, _calibration_chart(evaluation, classes[1])]


def _probabilities_chart(predictions: "Predictions") -> Chart:
    negative, positive = predictions.dataset.classes
    labels, probabilities = predictions.dataset.labels, predictions.probabilities
    edges = np.linspace(0, 1, 41)

    def paint_ticks(axes: "Axes") -> None:
        for label, colour in ((0, NEGATIVE.light), (1, POSITIVE.light)):
            found = probabilities[labels == label]
            axes.plot(found, np.full(len(found), label), "|", color=colour, ms=24, mew=1.2)
        axes.axvline(predictions.threshold, color=SOFT.light, linestyle=":", linewidth=1.2)
        names = [f"is {drawn_name(name)}" for name in predictions.dataset.classes]
        axes.set_yticks([0, 1], names)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.6, 1.6))
        axes.set_xlabel(f"probability of {drawn_name(positive)}")

    def paint(axes: "Axes") -> None:
        for label, colour in ((0, NEGATIVE.light), (1, POSITIVE.light)):
            counts, _ = np.histogram(probabilities[labels == label], edges)
            name = f"is {drawn_name(predictions.dataset.classes[label])}"
            axes.stairs(counts, edges, baseline=0.5, color=colour, label=name, linewidth=1.8)
        axes.axvline(predictions.threshold, color=SOFT.light, linestyle=":", linewidth=1.2)
        axes.set_yscale("log")
        axes.set(xlim=(-0.01, 1.01), ylim=(0.5, None))
        axes.set(xlabel=f"probability of {drawn_name(positive)}", ylabel="images")
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.legend(loc="upper center", bbox_to_anchor=(0.28, 1))

    unsure = float(np.mean((probabilities > 0.1) & (probabilities < 0.9)))
    few = len(labels) < FEW
    caption = (
        f"{'Each line is an image' if few else 'Images'} of each class by predicted probability "
        f"of {positive}; the dotted line is the threshold. {percent(unsure)} of the images lie "
        "between 0.1 and 0.9, where the model is unsure."
    )
    alt = f"The probabilities of {positive}, of the images of {negative} and of {positive}."
    painter = paint_ticks if few else paint
    return draw("probabilities", "Probabilities", caption, alt, painter, tall=True)


def roc_chart(evaluation: "Evaluation", classes: tuple[str, str]) -> Chart:
    """Draw the ROC curve of an evaluation that has one."""
    negative, positive = classes
    recall, specificity = evaluation.recall, evaluation.specificity
    assert recall is not None  # a curve implies images of both classes
    assert specificity is not None
    caption = (
        f"The dot is the threshold {evaluation.threshold:g}: {percent(recall)} of the images of "
        f"{positive} are found, and {percent(1 - specificity)} of the images of {negative} are "
        f"mistaken for {positive}. The area under the curve is {decimals(evaluation.auc)}; 1 is "
        "perfect, 0.5 is guessing."
    )
    alt = f"ROC curve: true positive rate against false positive rate for {positive}."
    return draw(
        "roc", "ROC curve", caption, alt, lambda axes: _paint_roc(axes, evaluation), tall=True
    )


def _precision_recall_chart(evaluation: "Evaluation", positive: str) -> Chart:
    threshold, precision = f"At the threshold {evaluation.threshold:g}, ", evaluation.precision
    predicted = (
        f"{percent(precision)} of the images predicted as {positive} are {positive}. "
        if precision is not None
        else f"no image is predicted as {positive}. "
    )
    caption = (
        f"{threshold}{predicted}A higher threshold finds fewer images of {positive}, with more "
        f"certainty. The average precision is {decimals(evaluation.average_precision)}; 1 is "
        "perfect."
    )
    return draw(
        "precision_recall",
        "Precision and recall",
        caption,
        f"Curve of precision against recall for {positive}.",
        lambda axes: _paint_precision_recall(axes, evaluation),
        tall=True,
    )


def _calibration_chart(evaluation: "Evaluation", positive: str) -> Chart:
    caption = (
        f"Fraction of images that are {positive}, by predicted probability, with 95 % intervals; "
        "above, the numbers of images. Where a bar ends on the dashed line, the probabilities are "
        "exactly right. The average distance from it, the expected calibration error, is "
        f"{decimals(evaluation.expected_calibration_error)}."
    )
    return draw(
        "calibration",
        "Calibration",
        caption,
        f"Bar chart of the fraction of {positive} against the predicted probability.",
        lambda axes: _paint_calibration(axes, evaluation, drawn_name(positive)),
        tall=True,
    )


def _paint_roc(axes: "Axes", evaluation: "Evaluation") -> None:
    _frame(axes, "False positive rate", "Recall")
    roc, recall, specificity = evaluation.roc, evaluation.recall, evaluation.specificity
    if roc is None or recall is None or specificity is None:
        axes.text(0.5, 0.5, "undefined: all images are of one class", ha="center")
        return

    def paint(axes: "Axes") -> None:
        _diagonal(axes)
        axes.plot(roc.fpr, roc.tpr, color=NEGATIVE.light)
        _mark(axes, 1 - specificity, recall, evaluation.threshold)

    paint(axes)
    axes.legend(loc="lower center")
    _enlarge_corner(axes, paint, (1 - specificity, 1 - recall), at_right=False)


def _paint_precision_recall(axes: "Axes", evaluation: "Evaluation") -> None:
    _frame(axes, "Recall", "Precision")
    curve, precision, recall = evaluation.precision_recall, evaluation.precision, evaluation.recall
    if curve is None or recall is None:
        axes.text(0.5, 0.5, "undefined: no image is positive", ha="center")
        return

    def paint(axes: "Axes") -> None:
        steps = [0, *curve.recall], [curve.precision[0], *curve.precision]
        axes.step(*steps, color=NEGATIVE.light)  # the precision holds up to the recall
        if precision is not None:
            _mark(axes, recall, precision, evaluation.threshold)

    paint(axes)
    if precision is not None:
        axes.legend(loc="lower center")
    _enlarge_corner(axes, paint, (1 - recall, 1 - (precision or 0)), at_right=True)


def _paint_calibration(axes: "Axes", evaluation: "Evaluation", positive: str) -> None:
    """Draw a bar per bin, with its 95 % interval and its number of images."""
    _frame(axes, f"Probability of {positive}", f"Fraction that is {positive}")
    bins = evaluation.calibration
    total = sum(one.count for one in bins)
    if total < FEW_TO_CALIBRATE:
        text = f"{total:,} images are too few: {FEW_TO_CALIBRATE} are needed"
        axes.text(0.5, 0.5, text, ha="center")
        return
    for one in bins:
        middle, width = (one.low + one.high) / 2, 0.8 * (one.high - one.low)
        low, high = wilson_interval(round(one.positive_share * one.count), one.count)
        axes.bar(middle, one.positive_share, width, color=NEGATIVE.light, alpha=0.45)
        axes.plot([middle, middle], [low, high], color=NEGATIVE.light, linewidth=1.5)
        axes.text(middle, 1.03, f"{one.count:,}", ha="center", va="bottom", size="small")
    _diagonal(axes)


def _frame(axes: "Axes", x: str, y: str) -> None:
    axes.set(xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")


def _diagonal(axes: "Axes") -> None:
    axes.plot([0, 1], [0, 1], color=SOFT.light, linestyle="--", linewidth=1)


def _mark(axes: "Axes", x: float, y: float, threshold: float) -> None:
    label = f"threshold {threshold:g}"
    axes.plot([x], [y], "o", color=POSITIVE.light, label=label, clip_on=False)


def _enlarge_corner(
    axes: "Axes",
    paint: Callable[["Axes"], None],
    distances: tuple[float, float],
    *,
    at_right: bool,
) -> None:
    """Enlarge the upper corner that holds the threshold, in the empty part of `axes`.

    The grid and the diagonal, which the enlargement would cover, are left out. Nothing is enlarged
    if the threshold is far from the corner, or exactly in it.

    Args:
        axes: the whole curve.
        paint: draws the curve.
        distances: from the threshold to the two edges of the corner.
        at_right: whether it is the upper right corner, else the upper left one.
    """
    from matplotlib.ticker import MultipleLocator

    side = next((side for side in CORNERS if 0 < max(distances) <= 0.8 * side), None)
    if side is None:
        return
    axes.grid(visible=False)
    for line in axes.lines:
        if line.get_linestyle() == "--":
            line.remove()
    inset = axes.inset_axes((0.3, 0.24, 0.62, 0.62))
    paint(inset)
    inset.set_in_layout(False)
    left, edge = (1 - side if at_right else 0), side / 50
    inset.set(xlim=(left - edge, left + side + edge), ylim=(1 - side - edge, 1 + edge))
    for axis in (inset.xaxis, inset.yaxis):
        axis.set_major_locator(MultipleLocator(CORNERS[side]))
    inset.spines[:].set_visible(True)
