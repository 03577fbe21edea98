"""What was measured, as a table, and beside the goals.

Servers take turns within a round, so a ratio is taken round by round and its median is shown, with
the lowest and the highest: the machine's drift is in the rates but hardly in the ratios.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["GOALS", "Goal", "Result", "goals_text", "table"]

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
class Goal:
    """Ours against the best of some others: at least, or at most, so many times."""

    text: str
    key: str
    others: tuple[str, ...]
    bound: float
    at_most: bool = False

    def ratios(self, results: Mapping[str, Result]) -> list[float]:
        """Ours by the best other's, for each round in which both were measured."""
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

    def met(self, ratio: float) -> bool:
        """Whether a ratio is within the bound."""
        return ratio <= self.bound if self.at_most else ratio >= self.bound


_EMPTY = ("empty ASGI, uvicorn",)
GOALS = (
    Goal("p50 at 1 connection / empty application", "p50_1", _EMPTY, 1.35, at_most=True),
    Goal("requests/s at 16 / empty application", "rate_16", _EMPTY, 0.80),
    Goal("requests/s at 64 / empty application", "rate_64", _EMPTY, 0.80),
    Goal("images/s, batches / empty application", "images", _EMPTY, 0.55),
    Goal("requests/s at 16 / best of " + ", ".join(PRODUCTS), "rate_16", PRODUCTS, 10),
    Goal("requests/s at 64 / best of " + ", ".join(PRODUCTS), "rate_64", PRODUCTS, 10),
    Goal("requests/s at 16 / PyTriton", "rate_16", ("PyTriton",), 5),
    Goal("requests/s at 64 / PyTriton", "rate_64", ("PyTriton",), 5),
    Goal("requests/s at 16 / FastAPI", "rate_16", ("FastAPI, pydantic",), 4),
    Goal("requests/s at 64 / FastAPI", "rate_64", ("FastAPI, pydantic",), 4),
    Goal("images/s, batches / best peer", "images", PEERS, 5),
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


def goals_text(results: Mapping[str, Result]) -> str:
    """Write each goal with the median ratio, its range, whether it is met, and who is absent."""
    lines = [f"{'ours against theirs, round by round':<62}{'goal':>8}{'median':>9}  range"]
    for goal in GOALS:
        ratios = goal.ratios(results)
        bound = f"{'<=' if goal.at_most else '>='} {goal.bound:g}"
        if not ratios:
            lines.append(f"{goal.text:<62}{bound:>8}{'-':>9}  not measured")
            continue
        ratio = statistics.median(ratios)
        verdict = "met" if goal.met(ratio) else f"MISSED by {abs(1 - ratio / goal.bound):.0%}"
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        absent = [name for name in goal.others if name not in results or not results[name].turns]
        without = f", without {', '.join(absent)}" if absent else ""
        lines.append(f"{goal.text:<62}{bound:>8}{ratio:>9.2f}  {spread}  {verdict}{without}")
    return "\n".join(lines)
