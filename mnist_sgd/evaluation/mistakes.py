"""Which images a model gets wrong."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnist_sgd.evaluation.checks import checked

__all__ = ["mistakes"]


def mistakes(
    probabilities: ArrayLike, labels: ArrayLike, threshold: float = 0.5
) -> NDArray[np.intp]:
    """The indices of the images that are called wrong, the furthest from the threshold first.

    Args:
        probabilities: of class 1, `[N]`, in [0, 1].
        labels: 0 or 1, `[N]`.
        threshold: a probability above it is called class 1.

    Returns:
        Integers `[M]`; equally far ones in the order of the images.

    Raises:
        ValueError: the probabilities or the labels are not as above.
    """
    values, positive = checked(probabilities, labels)
    wrong = np.flatnonzero((values > threshold) != positive)
    return wrong[np.argsort(-np.abs(values[wrong] - threshold), kind="stable")]
