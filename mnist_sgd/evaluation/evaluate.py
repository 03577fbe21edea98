"""Everything that is measured of a model's answers, in one call."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mnist_sgd.evaluation.calibration import Bin, brier_score, calibration_bins, calibration_error
from mnist_sgd.evaluation.checks import checked
from mnist_sgd.evaluation.counts import Counts
from mnist_sgd.evaluation.curves import PrecisionRecallCurve, RocCurve, operating_points

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a model's probabilities are worth on labelled images.

    A share is None where it has nothing to be a share of, and a curve, with its area, where it
    lacks images of a class; see `Counts` and the curves.

    Attributes:
        threshold: a probability above it is called positive.
        counts: the confusion matrix at the threshold.
        accuracy, precision, recall, specificity, f1: at the threshold, each in [0, 1].
        roc: over all thresholds; None unless there are images of both classes.
        auc: the area below it.
        precision_recall: over all thresholds; None where there is no positive image.
        average_precision: the area below its steps.
        calibration: the bins that hold an image.
        expected_calibration_error: over the bins, in [0, 1].
        brier_score: in [0, 1].
    """

    threshold: float
    counts: Counts
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

    def as_dict(self) -> dict[str, Any]:
        """Give the same for JSON: plain numbers, all finite, in lists and dicts."""
        return asdict(self, dict_factory=_plain)


def evaluate(probabilities: ArrayLike, labels: ArrayLike, threshold: float = 0.5) -> Evaluation:
    """Measure probabilities against labels.

    Args:
        probabilities: of the positive class, floats `[N]` in [0, 1], N at least 1.
        labels: `[N]`, 1 for the positive class and 0 for the other.
        threshold: a probability above it is called positive; in [0, 1].

    Raises:
        ValueError: an argument is not as above; the message says what it is.
    """
    values, positive = checked(probabilities, labels)
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must lie in [0, 1], got {threshold}")
    counts = Counts.at(threshold, values, positive)
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
        expected_calibration_error=calibration_error(bins),
        brier_score=brier_score(values, positive),
    )


def _plain(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in items}
