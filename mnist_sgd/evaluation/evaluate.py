"""All metrics of a two-class model in one call, and the images it misclassifies."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnist_sgd.data.notebook import facts, table
from mnist_sgd.evaluation.calibration import (
    Bin,
    brier_score,
    calibration_bins,
    expected_calibration_error,
)
from mnist_sgd.evaluation.confusion_matrix import ConfusionMatrix
from mnist_sgd.evaluation.curves import PrecisionRecallCurve, RocCurve, operating_points
from mnist_sgd.evaluation.inputs import validate_inputs
from mnist_sgd.evaluation.interval import percentages


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """The metrics of a model on labelled images.

    A metric is None if its denominator is 0, and a curve with its area is None if a class that it
    needs has no images.

    Attributes:
        threshold: images with a probability above it are predicted positive.
        counts: the confusion matrix at the threshold.
        accuracy, precision, recall, specificity, f1: at the threshold, each in [0, 1].
        roc: the ROC curve; None unless both classes have images.
        auc: the area under it.
        precision_recall: the precision-recall curve; None without positive images.
        average_precision: the area under its steps.
        calibration: the non-empty bins of the reliability diagram.
        expected_calibration_error: over these bins, in [0, 1].
        brier_score: in [0, 1].
    """

    threshold: float
    counts: ConfusionMatrix
    accuracy: float
    precision: float | None
    recall: float | None
    specificity: float | None
    f1: float | None
    roc: RocCurve | None
    auc: float | None
    precision_recall: PrecisionRecallCurve | None
    average_precision: float | None
    calibration: tuple[Bin, ...]
    expected_calibration_error: float
    brier_score: float

    def __repr__(self) -> str:
        auc = "" if self.auc is None else f", auc={self.auc:.4f}"
        return f"Evaluation({self._share()}, accuracy={self.accuracy:.4f}{auc})"

    def _share(self) -> str:
        (true_negative, false_positive), (false_negative, true_positive) = self.counts.matrix
        right = true_negative + true_positive
        return f"{right:,} of {right + false_positive + false_negative:,} correct"

    def _repr_html_(self) -> str:
        """Show what matters in words, and the confusion matrix, in a notebook."""
        (true_negative, false_positive), (false_negative, true_positive) = self.counts.matrix
        right = true_negative + true_positive
        share, low, high = percentages(right, right + false_positive + false_negative)
        known = {
            "correct": f"{self._share()}, {share} % (95 % interval {low} to {high} %)",
            "area under ROC": self.auc,
            "precision": self.precision,
            "recall": self.recall,
            "calibration error": self.expected_calibration_error,
        }
        texts = {
            name: value if isinstance(value, str) else f"{value:.4f}"
            for name, value in known.items()
            if value is not None
        }
        matrix = [
            ["is negative", f"{true_negative:,}", f"{false_positive:,}"],
            ["is positive", f"{false_negative:,}", f"{true_positive:,}"],
        ]
        head = ["", "predicted negative", "predicted positive"]
        return facts(f"Evaluation at the threshold {self.threshold:g}", texts) + table(head, matrix)

    def as_dict(self) -> dict[str, Any]:
        """Return the metrics as JSON types: finite numbers, lists and dicts."""
        return asdict(self, dict_factory=_plain)


def evaluate(probabilities: ArrayLike, labels: ArrayLike, threshold: float = 0.5) -> Evaluation:
    """Compute all metrics of predicted probabilities against labels.

    Args:
        probabilities: of the positive class, floats `[N]` in [0, 1], N at least 1.
        labels: `[N]`, 1 for the positive class and 0 for the other.
        threshold: images with a probability above it are predicted positive; in [0, 1].

    Raises:
        ValueError: an argument is out of range or has the wrong shape; the message names it.
    """
    values, positive = validate_inputs(probabilities, labels)
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must lie in [0, 1], got {threshold}")
    counts = ConfusionMatrix.at(threshold, values, positive)
    points = operating_points(values, positive)
    roc, precision_recall = RocCurve.of(points), PrecisionRecallCurve.of(points)
    bins = calibration_bins(values, positive)
    return Evaluation(
        threshold=threshold,
        counts=counts,
        accuracy=counts.accuracy,
        precision=counts.precision,
        recall=counts.recall,
        specificity=counts.specificity,
        f1=counts.f1,
        roc=roc,
        auc=roc.auc if roc else None,
        precision_recall=precision_recall,
        average_precision=precision_recall.average_precision if precision_recall else None,
        calibration=bins,
        expected_calibration_error=expected_calibration_error(bins),
        brier_score=brier_score(values, positive),
    )


def _plain(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in items}


def misclassified(
    probabilities: ArrayLike, labels: ArrayLike, threshold: float = 0.5
) -> NDArray[np.intp]:
    """Return the indices of the misclassified images, the furthest from the threshold first.

    Args:
        probabilities: of class 1, floats `[N]` in [0, 1].
        labels: 0 or 1, `[N]`.
        threshold: images with a probability above it are predicted as class 1.

    Returns:
        Integers `[M]`; ties are in the order of the images.

    Raises:
        ValueError: the probabilities or the labels are out of range or of the wrong shape.
    """
    values, positive = validate_inputs(probabilities, labels)
    wrong = np.flatnonzero((values > threshold) != positive)
    return wrong[np.argsort(-np.abs(values[wrong] - threshold), kind="stable")]
