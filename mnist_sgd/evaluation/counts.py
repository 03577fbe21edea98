"""The confusion matrix and the figures that are shares of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Counts"]


@dataclass(frozen=True)
class Counts:
    """How many images of each class were called each class.

    Attributes:
        true_negative: negative images called negative.
        false_positive: negative images called positive.
        false_negative: positive images called negative.
        true_positive: positive images called positive.
    """

    true_negative: int
    false_positive: int
    false_negative: int
    true_positive: int

    @classmethod
    def at(
        cls, threshold: float, probabilities: NDArray[np.float64], positive: NDArray[np.bool_]
    ) -> "Counts":
        """Count where the probabilities above the threshold are called positive."""
        called = probabilities > threshold
        table = np.bincount(2 * positive + called, minlength=4)
        return cls(*table.tolist())

    @property
    def matrix(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The confusion matrix: a row a class in label order, a column a call."""
        return (
            (self.true_negative, self.false_positive),
            (self.false_negative, self.true_positive),
        )

    @property
    def accuracy(self) -> float:
        """The share of the images, of which there must be one, that are called right."""
        right = self.true_negative + self.true_positive
        return right / (right + self.false_positive + self.false_negative)

    @property
    def precision(self) -> float | None:
        """The share of those called positive that are; None where none is called so."""
        return _share(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> float | None:
        """The share of the positive images that are called so; None where there is none."""
        return _share(self.true_positive, self.true_positive + self.false_negative)

    @property
    def specificity(self) -> float | None:
        """The share of the negative images that are called so; None where there is none."""
        return _share(self.true_negative, self.true_negative + self.false_positive)

    @property
    def f1(self) -> float | None:
        """The harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN).

        None where no image is positive and none is called so.
        """
        twice = 2 * self.true_positive
        return _share(twice, twice + self.false_positive + self.false_negative)


def _share(part: int, whole: int) -> float | None:
    """`part / whole`, or None where there is no whole."""
    return part / whole if whole else None
