"""What was measured, as a table, and beside the goals.

Servers take turns within a round, so a ratio is taken round by round and its median is shown, with
the lowest and the highest: the machine's drift is in the rates but hardly in the ratios.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from harness.goals import Goal

__all__ = ["Result", "goals", "table"]

Turn = Mapping[str, float]

PRODUCTS = ("MLServer", "KServe", "LitServe")
PEERS = (*PRODUCTS, "PyTriton", "FastAPI, pydantic", "BentoML", "Ray Serve")
COLUMNS = (
    ("1", "rate_1", 0),
    ("p50 us", "p50_1", 0),
    ("16", "rate_16", 0),
    ("p99 us", "p99_16", 0),
    ("64", "rate_64", 0),
    ("p99 us", "p99_64", 0),
    ("cpu us", "cpu_64", 0),
    ("images/s", "images", 0),
    ("start s", "start", 2),
    ("MB", "megabytes", 0),
    ("proc.", "processes", 0),
    ("failed", "failed", 0),
)


@dataclass
class Result:
    """A server's turns, one for each round, and why there are no more of them."""

    name: str
    payload: str
    turns: dict[int, Turn]
    fault: str = ""

    def median(self, key: str) -> float | None:
        """The median of a figure over the rounds, if it was measured."""
        values = [turn[key] for turn in self.turns.values() if key in turn]
        return statistics.median(values) if values else None


@dataclass(frozen=True)
class Aim:
    """Ours against the best of some others: at least, or at most, so many times."""

    text: str
    key: str
    others: tuple[str, ...]
    bound: float
    at_most: bool = False

    def goal(self, results: Mapping[str, Result]) -> Goal:
        """The ratios of the rounds in which both were measured, and who is absent."""
        absent = [name for name in self.others if name not in results or not results[name].turns]
        remark = f"without {', '.join(absent)}" if absent else ""
        return Goal(self.text, self.bound, self._ratios(results), self.at_most, remark)

    def _ratios(self, results: Mapping[str, Result]) -> list[float]:
        best = min if self.at_most else max
        ratios = []
        for number, turn in results["mnist_sgd"].turns.items():
            others = [
                results[name].turns[number][self.key]
                for name in self.others
                if name in results and number in results[name].turns
            ]
            if others:
                ratios.append(turn[self.key] / best(others))
        return ratios


_EMPTY = ("empty ASGI, uvicorn",)
AIMS = (
    Aim("p50 at 1 connection / empty application", "p50_1", _EMPTY, 1.35, at_most=True),
    Aim("requests/s at 16 / empty application", "rate_16", _EMPTY, 0.80),
    Aim("requests/s at 64 / empty application", "rate_64", _EMPTY, 0.80),
    Aim("images/s, batches / empty application", "images", _EMPTY, 0.55),
    Aim("requests/s at 16 / best of " + ", ".join(PRODUCTS), "rate_16", PRODUCTS, 10),
    Aim("requests/s at 64 / best of " + ", ".join(PRODUCTS), "rate_64", PRODUCTS, 10),
    Aim("requests/s at 16 / PyTriton", "rate_16", ("PyTriton",), 5),
    Aim("requests/s at 64 / PyTriton", "rate_64", ("PyTriton",), 5),
    Aim("requests/s at 16 / FastAPI", "rate_16", ("FastAPI, pydantic",), 4),
    Aim("requests/s at 64 / FastAPI", "rate_64", ("FastAPI, pydantic",), 4),
    Aim("images/s, batches / best peer", "images", PEERS, 5),
)


def table(results: Mapping[str, Result]) -> str:
    """Write the medians, one server a line, and after them why a figure is missing."""
    heads = ["requests/s at", "", *(head for head, _, _ in COLUMNS)]
    rows = [heads, *([r.name, r.payload, *_cells(r)] for r in results.values() if r.turns)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines = []
    for row in rows:
        left = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  ".join(left + right).rstrip())
    lines += [f"{r.name}: {r.fault}" for r in results.values() if r.fault]
    return "\n".join(lines)


def _cells(result: Result) -> list[str]:
    medians = [(result.median(key), digits) for _, key, digits in COLUMNS]
    return ["-" if value is None else f"{value:,.{digits}f}" for value, digits in medians]


def goals(results: Mapping[str, Result]) -> list[Goal]:
    """The aims with what was measured."""
    return [aim.goal(results) for aim in AIMS]
