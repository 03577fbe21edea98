"""The page that compares runs: metrics, curves, pictures one gets wrong, and differences."""

import os
from collections.abc import Sequence
from itertools import cycle
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from mnist_sgd.evaluation.interval import percentages
from mnist_sgd.report.chart import (
    Chart,
    draw,
    mark_whole_epochs,
    percent,
    plural,
    set_log_loss_axis,
)
from mnist_sgd.report.comparable import OTHER_LOSSES, same_images, warnings
from mnist_sgd.report.comparison import Row, differences_in_words
from mnist_sgd.report.contest import Contest, contests
from mnist_sgd.report.folder import REPORT
from mnist_sgd.report.html import render
from mnist_sgd.report.palette import SERIES
from mnist_sgd.report.plot_style import drawn_name
from mnist_sgd.report.reader import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

LINE_STYLES = ("-", "--", ":")


COLUMNS = (
    *("run", "model", "epochs", "accuracy", "95 % interval", "errors"),
    *("AUC", "training, s", "model, kB"),
)


def comparison_page(
    pairs: Sequence[tuple[Row, RunRecord]], left_out: Sequence[str] = (), place: Path | None = None
) -> str:
    """Render the comparison as one HTML file that loads nothing.

    Args:
        pairs: from `compare_runs`, at least one.
        left_out: folders that cannot be shown, each with the reason.
        place: the folder of the page, from which it links to the reports; None: no links.
    """
    runs = [run for _, run in pairs]
    notes = [*warnings(runs), *(f"not shown: {each}" for each in left_out)]
    between = contests(pairs) if same_images(runs) else []
    curves = [_curves(pairs, "accuracy", "Validation accuracy"), *_losses(pairs)]
    return render(
        "comparison.html",
        title=f"Comparison of {plural(len(pairs), 'run')}",
        verdict=_verdict(pairs, between) if same_images(runs) else "",
        notes=[note for note in notes if note != OTHER_LOSSES],
        loss_note=OTHER_LOSSES if OTHER_LOSSES in notes else "",
        columns=COLUMNS,
        rows=[_cells(row, run) for row, run in pairs],
        reports=[] if place is None else _reports(pairs, place),
        contests=between,
        curves=[chart for chart in curves if chart],
        runs=[row.run for row, _ in pairs],
        settings=[[key, *one.values()] for key, one in differences_in_words(pairs).items()],
    )


def _verdict(pairs: Sequence[tuple[Row, RunRecord]], between: Sequence[Contest]) -> str:
    """Which run to take, and how sure that is; "" if no run was evaluated."""
    (best, run), *others = pairs
    if best.accuracy is None:
        return ""
    known = _percentages(best, run)
    said = f"{best.run} is the most accurate, {known[0]}\N{NO-BREAK SPACE}%" if known else ""
    said = said or f"{best.run} is the most accurate, {percent(best.accuracy)}"
    said += f" (95 % interval {known[1]} to {known[2]}\N{NO-BREAK SPACE}%)." if known else "."
    if not others:
        return said
    maybe = [one.first.wrong for one in between if one.is_chance]
    if len(between) < len(others):
        return said
    if maybe:
        return f"{said} But {' and '.join(maybe)} may be as good: the difference can be chance."
    return f"{said} Its lead over the {'others' if others[1:] else 'other'} is more than chance."


def _percentages(row: Row, run: RunRecord) -> tuple[str, str, str] | None:
    """The accuracy and the ends of its interval in percent; None if unknown."""
    images = (run.evaluation or {}).get("images")
    if not images or row.accuracy is None:
        return None
    return percentages(round(row.accuracy * images), images)


def _cells(row: Row, run: RunRecord) -> list[str]:
    """A row of the table; a dash stands for what is unknown."""
    known = _percentages(row, run)
    accuracy = f"{known[0]} %" if known else "-" if row.accuracy is None else percent(row.accuracy)
    return [
        row.run,
        row.model,
        f"{row.epochs:,}",
        accuracy,
        f"{known[1]} to {known[2]} %" if known else "-",
        "-" if row.errors is None else f"{row.errors:,}",
        "-" if row.auc is None else f"{row.auc:.4f}",
        "-" if row.seconds is None else f"{row.seconds:.1f}",
        "-" if row.size is None else f"{row.size / 1000:,.1f}",
    ]


def _reports(pairs: Sequence[tuple[Row, RunRecord]], place: Path) -> list[tuple[str, str]]:
    """The name of each run that has a report, and the address of that."""
    reports = {row.run: run.path / REPORT for row, run in pairs}
    return [
        (run, quote(os.fsencode(os.path.relpath(report, place))))
        for run, report in reports.items()
        if report.is_file()
    ]


def _losses(pairs: Sequence[tuple[Row, RunRecord]]) -> list[Chart | None]:
    """The curves of the losses, unless these are different functions."""
    if len({run.config["resolved"]["loss"] for _, run in pairs}) > 1:
        return []
    return [
        _curves(pairs, "valid_loss", "Validation loss"),
        _curves(pairs, "train_loss", "Training loss"),
    ]


def _curves(pairs: Sequence[tuple[Row, RunRecord]], name: str, title: str) -> Chart | None:
    """Draw a number of each run by epoch; None if no run has it."""
    is_loss = name.endswith("loss")
    curves = {row.run: run.curve(_column(run, name)) for row, run in pairs}
    curves = {run: values for run, values in curves.items() if any(map(isfinite, values))}
    if not curves:
        return None

    def paint(axes: "Axes") -> None:
        lines: list[Line2D] = []
        looks = cycle((colour.light, style) for style in LINE_STYLES for colour in SERIES)
        for values, (colour, style) in zip(curves.values(), looks, strict=False):
            marker = "o" if len(values) == 1 else ""
            places = range(1, len(values) + 1)
            lines += axes.plot(places, values, style, color=colour, marker=marker, markersize=5)
        mark_whole_epochs(axes)
        if is_loss:
            set_log_loss_axis(axes, [one for values in curves.values() for one in values])
        else:
            axes.set_ylabel(name)
        axes.legend(lines, [*map(drawn_name, curves)])  # also names that begin with "_"

    choose = min if is_loss else max
    ends = {run: choose(filter(isfinite, values)) for run, values in curves.items()}
    best = choose(ends, key=lambda run: ends[run])
    which, value = ("lowest", f"{ends[best]:.3g}") if is_loss else ("highest", percent(ends[best]))
    caption = f"{title} after each epoch. The {which} is that of {best}, {value}."
    alt = f"Line chart of the {title.lower()} of {plural(len(curves), 'run')} by epoch."
    return draw(name, title, caption, alt, paint)


def _column(run: RunRecord, name: str) -> str:
    """The column of a run's history: the first accuracy, whatever its name, or a loss."""
    names = run.history["epochs"][0] if run.history["epochs"] else {}
    return next((each for each in names if name in each), name)
