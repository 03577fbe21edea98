"""Which pictures one of two models classifies correctly and the other does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb

from mnist_sgd.report.comparison import Row
from mnist_sgd.report.mistakes import Mistakes
from mnist_sgd.report.pictures import Picture
from mnist_sgd.report.reader import RunRecord

SHOWN = 12
"""Pictures of each side."""

SIGNIFICANT = 0.05
"""The p-value up to which a difference is not taken for chance."""


@dataclass(frozen=True)
class Side:
    """What one run gets right and the other wrong.

    Attributes:
        right, wrong: names of the runs.
        count: number of pictures.
        pictures: the first of them, with the prediction of the run that is wrong.
    """

    right: str
    wrong: str
    count: int
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Contest:
    """Two runs on the same pictures.

    Attributes:
        first, second: what each gets right and the other wrong.
        p_value: of McNemar's exact test, in [0, 1]: how likely a difference at least as large is
            if both are equally good.
    """

    first: Side
    second: Side

    @property
    def p_value(self) -> float:
        """See the attributes."""
        low = min(self.first.count, self.second.count)
        total = self.first.count + self.second.count
        tail = sum(comb(total, k) for k in range(low + 1))
        return min(1.0, float(Fraction(2 * tail, 2**total)))

    @property
    def is_chance(self) -> bool:
        """Whether the difference can be chance."""
        return self.p_value > SIGNIFICANT


def contests(pairs: Sequence[tuple[Row, RunRecord]]) -> list[Contest]:
    """Compare the best run with each of the others, where their mistakes are known.

    Args:
        pairs: from `compare_runs`, evaluated on the same pictures.
    """
    (best_row, best), *others = pairs
    return [
        Contest(
            _side(best_row.run, row.run, best.mistakes, run.mistakes),
            _side(row.run, best_row.run, run.mistakes, best.mistakes),
        )
        for row, run in others
        if best.mistakes and run.mistakes and best.mistakes.complete and run.mistakes.complete
    ]


def _side(right: str, wrong: str, ours: Mistakes, theirs: Mistakes) -> Side:
    known = set(ours.keys)
    keys = [key for key in theirs.keys if key not in known]
    shown = [theirs.pictures[key] for key in keys if key in theirs.pictures][:SHOWN]
    return Side(right, wrong, len(keys), shown)
