"""What was measured, as text: a table for each number of images, and the goals."""

import os
import statistics
from collections.abc import Mapping, Sequence

from harness.goals import Goal

from loaders.catalogue import BARE, BYTES, FLOATS, LOADER, OURS, OURS_2, SMALLER, Contender
from loaders.turns import Result

__all__ = ["goals", "table"]

Results = Mapping[str, Result]

JUDGED = (12_396, 600_000)
"""Numbers of images at which the loader has goals."""
LARGEST = 12_000_000
FREE = 1.8
"""Processors that other work must leave for two threads to be judged."""


def table(images: int, results: Results) -> str:
    """Write the medians, one contender a line, and after them why one is missing."""
    ours = results[OURS.name]
    heads = ("million images/s", "lowest", "highest", "ours is")
    lines = [f"{f'{images:,} images':<46}" + "".join(f"{head:>18}" for head in heads[:1])]
    lines[0] += "".join(f"{head:>9}" for head in heads[1:])
    for result in results.values():
        if not result.rates:
            continue
        name = f"{result.name} {result.version}".rstrip()
        line = f"{name:<46}{result.median / 1e6:>18.3f}"
        line += "".join(f"{f(result.rates) / 1e6:>9.3f}" for f in (min, max))
        lines.append(
            line + (f"{ours.median / result.median:>8.2f}x" if ours.rates else "        -")
        )
    lines += [f"{r.name}: {r.best}" for r in results.values() if r.best]
    lines += [f"{r.name}: {r.fault}" for r in results.values() if r.fault]
    return "\n".join(lines)


def goals(measured: Mapping[int, Results], others: Sequence[float]) -> list[Goal]:
    """What the loader is to reach, with what was measured."""
    judged = []
    for images in JUDGED:
        results = measured.get(images, {})
        at = f", {images:,} images"
        judged += [
            Goal(f"roofline{at}", 0.9, _ratios(results, OURS, BARE)),
            Goal(f"torch's DataLoader{at}", 30, _ratios(results, OURS, LOADER)),
            Goal(f"torch, best by rows{at}", 6, _ratios(results, OURS, BYTES, FLOATS)),
            _two_threads(f"2 threads / 1 thread{at}", results, others),
        ]
    results = measured.get(LARGEST, {})
    text = f"{LARGEST:,} images / {SMALLER.images:,}"
    return [*judged, Goal(text, 0.5, _ratios(results, OURS, SMALLER))]


def _two_threads(text: str, results: Results, others: Sequence[float]) -> Goal:
    free = (os.cpu_count() or 1) * (1 - statistics.median(others))
    if free < FREE:
        remark = f"not judged: other work left {free:.1f} processors"
        return Goal(text, 1.6, [], remark=remark)
    return Goal(text, 1.6, _ratios(results, OURS_2, OURS))


def _ratios(results: Results, contender: Contender, *others: Contender) -> list[float]:
    """A contender's images a second by those of the best other, for each turn that all took."""
    names = [other.name for other in others if other.name in results and results[other.name].rates]
    if contender.name not in results or not names:
        return []
    best = map(max, zip(*(results[name].rates for name in names), strict=False))
    return [a / b for a, b in zip(results[contender.name].rates, best, strict=False)]
