"""Goals as ratios that were taken turn by turn, so that the machine's drift is hardly in them."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Goal", "all_met", "goals_text"]


@dataclass(frozen=True)
class Goal:
    """A bound, and what was measured.

    Attributes:
        text: what is divided by what.
        bound: of the median of the ratios.
        ratios: one a turn; none if it was not measured.
        at_most: whether the bound is the highest that is allowed, or else the lowest.
        remark: what is to be said besides, such as why it was not measured.
    """

    text: str
    bound: float
    ratios: Sequence[float]
    at_most: bool = False
    remark: str = ""

    @property
    def median(self) -> float:
        """Of the ratios; not a number without them."""
        return statistics.median(self.ratios) if self.ratios else math.nan

    @property
    def met(self) -> bool:
        """Whether the median is within the bound."""
        return self.median <= self.bound if self.at_most else self.median >= self.bound


def all_met(goals: Sequence[Goal]) -> bool:
    """Whether all goals are met that were measured."""
    return all(goal.met for goal in goals if goal.ratios)


def goals_text(title: str, goals: Sequence[Goal]) -> str:
    """Write each goal with the median ratio, its range and whether it is met."""
    width = max(len(title), *(len(goal.text) for goal in goals)) + 2
    lines = [f"{title:<{width}}{'goal':>8}{'median':>9}  range"]
    for goal in goals:
        bound = f"{'<=' if goal.at_most else '>='} {goal.bound:.3g}"
        head = f"{goal.text:<{width}}{bound:>8}"
        if not goal.ratios:
            lines.append(f"{head}{'-':>9}  {goal.remark or 'not measured'}")
            continue
        verdict = "met" if goal.met else f"MISSED by {abs(1 - goal.median / goal.bound):.0%}"
        spread = f"{_short(min(goal.ratios))} to {_short(max(goal.ratios))}"
        said = ", ".join(filter(None, [verdict, goal.remark]))
        lines.append(f"{head}{_short(goal.median):>9}  {spread}  {said}")
    return "\n".join(lines)


def _short(ratio: float) -> str:
    return f"{ratio:.3f}" if ratio < 10 else f"{ratio:.1f}"
