"""The ROC curve, the precision-recall curve and the areas below them.

Both have a point for every set of images that a threshold can call positive: one where none is, and
one more for each different probability, as equal ones can only be called alike. Definitions:
Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters 27 (2006); Davis and
Goadrich, "The relationship between precision-recall and ROC curves", ICML 2006.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Points", "PrecisionRecallCurve", "RocCurve", "operating_points"]


@dataclass(frozen=True, eq=False)
class Points:
    """What each threshold that makes a difference calls positive.

    Attributes:
        thresholds: float64 `[K + 1]`, falling, for K different probabilities: these, and last one
            below them all. Above the first there is none.
        true_positive: int64 `[K + 1]`, positive images above each threshold; from 0 to all.
        false_positive: int64 `[K + 1]`, negative images above each threshold; from 0 to all.
    """

    thresholds: NDArray[np.float64]
    true_positive: NDArray[np.int64]
    false_positive: NDArray[np.int64]


def operating_points(probabilities: NDArray[np.float64], positive: NDArray[np.bool_]) -> Points:
    """Count at every threshold, in the time that sorting takes.

    The last threshold is 0 or, where a probability is 0 and nothing in [0, 1] lies below it, -1.
    """
    order = np.argsort(-probabilities, kind="stable")
    falling = probabilities[order]
    ends = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)  # of equal ones
    true_positive = np.append(0, np.cumsum(positive[order])[ends])
    called = np.append(0, ends + 1)
    below = 0.0 if falling[-1] > 0 else -1.0
    return Points(np.append(falling[ends], below), true_positive, called - true_positive)


@dataclass(frozen=True, eq=False)
class RocCurve:
    """Recall against the share of negatives that are called positive, from (0, 0) to (1, 1).

    Attributes:
        fpr: float64 `[K + 1]`, rising; the false positive rate, 1 less the specificity.
        tpr: float64 `[K + 1]`, rising; the true positive rate, which is the recall.
        thresholds: float64 `[K + 1]`, falling; the images above each are called positive. The last
            is below every probability: 0, or -1 where a probability is 0.
        auc: the area below the curve, by trapezoids: the probability that a positive image has a
            higher probability than a negative one, where equal ones count a half. In [0, 1].
    """

    fpr: NDArray[np.float64]
    tpr: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    auc: float

    @classmethod
    def of(cls, points: Points) -> "RocCurve | None":
        """The curve through the points; None unless there are images of both classes."""
        true, false = points.true_positive, points.false_positive
        if not (true[-1] and false[-1]):
            return None
        doubled = np.sum(np.diff(false) * (true[1:] + true[:-1]))  # whole numbers: nothing is lost
        auc = int(doubled) / (2 * int(true[-1]) * int(false[-1]))
        return cls(false / false[-1], true / true[-1], points.thresholds, auc)


@dataclass(frozen=True, eq=False)
class PrecisionRecallCurve:
    """Precision against recall. It begins where the first image is called positive.

    Attributes:
        precision: float64 `[K]`, in [0, 1].
        recall: float64 `[K]`, rising to 1.
        thresholds: float64 `[K]`, falling; as in `RocCurve`, without its first.
        average_precision: below the curve's steps, the sum of each rise in recall times the
            precision there. In [0, 1].
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    average_precision: float

    @classmethod
    def of(cls, points: Points) -> "PrecisionRecallCurve | None":
        """The curve through the points; None where there is no positive image."""
        true, false = points.true_positive, points.false_positive
        if not true[-1]:
            return None
        precision = true[1:] / (true[1:] + false[1:])
        average = float(np.sum(np.diff(true) * precision)) / int(true[-1])
        return cls(precision, true[1:] / true[-1], points.thresholds[1:], average)
