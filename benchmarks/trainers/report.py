"""What was measured, as text: the table, the goals, and where the Learner's time goes."""

import statistics
from collections.abc import Mapping

from harness.goals import Goal

from trainers.contenders import BARE, FASTAI, FLOOR, OURS
from trainers.turns import Result

__all__ = ["goals", "stages_text", "table"]


BOUNDS = ((BARE.name, 0.9), (FASTAI.name, 1 / 6))


def goals(results: Mapping[str, Result]) -> list[Goal]:
    """Our epoch against another's: at most so many times as long."""
    return [Goal(name, bound, ratios(results, name), at_most=True) for name, bound in BOUNDS]


def ratios(results: Mapping[str, Result], other: str) -> list[float]:
    """Our epoch by another's, for each turn in which both were measured."""
    if other not in results:
        return []
    theirs = results[other].epochs_ms
    return [a / b for a, b in zip(results[OURS.name].epochs_ms, theirs, strict=False)]


def table(results: Mapping[str, Result]) -> str:
    """Write the medians, one contender a line, and after them why one is missing."""
    ours = results[OURS.name].median
    rows = [("", "ms an epoch", "lowest", "highest", "/ ours", "cpu ms", "accuracy")]
    for result in results.values():
        if result.median is None:
            continue
        rows.append(
            (
                f"{result.name} {result.version}",
                f"{result.median:.2f}",
                f"{min(result.epochs_ms):.2f}",
                f"{max(result.epochs_ms):.2f}",
                f"{result.median / ours:.2f}" if ours else "-",
                f"{statistics.median(result.cpus_ms):.2f}",
                "-" if result.accuracy is None else f"{result.accuracy:.4f}",
            )
        )
    lines = ["".join([head.ljust(24), *(cell.rjust(11) for cell in row)]) for head, *row in rows]
    lines += [f"{r.name}: {r.fault}" for r in results.values() if r.fault]
    return "\n".join(lines)


def stages_text(results: Mapping[str, Result], stages: Mapping[str, float]) -> str:
    """Write torch's own share of our epoch, and the stages of a batch."""
    lines = []
    shares = [1 / ratio for ratio in ratios(results, FLOOR.name)]
    if shares:
        lines.append(
            f"torch's own calls, on one batch that stays in the cache, take "
            f"{statistics.median(shares):.0%} of our epoch"
        )
    if stages:
        parts = ", ".join(f"{name} {us:.0f}" for name, us in stages.items())
        lines.append(f"a batch of ours, microseconds, median: {parts}")
    return "\n".join(lines)
