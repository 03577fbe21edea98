"""The threshold that gives a wanted precision or recall, at the least cost to the other."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnist_sgd.evaluation.checks import checked
from mnist_sgd.evaluation.curves import operating_points

__all__ = ["ThresholdError", "threshold_for"]


class ThresholdError(RuntimeError):
    """No threshold gives what is wanted; the message says what the best is."""


def threshold_for(
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    precision: float | None = None,
    recall: float | None = None,
) -> float:
    """Find a threshold for a wanted precision, or for a wanted recall.

    Of those that reach it, the choice is that with the highest recall, or precision; it lies
    between two neighbouring probabilities, well away from both, and has few digits, so that
    neither rounding nor a reader changes what it calls. What holds on these images is an estimate
    for others: the fewer images decide, the rougher.

    Args:
        probabilities: of the positive class, floats `[N]` in [0, 1], N at least 1.
        labels: `[N]`, 1 for the positive class and 0 for the other.
        precision: the least share of those called positive that shall be; above 0, at most 1.
        recall: the least share of the positive images that shall be called so; the same.

    Returns:
        In [0, 1]; a probability above it is to be called positive.

    Raises:
        ThresholdError: no threshold reaches it.
        ValueError: not exactly one of precision and recall is given, or an argument is not as
            above, or no image is positive.
    """
    name, wanted = _wish(precision, recall)
    points = operating_points(*checked(probabilities, labels))
    true, false = points.true_positive, points.false_positive
    if not true[-1]:
        raise ValueError(f"a {name} can only be had of positive images, and there is none")
    usable = (true + false > 0) & (points.thresholds >= 0)
    precisions = true / np.maximum(true + false, 1)
    recalls = true / true[-1]
    wished, other = (precisions, recalls) if name == "precision" else (recalls, precisions)
    reached = np.flatnonzero(usable & (wished >= wanted))
    if len(reached) == 0:
        raise ThresholdError(_shortfall(name, wanted, wished[usable]))
    best = reached[np.lexsort((wished[reached], other[reached]))[-1]]
    return _between(points.thresholds[best].item(), points.thresholds[best - 1].item())


def _wish(precision: float | None, recall: float | None) -> tuple[str, float]:
    """The name and the value of the figure that is wanted.

    Raises:
        ValueError: there is not exactly one, or it is out of range.
    """
    wishes = {"precision": precision, "recall": recall}
    given = [(name, value) for name, value in wishes.items() if value is not None]
    if len(given) != 1:
        raise ValueError(f"one of precision and recall must be given, got {len(given)} of them")
    name, wanted = given[0]
    if not 0 < wanted <= 1:
        raise ValueError(f"{name} must be above 0 and at most 1, got {wanted}")
    return name, wanted


def _shortfall(name: str, wanted: float, reached: NDArray[np.float64]) -> str:
    best = f"the best is {reached.max():.6g}" if len(reached) else "none calls an image positive"
    return f"no threshold reaches a {name} of {wanted} on these images; {best}"


def _between(low: float, high: float) -> float:
    """The shortest decimal in the middle half of [low, high), where low < high.

    At least `low`, and below `high`, whatever is lost in rounding.
    """
    middle = low + (high - low) / 2
    for digits in range(1, 18):  # 17 give any float64 back
        rounded = float(f"{middle:.{digits}g}")
        if low <= rounded < high and abs(rounded - middle) <= (high - low) / 4:
            return rounded
    return low
