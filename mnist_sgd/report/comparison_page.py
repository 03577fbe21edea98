"""The page that compares runs: metrics, curves, pictures one gets wrong, and differences."""

from collections.abc import Sequence
from itertools import cycle
from math import isfinite
from typing import TYPE_CHECKING

from mnist_sgd.report.chart import (
    Chart,
    draw,
    mark_whole_epochs,
    percent,
    plural,
    set_log_loss_axis,
)
from mnist_sgd.report.comparable import same_images, warnings
from mnist_sgd.report.comparison import COLUMNS, Row
from mnist_sgd.report.contest import contests
from mnist_sgd.report.facts import RUN, facts
from mnist_sgd.report.html import render
from mnist_sgd.report.palette import SERIES
from mnist_sgd.report.plot_style import drawn_name
from mnist_sgd.report.reader import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

LINE_STYLES = ("-", "--", ":")


def comparison_page(pairs: Sequence[tuple[Row, RunRecord]], left_out: Sequence[str] = ()) -> str:
    """Render the comparison as one HTML file that loads nothing.

    Args:
        pairs: from `compare_runs`, at least one.
        left_out: folders that cannot be shown, each with the reason.
    """
    runs = [run for _, run in pairs]
    names = [row.run for row, _ in pairs]
    curves = [_curves(pairs, "accuracy", "Validation accuracy"), *_losses(pairs)]
    return render(
        "comparison.html",
        title=f"Comparison of {plural(len(pairs), 'run')}",
        notes=[*warnings(runs), *(f"not shown: {each}" for each in left_out)],
        columns=COLUMNS,
        rows=[row.cells() for row, _ in pairs],
        contests=contests(pairs) if same_images(runs) else [],
        curves=[chart for chart in curves if chart],
        runs=names,
        settings=_settings(pairs),
    )


def _settings(pairs: Sequence[tuple[Row, RunRecord]]) -> list[list[str]]:
    """The facts that differ between the runs: a row for each, with the value of every run."""
    found = [facts(run.config, run.environment) for _, run in pairs]
    keys = dict.fromkeys((group, key) for each in found for group in each for key in each[group])
    rows = [
        [key, *(each.get(group, {}).get(key, "-") for each in found)]
        for group, key in keys
        if group != RUN
    ]
    return [row for row in rows if len(set(row[1:])) > 1]


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
