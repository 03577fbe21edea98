"""Runs side by side: one row of metrics each, and the settings that differ."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

from mnist_sgd.report.facts import RUN, facts
from mnist_sgd.report.html import flatten
from mnist_sgd.report.reader import RunRecord

COLUMNS = (
    *("run", "model", "epochs", "accuracy", "errors"),
    *("valid_loss", "AUC", "seconds", "bytes"),
)

IN_TABLE = ("model", "parameters", "epochs")
"""Settings that are in the table already, or follow from one that is."""


@dataclass(frozen=True)
class Row:
    """The metrics of a run; None if unknown, as in an unfinished run.

    Attributes:
        run: name of the run, or its path if two runs have the same name.
        model: name of the model.
        epochs: number of epochs trained.
        accuracy: on the validation images, in [0, 1].
        errors: number of misclassified validation images.
        valid_loss: validation loss of the saved weights.
        auc: area under the ROC curve.
        seconds: duration of the training.
        size: of the artifact, in bytes.
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
        """Return the row for JSON, by column."""
        return dict(zip(COLUMNS, vars(self).values(), strict=True))

    def cells(self) -> list[str]:
        """Format the row; a dash stands for None."""
        forms = ("", "", ",", ".4f", ",", ".6f", ".4f", ".1f", ",")
        values = vars(self).values()
        return [
            "-" if v is None else format(v, form) for v, form in zip(values, forms, strict=True)
        ]


def compare_runs(runs: Sequence[RunRecord]) -> list[tuple[Row, RunRecord]]:
    """Sort runs by accuracy, best first; ties by loss, unfinished runs last."""
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
    """Collect the settings that differ between the runs: their values by setting and run.

    Fingerprints of sets with the same files and labels are left out: they differ only by the
    preprocessing. So is the optimizer's momentum if the first batches had the same: under a
    schedule, older versions wrote another value before a training than after it.
    """
    settings = {
        row.run: flatten(run.config["resolved"]) | flatten(_data(run), "data.")
        for row, run in pairs
    }
    keys = dict.fromkeys(key for values in settings.values() for key in values)
    parents = {key.rpartition(".")[0] for key in keys}  # groups in some runs, "none" in others
    found = {
        key: {run: values.get(key, "-") for run, values in settings.items()}
        for key in keys
        if key not in IN_TABLE and key not in parents
    }
    found = {key: values for key, values in found.items() if len(set(values.values())) > 1}
    for part in {part for _, run in pairs for part in run.config["data"]}:
        files = {values.get(f"data.{part}.files") for values in settings.values()}
        if len(files) == 1 and files != {None}:
            found.pop(f"data.{part}.fingerprint", None)
        found.pop(f"data.{part}.files", None)
    if _same_momentum(pairs):
        found.pop("optimizer.momentum", None)
    return found


def differences_in_words(pairs: Sequence[tuple[Row, RunRecord]]) -> dict[str, dict[str, str]]:
    """Collect the facts that differ between the runs: their values by fact and run."""
    drop = "momentum" if _same_momentum(pairs) else ""
    found = {row.run: facts(_without(run.config, drop), run.environment) for row, run in pairs}
    keys = dict.fromkeys(
        (group, key) for each in found.values() for group in each for key in each[group]
    )
    values = {
        key: {run: each.get(group, {}).get(key, "-") for run, each in found.items()}
        for group, key in keys
        if group != RUN
    }
    return {key: one for key, one in values.items() if len(set(one.values())) > 1}


def _without(config: Mapping[str, Any], setting: str) -> Mapping[str, Any]:
    """A run's config without one setting of its optimizer."""
    optimizer = config["resolved"].get("optimizer", {})
    kept = {key: value for key, value in optimizer.items() if key != setting}
    return {**config, "resolved": {**config["resolved"], "optimizer": kept}}


def _same_momentum(pairs: Sequence[tuple[Row, RunRecord]]) -> bool:
    return len({_first_momentum(run) for _, run in pairs} - {None}) == 1


def _first_momentum(run: RunRecord) -> float | None:
    """The momentum of a run's first batch; None if there is no batch."""
    batches = run.history.get("batches")
    moms = batches.get("momentum") if isinstance(batches, dict) else None
    first = moms[0] if isinstance(moms, list) and moms else None
    return first if isinstance(first, int | float) else None


def _data(run: RunRecord) -> dict[str, Any]:
    """A description of a run's data sets, with class names instead of counts per class."""
    return {
        part: {key: value for key, value in described.items() if key != "classes"}
        | {"classes": list(described["classes"])}
        for part, described in run.config["data"].items()
    }


def table_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Format the table for a terminal, with numbers right-aligned."""
    cells = [list(COLUMNS), *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        left = [cell.ljust(width) for cell, width in zip(line[:2], widths[:2], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(line[2:], widths[2:], strict=True)]
        yield "  ".join([*left, *right])


def difference_lines(found: dict[str, dict[str, str]]) -> Iterator[str]:
    """Format one line per fact that is not in the table: each value with its runs."""
    shown = {key: values for key, values in found.items() if key not in IN_TABLE}
    width = max(map(len, shown), default=0)
    for key, values in shown.items():
        runs: dict[str, list[str]] = {}
        for run, value in values.items():
            runs.setdefault(value, []).append(run)
        text = "; ".join(f"{value} ({', '.join(names)})" for value, names in runs.items())
        yield f"{key.ljust(width)}  {text}"
