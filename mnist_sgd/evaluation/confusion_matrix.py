"""The confusion matrix and the metrics that follow from it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ConfusionMatrix:
    """How many images of each class were predicted as each class.

    Attributes:
        true_negative: negative images predicted negative.
        false_positive: negative images predicted positive.
        false_negative: positive images predicted negative.
        true_positive: positive images predicted positive.
    """

    true_negative: int
    false_positive: int
    false_negative: int
    true_positive: int

    @classmethod
    def at(
        cls, threshold: float, probabilities: NDArray[np.float64], positive: NDArray[np.bool_]
    ) -> "ConfusionMatrix":
        """Count the images, with those above the threshold predicted positive."""
        predicted = probabilities > threshold
        return cls(*np.bincount(2 * positive + predicted, minlength=4).tolist())

    @property
    def matrix(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The matrix: one row per actual class, one column per predicted class, in label order."""
        return (
            (self.true_negative, self.false_positive),
            (self.false_negative, self.true_positive),
        )

    @property
    def accuracy(self) -> float:
        """The fraction of images classified correctly; there must be at least one image."""
        correct = self.true_negative + self.true_positive
        return correct / (correct + self.false_positive + self.false_negative)

    @property
    def precision(self) -> float | None:
        """The fraction of images predicted positive that are; None without such images."""
        return _ratio(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> float | None:
        """The fraction of positive images predicted positive; None without positive images."""
        return _ratio(self.true_positive, self.true_positive + self.false_negative)

    @property
    def specificity(self) -> float | None:
        """The fraction of negative images predicted negative; None without negative images."""
        return _ratio(self.true_negative, self.true_negative + self.false_positive)

    @property
    def f1(self) -> float | None:
        """The harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN).

        None if no image is positive or predicted positive.
        """
        twice = 2 * self.true_positive
        return _ratio(twice, twice + self.false_positive + self.false_negative)


def _ratio(part: int, total: int) -> float | None:
    return part / total if total else None
