"""Whether a probability of 0.8 is right eight times in ten.

The images are put into bins of equal width by the probability of the positive class; in each, the
mean probability is set beside the share of positive images (the reliability diagram of Niculescu-
Mizil and Caruana, "Predicting good probabilities with supervised learning", ICML 2005).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "Bin", "brier_score", "calibration_bins", "calibration_error"]

BINS = 10


@dataclass(frozen=True)
class Bin:
    """The images whose probability lies in (low, high], or [low, high] in the first bin.

    Attributes:
        low: the lower edge.
        high: the upper edge.
        count: of the images, 1 or more.
        mean_probability: of the positive class, over them.
        positive_share: of them.
    """

    low: float
    high: float
    count: int
    mean_probability: float
    positive_share: float


def calibration_bins(
    probabilities: NDArray[np.float64], positive: NDArray[np.bool_], bins: int = BINS
) -> tuple[Bin, ...]:
    """Those of `bins` bins of equal width that hold an image, in order."""
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


def calibration_error(bins: Sequence[Bin]) -> float:
    """The expected calibration error: |mean probability - positive share|, weighted by the counts.

    Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning",
    AAAI 2015; here of the positive class's probability, as there. In [0, 1], 0 is best.
    """
    total = sum(one.count for one in bins)
    return sum(one.count * abs(one.mean_probability - one.positive_share) for one in bins) / total


def brier_score(probabilities: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """The mean of (probability - label) squared. In [0, 1], 0 is best.

    Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78
    (1950), in the form for two classes.
    """
    return float(np.mean((probabilities - positive) ** 2))
