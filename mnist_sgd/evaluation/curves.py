"""The ROC curve, the precision-recall curve, and the areas under them.

Each curve has one point per set of images that some threshold predicts positive: the empty set, and
one more per distinct probability, since equal probabilities cannot be told apart. Definitions:
Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters 27 (2006); Davis and
Goadrich, "The relationship between precision-recall and ROC curves", ICML 2006.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Points:
    """The operating points: how many images each distinct threshold predicts positive.

    Attributes:
        thresholds: float64 `[K + 1]`, decreasing, for K distinct probabilities: these, and a last
            one below them all.
        true_positive: int64 `[K + 1]`, positive images above each threshold; from 0 to all.
        false_positive: int64 `[K + 1]`, negative images above each threshold; from 0 to all.
    """

    thresholds: NDArray[np.float64]
    true_positive: NDArray[np.int64]
    false_positive: NDArray[np.int64]


def operating_points(probabilities: NDArray[np.float64], positive: NDArray[np.bool_]) -> Points:
    """Count true and false positives at every threshold, in O(N log N).

    The last threshold is 0, or -1 if a probability is 0.
    """
    order = np.argsort(-probabilities, kind="stable")
    decreasing = probabilities[order]
    ends = np.append(np.flatnonzero(np.diff(decreasing)), len(decreasing) - 1)  # of equal ones
    true_positive = np.append(0, np.cumsum(positive[order])[ends])
    predicted = np.append(0, ends + 1)
    below = 0.0 if decreasing[-1] > 0 else -1.0
    return Points(np.append(decreasing[ends], below), true_positive, predicted - true_positive)


@dataclass(frozen=True, eq=False)
class RocCurve:
    """True positive rate against false positive rate, from (0, 0) to (1, 1).

    Attributes:
        fpr: float64 `[K + 1]`, increasing; the false positive rate, 1 - specificity.
        tpr: float64 `[K + 1]`, increasing; the true positive rate, which is the recall.
        thresholds: float64 `[K + 1]`, decreasing; images above each are predicted positive. The
            last is below every probability: 0, or -1 if a probability is 0.
        auc: the area under the curve (trapezoids): the probability that a positive image has a
            higher probability than a negative one, ties counting one half. In [0, 1].
    """

    fpr: NDArray[np.float64]
    tpr: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    auc: float

    @classmethod
    def of(cls, points: Points) -> "RocCurve | None":
        """Return the curve through the points; None unless both classes have images."""
        true, false = points.true_positive, points.false_positive
        if not (true[-1] and false[-1]):
            return None
        doubled = np.sum(np.diff(false) * (true[1:] + true[:-1]))  # integers, hence exact
        auc = int(doubled) / (2 * int(true[-1]) * int(false[-1]))
        return cls(false / false[-1], true / true[-1], points.thresholds, auc)


@dataclass(frozen=True, eq=False)
class PrecisionRecallCurve:
    """Precision against recall, from the first image predicted positive on.

    Attributes:
        precision: float64 `[K]`, in [0, 1].
        recall: float64 `[K]`, increasing to 1.
        thresholds: float64 `[K]`, decreasing; those of `RocCurve` without the first.
        average_precision: the area under the steps: the sum of each increase in recall times the
            precision there. In [0, 1].
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    average_precision: float

    @classmethod
    def of(cls, points: Points) -> "PrecisionRecallCurve | None":
        """Return the curve through the points; None without positive images."""
        true, false = points.true_positive, points.false_positive
        if not true[-1]:
            return None
        precision = true[1:] / (true[1:] + false[1:])
        average = float(np.sum(np.diff(true) * precision)) / int(true[-1])
        return cls(precision, true[1:] / true[-1], points.thresholds[1:], average)
