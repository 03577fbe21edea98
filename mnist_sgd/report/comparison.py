"""Runs beside each other: a row of figures each, and in what their settings differ."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

from mnist_sgd.report.markup import flat
from mnist_sgd.report.reader import RunRecord

__all__ = [
    "COLUMNS",
    "Row",
    "compare_runs",
    "difference_lines",
    "differences",
    "table_lines",
]

COLUMNS = (
    *("run", "model", "epochs", "accuracy", "errors", "valid_loss", "AUC", "seconds", "bytes"),
)

SAYS_ITSELF = ("model", "parameters", "epochs")
"""Settings that the table has already, or that follow from one that it has."""


@dataclass(frozen=True)
class Row:
    """A run in figures; None where it has none, as while it is not finished.

    Attributes:
        run: its name, or its path where two have the same name.
        model: of which kind.
        epochs: that it trained for.
        accuracy: of the validation images, in [0, 1].
        errors: validation images that are called wrong.
        valid_loss: of the epoch whose weights were kept.
        auc: the area under the ROC curve.
        seconds: that its training took.
        size: of its artifact, in bytes.
    """

    run: str
    model: str
    epochs: int
    accuracy: float | None
    errors: int | None
    valid_loss: float | None
    auc: float | None
    seconds: float | None
    size: int | None

    def as_dict(self) -> dict[str, Any]:
        """The row for JSON, by the names of the columns."""
        return dict(zip(COLUMNS, vars(self).values(), strict=True))

    def cells(self) -> list[str]:
        """The row as text; a dash where there is nothing."""
        forms = ("", "", ",", ".4f", ",", ".6f", ".4f", ".1f", ",")
        values = vars(self).values()
        return [
            "-" if v is None else format(v, form) for v, form in zip(values, forms, strict=True)
        ]


def compare_runs(runs: Sequence[RunRecord]) -> list[tuple[Row, RunRecord]]:
    """The rows of runs, the most accurate first; equals by loss, unfinished ones at the end."""
    named = zip(_names(runs), runs, strict=True)
    rows = [(_row(name, run), run) for name, run in named]
    return sorted(rows, key=lambda pair: _order(pair[0]))


def _order(row: Row) -> tuple[float, float, str]:
    loss = row.valid_loss if row.valid_loss is not None and isfinite(row.valid_loss) else inf
    return (-row.accuracy if row.accuracy is not None else inf, loss, row.run)


def _names(runs: Sequence[RunRecord]) -> list[str]:
    names = [run.name for run in runs]
    return [
        name if names.count(name) == 1 else str(run.path)
        for name, run in zip(names, runs, strict=True)
    ]


def _row(name: str, run: RunRecord) -> Row:
    found = run.evaluation or {}
    return Row(
        run=name,
        model=run.config["resolved"]["model"],
        epochs=len(run.history["epochs"]),
        accuracy=found.get("accuracy"),
        errors=found.get("errors"),
        valid_loss=found.get("valid_loss"),
        auc=found.get("auc"),
        seconds=run.environment.get("training_seconds"),
        size=found.get("artefact_bytes"),
    )


def differences(pairs: Sequence[tuple[Row, RunRecord]]) -> dict[str, dict[str, str]]:
    """The settings that are not the same in all runs: their values by setting and run.

    Of sets that were made of the same files, with the same labels, the fingerprints say no more
    than the preprocessing does, and are left out. So is an optimizer's momentum if the first
    batches had the same: older versions wrote another before a training than after it, where a
    schedule sets it.
    """
    settings = {
        row.run: flat(run.config["resolved"]) | flat(_data(run), "data.") for row, run in pairs
    }
    keys = dict.fromkeys(key for values in settings.values() for key in values)
    parents = {
        key.rpartition(".")[0] for key in keys
    }  # which some runs have, and in others are none
    found = {
        key: {run: values.get(key, "-") for run, values in settings.items()}
        for key in keys
        if key not in SAYS_ITSELF and key not in parents
    }
    found = {key: values for key, values in found.items() if len(set(values.values())) > 1}
    for part in {part for _, run in pairs for part in run.config["data"]}:
        files = {values.get(f"data.{part}.files") for values in settings.values()}
        if len(files) == 1 and files != {None}:
            found.pop(f"data.{part}.fingerprint", None)
        found.pop(f"data.{part}.files", None)
    if len({_first_momentum(run) for _, run in pairs} - {None}) == 1:
        found.pop("optimizer.momentum", None)
    return found


def _first_momentum(run: RunRecord) -> float | None:
    """The momentum of a run's first batch; None before it."""
    batches = run.history.get("batches")
    moms = batches.get("momentum") if isinstance(batches, dict) else None
    first = moms[0] if isinstance(moms, list) and moms else None
    return first if isinstance(first, int | float) else None


def _data(run: RunRecord) -> dict[str, Any]:
    """The facts of a run's data sets, with the names of the classes instead of their images."""
    return {
        part: {key: value for key, value in facts.items() if key != "classes"}
        | {"classes": list(facts["classes"])}
        for part, facts in run.config["data"].items()
    }


def table_lines(rows: Sequence[Row]) -> Iterator[str]:
    """The table for a terminal: text to the left, numbers to the right."""
    cells = [list(COLUMNS), *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        left = [cell.ljust(width) for cell, width in zip(line[:2], widths[:2], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(line[2:], widths[2:], strict=True)]
        yield "  ".join([*left, *right])


def difference_lines(found: dict[str, dict[str, str]]) -> Iterator[str]:
    """A line a setting: each value with the runs that have it."""
    width = max(map(len, found), default=0)
    for key, values in found.items():
        runs: dict[str, list[str]] = {}
        for run, value in values.items():
            runs.setdefault(value, []).append(run)
        said = "; ".join(f"{value} ({', '.join(names)})" for value, names in runs.items())
        yield f"{key.ljust(width)}  {said}"
