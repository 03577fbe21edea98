"""An evaluation as pictures: the ROC curve, the precision-recall curve, the reliability diagram.

Each is drawn into axes of matplotlib's that the caller gives. pyplot is not used, so nothing global
is touched.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_sgd._files import atomic_path
from mnist_sgd._installed import need
from mnist_sgd.evaluation.evaluate import Evaluation
from mnist_sgd.evaluation.plot_text import drawn_name, in_the_font, plain_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "check_plot_file",
    "draw_calibration",
    "draw_precision_recall",
    "draw_roc",
    "plot_evaluation",
]


def check_plot_file(path: str | os.PathLike[str]) -> None:
    """Refuse the name of a file that `plot_evaluation` could not write, before anything is done.

    Raises:
        ImportError: matplotlib is missing.
        OSError: its folder does not exist.
        ValueError: matplotlib does not write the format that the suffix names.
    """
    need("matplotlib", "a picture of an evaluation")
    from matplotlib.figure import Figure

    path = Path(path)
    formats = sorted(Figure().canvas.get_supported_filetypes())
    if path.suffix[1:].lower() not in formats:
        raise ValueError(f"{path}: the name must end in one of .{', .'.join(formats)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist; make it first")


def plot_evaluation(evaluation: Evaluation, path: str | os.PathLike[str], positive: str) -> None:
    """Write the three pictures side by side as the file `path`, whose suffix names the format.

    Args:
        evaluation: with the curves.
        path: of the file.
        positive: the name of the positive class, any text.

    Raises:
        ImportError: matplotlib is missing.
        OSError: the file cannot be written.
        ValueError: matplotlib does not write the format.
    """
    path = Path(path)
    check_plot_file(path)
    from matplotlib.figure import Figure

    with plain_text():
        figure = Figure(figsize=(13, 4.4), layout="constrained")
        roc, precision_recall, calibration = figure.subplots(1, 3)
        draw_roc(roc, evaluation)
        draw_precision_recall(precision_recall, evaluation)
        keeps_text = path.suffix.lower() in (".svg", ".svgz")
        name = drawn_name(positive)
        draw_calibration(calibration, evaluation, name if keeps_text else in_the_font(name))
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=120)


def draw_roc(axes: "Axes", evaluation: Evaluation) -> None:
    """Draw the ROC curve, with the threshold's place on it; a sentence where there is none."""
    _frame(axes, "False positive rate", "Recall")
    counts, roc = evaluation.counts, evaluation.roc
    if roc is None or evaluation.recall is None:
        _say(axes, "ROC", "all images are of one class")
        return
    axes.set_title(f"ROC, area {roc.auc:.4f}")
    axes.plot([0, 1], [0, 1], color="0.7", linestyle="--", linewidth=1)
    axes.plot(roc.fpr, roc.tpr, color="C0")
    rate = counts.false_positive / (counts.false_positive + counts.true_negative)
    _mark(axes, rate, evaluation.recall, evaluation.threshold)


def draw_precision_recall(axes: "Axes", evaluation: Evaluation) -> None:
    """Draw the precision-recall curve, with the threshold's place on it, or a sentence."""
    _frame(axes, "Recall", "Precision")
    curve = evaluation.precision_recall
    if curve is None:
        _say(axes, "Precision and recall", "no image is positive")
        return
    axes.set_title(f"Precision and recall, average {curve.average_precision:.4f}")
    recall, precision = [0, *curve.recall], [curve.precision[0], *curve.precision]
    axes.step(recall, precision, color="C0")  # a step has its precision up to its recall
    if evaluation.precision is not None and evaluation.recall is not None:
        _mark(axes, evaluation.recall, evaluation.precision, evaluation.threshold)


def draw_calibration(axes: "Axes", evaluation: Evaluation, positive: str) -> None:
    """Draw the reliability diagram: a point a bin, the larger the more images it holds.

    Args:
        axes: to draw on.
        evaluation: with the bins.
        positive: what the positive class is called there, see `plot_text.drawn_name`.
    """
    _frame(axes, f"Probability of {positive}", f"Share that is {positive}")
    axes.set_title(f"Calibration, expected error {evaluation.expected_calibration_error:.4f}")
    axes.plot([0, 1], [0, 1], color="0.7", linestyle="--", linewidth=1)
    bins = evaluation.calibration
    total = sum(one.count for one in bins)
    axes.plot(
        [one.mean_probability for one in bins], [one.positive_share for one in bins], color="C0"
    )
    axes.scatter(
        [one.mean_probability for one in bins],
        [one.positive_share for one in bins],
        s=[20 + 180 * one.count / total for one in bins],
        color="C0",
    )


def _frame(axes: "Axes", x: str, y: str) -> None:
    axes.set(xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.grid(color="0.9")
    axes.set_axisbelow(True)


def _mark(axes: "Axes", x: float, y: float, threshold: float) -> None:
    axes.plot([x], [y], "o", color="C3", label=f"threshold {threshold:g}", clip_on=False)
    axes.legend(loc="lower center")


def _say(axes: "Axes", title: str, reason: str) -> None:
    axes.set_title(title)
    axes.text(0.5, 0.5, f"undefined: {reason}", ha="center", va="center")
