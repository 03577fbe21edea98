"""The charts of a model's answers: how they are spread, its curves, its calibration."""

from typing import TYPE_CHECKING

import numpy as np

from mnist_sgd.evaluation.plot import draw_calibration, draw_precision_recall, draw_roc
from mnist_sgd.evaluation.plot_text import drawn_name
from mnist_sgd.report.chart import Chart, draw
from mnist_sgd.report.palette import LINE, NEGATIVE, PAPER, POSITIVE, SOFT

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

    from mnist_sgd.evaluation import Evaluation
    from mnist_sgd.report.answers import Answers

__all__ = ["evaluation_charts", "roc_chart"]

CORNERS = {0.02: 0.005, 0.05: 0.01, 0.1: 0.02, 0.2: 0.05}
"""Sides of the corner of a curve that is drawn larger, the smallest that holds the threshold, with
the distance of its ticks."""


def evaluation_charts(evaluation: "Evaluation", answers: "Answers") -> list[Chart]:
    """The charts of answers and what they are worth; a curve that is not defined is left out."""
    positive = answers.dataset.classes[1]
    charts = [_spread(answers)]
    if evaluation.roc is not None:
        charts.append(roc_chart(evaluation, answers.dataset.classes))
    if evaluation.precision_recall is not None:
        charts.append(_precision_recall(evaluation, positive))
    return [*charts, _calibration(evaluation, positive)]


def _spread(answers: "Answers") -> Chart:
    negative, positive = answers.dataset.classes
    labels, probabilities = answers.dataset.labels, answers.probabilities
    edges = np.linspace(0, 1, 41)

    def paint(axes: "Axes") -> None:
        for label, colour in ((0, NEGATIVE.light), (1, POSITIVE.light)):
            counts, _ = np.histogram(probabilities[labels == label], edges)
            name = f"is {drawn_name(answers.dataset.classes[label])}"
            axes.stairs(counts, edges, baseline=0.5, color=colour, label=name, linewidth=1.8)
        axes.axvline(answers.threshold, color=SOFT.light, linestyle=":", linewidth=1.2)
        axes.set_yscale("log")
        axes.set_ylim(0.5, None)
        axes.set(
            xlim=(-0.01, 1.01), xlabel=f"probability of {drawn_name(positive)}", ylabel="images"
        )
        _plain_counts(axes)
        axes.legend(loc="upper center", bbox_to_anchor=(0.28, 1))

    unsure = float(np.mean((probabilities > 0.1) & (probabilities < 0.9)))
    caption = (
        f"How many images got which probability; the dotted line is the threshold. "
        f"{unsure:.1%} of them lie between 0.1 and 0.9, where the model is not sure."
    )
    alt = f"Histogram of the probabilities of {positive}, for images of {negative} and {positive}."
    return draw("probabilities", "Probabilities", caption, alt, paint, tall=True)


def _plain_counts(axes: "Axes") -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def roc_chart(evaluation: "Evaluation", classes: tuple[str, str]) -> Chart:
    """The ROC curve of an evaluation that has one."""
    negative, positive = classes
    recall, specificity = evaluation.recall, evaluation.specificity
    assert recall is not None  # where there is a curve, there are images of both classes
    assert specificity is not None

    def paint(axes: "Axes") -> None:
        draw_roc(axes, evaluation)
        _dress(axes)
        side = _corner(1 - specificity, 1 - recall)
        if side:
            _enlarge(axes, draw_roc, evaluation, (0, side))

    caption = (
        f"The dot is the threshold {evaluation.threshold:g}: {recall:.1%} of the "
        f"images of {positive} are found, and {1 - specificity:.1%} of those of "
        f"{negative} are taken for {positive}. The area below the curve is "
        f"{_area(evaluation.auc)}; 1 is perfect, 0.5 is guessing."
    )
    alt = f"ROC curve: found images of {positive} against wrongly found ones of {negative}."
    return draw("roc", "ROC curve", caption, alt, paint, unit_square=True)


def _precision_recall(evaluation: "Evaluation", positive: str) -> Chart:
    recall, precision = evaluation.recall, evaluation.precision
    assert recall is not None  # where there is a curve, there are positive images

    def paint(axes: "Axes") -> None:
        draw_precision_recall(axes, evaluation)
        _dress(axes)
        side = _corner(1 - recall, 1 - (precision or 0))
        if side:
            _enlarge(axes, draw_precision_recall, evaluation, (1 - side, side))

    at = (
        f"At the threshold {evaluation.threshold:g}, {precision:.1%} of the images that "
        f"are called {positive} are rightly so. "
        if precision is not None
        else f"At the threshold {evaluation.threshold:g}, no image is called {positive}. "
    )
    caption = (
        f"{at}The higher the threshold, the fewer are found and the surer each is. The average "
        f"precision is {_area(evaluation.average_precision)}; 1 is perfect."
    )
    alt = f"Curve of precision against recall for {positive}."
    return draw("precision_recall", "Precision and recall", caption, alt, paint, unit_square=True)


def _calibration(evaluation: "Evaluation", positive: str) -> Chart:
    def paint(axes: "Axes") -> None:
        draw_calibration(axes, evaluation, drawn_name(positive))
        _dress(axes)

    caption = (
        f"Of the images that got about a probability, how many are {positive}: on the dashed line "
        "the probabilities say what happens. Larger dots stand for more images. The mean distance "
        "from the line, the expected calibration error, is "
        f"{evaluation.expected_calibration_error:.4f}."
    )
    alt = f"Reliability diagram: share of {positive} against the predicted probability."
    return draw("calibration", "Calibration", caption, alt, paint, unit_square=True)


def _dress(axes: "Axes") -> None:
    """Give a drawing of the evaluation's the report's colours; its heading is in the page."""
    axes.set_title("")
    axes.grid(color=LINE.light)
    for line in axes.lines:
        if line.get_linestyle() == "--":
            line.set_color(SOFT.light)


def _corner(*distances: float) -> float | None:
    """The side of the corner to enlarge for a point so far from its edges.

    None if it is farther than any, or in the corner itself, where there is nothing to see.
    """
    farthest = max(distances)
    return next((side for side in CORNERS if 0 < farthest <= 0.8 * side), None)


def _enlarge(
    axes: "Axes",
    paint: "Callable[[Axes, Evaluation], None]",
    evaluation: "Evaluation",
    corner: tuple[float, float],
) -> None:
    """Draw once more, inside `axes`, the upper corner that begins at `corner[0]`, larger."""
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import MultipleLocator

    inset = axes.inset_axes((0.3, 0.24, 0.62, 0.62))
    under = Rectangle(
        (0.17, 0.17), 0.77, 0.71, transform=axes.transAxes, color=PAPER.light, zorder=4
    )
    axes.add_patch(under)
    paint(inset, evaluation)
    _dress(inset)
    inset.set_in_layout(False)
    inset.set(xlabel="", ylabel="")
    left, side = corner
    edge = side / 50
    inset.set(xlim=(left - edge, left + side + edge), ylim=(1 - side - edge, 1 + edge))
    for axis in (inset.xaxis, inset.yaxis):
        axis.set_major_locator(MultipleLocator(CORNERS[side]))
    inset.spines[:].set_visible(True)
    legend = inset.get_legend()
    if legend is not None:
        legend.remove()


def _area(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"
