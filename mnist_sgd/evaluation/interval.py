"""The confidence interval of a measured proportion, and proportions as text."""

from math import sqrt

Z_95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: 95 % lie between -Z_95 and Z_95."""


def wilson_interval(successes: int, trials: int, z: float = Z_95) -> tuple[float, float]:
    """Compute Wilson's score interval of a binomial proportion.

    Unlike the normal approximation, it also holds for few trials and for proportions of 0 and 1:
    E. B. Wilson, Journal of the American Statistical Association 22 (1927), 209-212; compared with
    others by Brown, Cai and DasGupta, Statistical Science 16 (2001), 101-133.

    Args:
        successes: in [0, `trials`].
        trials: at least 1.
        z: quantile of the normal distribution; the default gives 95 % confidence.

    Returns:
        The lower and the upper end, in [0, 1].

    Raises:
        ValueError: a number is out of range.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(
            "successes must lie in [0, trials], and trials must be at least 1; got "
            f"{successes} of {trials}"
        )
    proportion, square = successes / trials, z * z
    centre = proportion + square / (2 * trials)
    margin = z * sqrt(proportion * (1 - proportion) / trials + square / (4 * trials * trials))
    scale = 1 + square / trials
    low, high = (centre - margin) / scale, (centre + margin) / scale
    return (0.0 if successes == 0 else low), (1.0 if successes == trials else high)


def percentages(successes: int, trials: int) -> tuple[str, str, str]:
    """Format a proportion and the ends of its 95 % interval as percentages, without the sign.

    They have one decimal from 1,000 trials on, and more if rounding would show 0 or 100: only
    exactly 0 and 1 are shown so.

    Args:
        successes: in [0, `trials`].
        trials: at least 1.

    Raises:
        ValueError: a number is out of range.
    """
    shares = (successes / max(trials, 1), *wilson_interval(successes, trials))
    for digits in range(int(trials >= 1000), 12):
        texts = [f"{100 * share:.{digits}f}" for share in shares]
        pairs = zip(shares, texts, strict=True)
        if all(share in (0, 1) or 0 < float(text) < 100 for share, text in pairs):
            break
    ends = {0.0: "0", 1.0: "100"}
    share, low, high = (ends.get(one, text) for one, text in zip(shares, texts, strict=True))
    return share, low, high
