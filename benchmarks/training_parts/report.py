"""What was measured, as text: the table, the goals, and where the Learner's time goes."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from training_parts.turns import Result
from training_parts.ways import BARE, FASTAI, FLOOR, OURS

__all__ = ["GOALS", "Goal", "goals_text", "stages_text", "table"]


@dataclass(frozen=True)
class Goal:
    """Our epoch against another's: at most so many times as long."""

    other: str
    bound: float

    def ratios(self, results: Mapping[str, Result]) -> list[float]:
        """Ours by theirs, for each turn in which both were measured."""
        if self.other not in results:
            return []
        theirs = results[self.other].epochs_ms
        return [a / b for a, b in zip(results[OURS.name].epochs_ms, theirs, strict=False)]

    def met(self, ratio: float) -> bool:
        """Whether a ratio is within the bound."""
        return ratio <= self.bound


GOALS = (Goal(BARE.name, 0.9), Goal(FASTAI.name, 1 / 6))


def table(results: Mapping[str, Result]) -> str:
    """Write the medians, one way a line, and after them why one is missing."""
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


def goals_text(results: Mapping[str, Result]) -> str:
    """Write each goal with the median ratio, its range and whether it is met."""
    lines = [f"{'our epoch / theirs, turn by turn':<40}{'goal':>8}{'median':>9}  range"]
    for goal in GOALS:
        ratios = goal.ratios(results)
        head = f"{goal.other:<40}{f'<= {goal.bound:.3g}':>8}"
        if not ratios:
            lines.append(f"{head}{'-':>9}  not measured")
            continue
        ratio = statistics.median(ratios)
        verdict = "met" if goal.met(ratio) else f"MISSED by {ratio / goal.bound - 1:.0%}"
        spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
        lines.append(f"{head}{ratio:>9.3f}  {spread}  {verdict}")
    return "\n".join(lines)


def stages_text(results: Mapping[str, Result], stages: Mapping[str, float]) -> str:
    """Write torch's own share of our epoch, and the stages of a batch."""
    lines = []
    shares = [1 / ratio for ratio in Goal(FLOOR.name, 1).ratios(results)]
    if shares:
        lines.append(
            f"torch's own calls, on one batch that stays in the cache, take "
            f"{statistics.median(shares):.0%} of our epoch"
        )
    if stages:
        parts = ", ".join(f"{name} {us:.0f}" for name, us in stages.items())
        lines.append(f"a batch of ours, microseconds, median: {parts}")
    return "\n".join(lines)
