"""Calibration: whether a probability of 0.8 is right eight times out of ten.

Images are grouped by predicted probability into bins of equal width. In each bin the mean
probability is compared with the fraction of positive images (reliability diagram: Niculescu-Mizil
and Caruana, "Predicting good probabilities with supervised learning", ICML 2005).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 10


@dataclass(frozen=True)
class Bin:
    """The images with a probability in (low, high], or in [low, high] for the first bin.

    Attributes:
        low: lower edge.
        high: upper edge.
        count: number of images, 1 or more.
        mean_probability: mean predicted probability of the positive class.
        positive_share: fraction of the images that are positive.
    """

    low: float
    high: float
    count: int
    mean_probability: float
    positive_share: float


def calibration_bins(
    probabilities: NDArray[np.float64], positive: NDArray[np.bool_], bins: int = BINS
) -> tuple[Bin, ...]:
    """Group the images into `bins` bins of equal width; return the non-empty ones in order."""
    edges = np.linspace(0, 1, bins + 1)
    index = np.searchsorted(edges[1:-1], probabilities)
    counts = np.bincount(index, minlength=bins)
    sums = np.bincount(index, weights=probabilities, minlength=bins)
    positives = np.bincount(index, weights=positive, minlength=bins)
    return tuple(
        Bin(
            float(edges[i]),
            float(edges[i + 1]),
            int(counts[i]),
            float(sums[i] / counts[i]),
            float(positives[i] / counts[i]),
        )
        for i in np.flatnonzero(counts)
    )


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Average |mean probability - fraction of positives| over the bins, weighted by their counts.

    Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning",
    AAAI 2015; for the probability of the positive class, as there. In [0, 1], 0 is best.
    """
    total = sum(one.count for one in bins)
    return sum(one.count * abs(one.mean_probability - one.positive_share) for one in bins) / total


def brier_score(probabilities: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Compute the mean of (probability - label) squared. In [0, 1], 0 is best.

    Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78
    (1950), in its two-class form.
    """
    return float(np.mean((probabilities - positive) ** 2))
