"""The threshold that reaches a target precision or recall at the least cost to the other."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnist_sgd.evaluation.curves import operating_points
from mnist_sgd.evaluation.inputs import validate_inputs


class ThresholdError(RuntimeError):
    """No threshold reaches the target; the message gives the best value."""


def threshold_for(
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    precision: float | None = None,
    recall: float | None = None,
) -> float:
    """Find the threshold for a target precision, or for a target recall.

    Among the thresholds that reach the target, the one with the highest recall (or precision) is
    chosen. It lies between two neighbouring probabilities, well away from both, and has few digits,
    so that rounding does not change a prediction. The result is an estimate for other images: the
    fewer images decide, the rougher.

    Args:
        probabilities: of the positive class, floats `[N]` in [0, 1], N at least 1.
        labels: `[N]`, 1 for the positive class and 0 for the other.
        precision: the lowest acceptable precision; above 0, at most 1.
        recall: the lowest acceptable recall; above 0, at most 1.

    Returns:
        In [0, 1]; images with a probability above it are predicted positive.

    Raises:
        ThresholdError: no threshold reaches the target.
        ValueError: not exactly one of precision and recall is given, an argument is out of range
            or has the wrong shape, or no image is positive.
    """
    name, target = _target(precision, recall)
    points = operating_points(*validate_inputs(probabilities, labels))
    true, false = points.true_positive, points.false_positive
    if not true[-1]:
        raise ValueError(f"a {name} needs positive images, and there are none")
    usable = (true + false > 0) & (points.thresholds >= 0)
    precisions = true / np.maximum(true + false, 1)
    recalls = true / true[-1]
    metric, other = (precisions, recalls) if name == "precision" else (recalls, precisions)
    reached = np.flatnonzero(usable & (metric >= target))
    if len(reached) == 0:
        raise ThresholdError(_shortfall(name, target, metric[usable]))
    best = reached[np.lexsort((metric[reached], other[reached]))[-1]]
    return _between(points.thresholds[best].item(), points.thresholds[best - 1].item())


def _target(precision: float | None, recall: float | None) -> tuple[str, float]:
    targets = {"precision": precision, "recall": recall}
    given = [(name, value) for name, value in targets.items() if value is not None]
    if len(given) != 1:
        raise ValueError(f"give exactly one of precision and recall, got {len(given)} of them")
    name, target = given[0]
    if not 0 < target <= 1:
        raise ValueError(f"{name} must be above 0 and at most 1, got {target}")
    return name, target


def _shortfall(name: str, target: float, reached: NDArray[np.float64]) -> str:
    best = (
        f"the best is {reached.max():.6g}" if len(reached) else "none predicts any image positive"
    )
    return f"no threshold reaches a {name} of {target} on these images; {best}"


def _between(low: float, high: float) -> float:
    """Return the shortest decimal in the middle half of [low, high), where low < high.

    The result is at least `low` and below `high`, even after rounding.
    """
    middle = low + (high - low) / 2
    for digits in range(1, 18):  # 17 digits represent any float64
        rounded = float(f"{middle:.{digits}g}")
        if low <= rounded < high and abs(rounded - middle) <= (high - low) / 4:
            return rounded
    return low
