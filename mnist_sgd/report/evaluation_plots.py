"""The charts of a model's answers: how they are spread, its curves, its calibration."""

from typing import TYPE_CHECKING

import numpy as np

from mnist_sgd.evaluation.plot import draw_calibration, draw_precision_recall, draw_roc
from mnist_sgd.report.chart import Chart, draw
from mnist_sgd.report.palette import LINE, NEGATIVE, PAPER, POSITIVE, SOFT

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

    from mnist_sgd.evaluation import Evaluation
    from mnist_sgd.report.answers import Answers

__all__ = ["evaluation_charts"]

GOOD = 0.97
"""From this area on a curve keeps to its corner, which is then also drawn larger."""

CORNER = 0.1
"""The side of the corner that is drawn larger."""


def evaluation_charts(evaluation: "Evaluation", answers: "Answers") -> list[Chart]:
    """The charts of answers and what they are worth; a curve that is not defined is left out."""
    positive = answers.dataset.classes[1]
    charts = [_spread(answers)]
    if evaluation.roc is not None:
        charts.append(_roc(evaluation, answers.dataset.classes))
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
            name = f"is {answers.dataset.classes[label]}"
            axes.stairs(counts, edges, baseline=0.5, color=colour, label=name, linewidth=1.8)
        axes.axvline(answers.threshold, color=SOFT.light, linestyle=":", linewidth=1.2)
        axes.set_yscale("log")
        axes.set_ylim(0.5, None)
        axes.set(xlim=(-0.01, 1.01), xlabel=f"probability of {positive}", ylabel="images")
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


def _roc(evaluation: "Evaluation", classes: tuple[str, str]) -> Chart:
    negative, positive = classes
    assert evaluation.recall is not None
    assert evaluation.specificity is not None

    def paint(axes: "Axes") -> None:
        draw_roc(axes, evaluation)
        _dress(axes)
        if evaluation.auc is not None and evaluation.auc >= GOOD:
            _enlarge(axes, draw_roc, evaluation, 0)

    caption = (
        f"The dot is the threshold {evaluation.threshold:g}: {evaluation.recall:.1%} of the "
        f"images of {positive} are found, and {1 - evaluation.specificity:.1%} of those of "
        f"{negative} are taken for {positive}. The area below the curve is "
        f"{_area(evaluation.auc)}; 1 is perfect, 0.5 is guessing."
    )
    alt = f"ROC curve: found images of {positive} against wrongly found ones of {negative}."
    return draw("roc", "ROC curve", caption, alt, paint, unit_square=True)


def _precision_recall(evaluation: "Evaluation", positive: str) -> Chart:
    def paint(axes: "Axes") -> None:
        draw_precision_recall(axes, evaluation)
        _dress(axes)
        if evaluation.average_precision is not None and evaluation.average_precision >= GOOD:
            _enlarge(axes, draw_precision_recall, evaluation, 1 - CORNER)

    at = (
        f"At the threshold {evaluation.threshold:g}, {evaluation.precision:.1%} of the images that "
        f"are called {positive} are rightly so. "
        if evaluation.precision is not None
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
        draw_calibration(axes, evaluation, positive)
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


def _enlarge(
    axes: "Axes", paint: "Callable[[Axes, Evaluation], None]", evaluation: "Evaluation", left: float
) -> None:
    """Draw once more, inside `axes`, the upper corner that begins at `left`, larger."""
    from matplotlib.patches import Rectangle

    inset = axes.inset_axes((0.3, 0.24, 0.62, 0.62))
    under = Rectangle(
        (0.2, 0.17), 0.74, 0.71, transform=axes.transAxes, color=PAPER.light, zorder=4
    )
    axes.add_patch(under)
    paint(inset, evaluation)
    _dress(inset)
    for line in inset.lines:
        line.set_clip_on(True)  # the threshold may have its place outside the corner
    inset.set_in_layout(False)
    inset.set(xlabel="", ylabel="")
    inset.set(xlim=(left - 0.002, left + CORNER + 0.002), ylim=(1 - CORNER - 0.002, 1.002))
    inset.spines[:].set_visible(True)
    legend = inset.get_legend()
    if legend is not None:
        legend.remove()


def _area(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"
