"""How far a proportion that was measured on some images can be from the true one."""

from math import sqrt

__all__ = ["wilson_interval"]

Z_95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: 95 % lie between -Z_95 and Z_95."""


def wilson_interval(successes: int, trials: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval of a binomial proportion.

    It holds for few trials too, and where all or none succeed, which the usual interval around the
    mean does not: E. B. Wilson, Journal of the American Statistical Association 22 (1927), 209-212;
    compared with others by Brown, Cai and DasGupta, Statistical Science 16 (2001), 101-133.

    Args:
        successes: in [0, `trials`].
        trials: at least 1.
        z: the quantile of the normal distribution; the default gives 95 % confidence.

    Returns:
        The lower and the upper end, in [0, 1].

    Raises:
        ValueError: the numbers are not as above.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(
            "successes must lie in [0, trials], and trials must be at least 1; got "
            f"{successes} of {trials}"
        )
    share, square = successes / trials, z * z
    centre = share + square / (2 * trials)
    margin = z * sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    scale = 1 + square / trials
    low, high = (centre - margin) / scale, (centre + margin) / scale
    return (0.0 if successes == 0 else low), (1.0 if successes == trials else high)
