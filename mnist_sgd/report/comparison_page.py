"""Runs beside each other on a page: their loss curves over each other, figures and settings."""

from collections.abc import Sequence
from html import escape
from itertools import cycle
from math import isfinite
from typing import TYPE_CHECKING

from mnist_sgd.evaluation.plot_text import drawn_name
from mnist_sgd.report.chart import Chart, draw, plural
from mnist_sgd.report.comparable import warnings
from mnist_sgd.report.comparison import COLUMNS, Row, differences
from mnist_sgd.report.markup import document, figure, section, table
from mnist_sgd.report.palette import SERIES
from mnist_sgd.report.reader import RunRecord
from mnist_sgd.report.training_plots import plain_log_axis, whole_epochs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

__all__ = ["comparison_page"]

STYLES = ("-", "--", ":")


def comparison_page(pairs: Sequence[tuple[Row, RunRecord]], left_out: Sequence[str] = ()) -> str:
    """One HTML file, which loads nothing.

    Args:
        pairs: as `compare_runs` gives them, at least one.
        left_out: the folders that cannot be shown, each with its reason.
    """
    title = plural(len(pairs), "run") + " beside each other"
    notes = warnings([run for _, run in pairs]) + [f"not shown: {each}" for each in left_out]
    notes = [f"<p><strong>Note:</strong> {escape(each)}.</p>" for each in notes]
    charts = [_curves(pairs, "valid_loss", "Validation loss")]
    charts.append(_curves(pairs, "train_loss", "Training loss"))
    found = differences(pairs)
    settings = [[key, *values.values()] for key, values in found.items()]
    head = ["setting", *(row.run for row, _ in pairs)]
    body = [
        f"<header><h1>{title}</h1></header>",
        *notes,
        section("figures", "Figures", [table(COLUMNS, [row.cells() for row, _ in pairs])]),
        section(
            "losses",
            "Losses",
            [f'<div class="charts">{"".join(map(figure, filter(None, charts)))}</div>'],
        ),
        section(
            "differences",
            "In what they differ",
            [
                table(
                    head,
                    [[key, *values.values()] for key, values in found.items()],
                    kind="settings",
                )
            ]
            if settings
            else ["<p>In nothing but what the table above shows.</p>"],
        ),
    ]
    return document(title, body)


def _curves(pairs: Sequence[tuple[Row, RunRecord]], name: str, title: str) -> Chart | None:
    """A loss of each run by epoch; None if no run has an epoch."""
    curves = {row.run: run.losses(name) for row, run in pairs}
    curves = {run: losses for run, losses in curves.items() if any(map(isfinite, losses))}
    if not curves:
        return None

    def paint(axes: "Axes") -> None:
        lines: list[Line2D] = []
        looks = cycle((colour.light, style) for style in STYLES for colour in SERIES)
        for losses, (colour, style) in zip(curves.values(), looks, strict=False):
            marks = {"marker": "o", "markersize": 5} if len(losses) == 1 else {}
            places = range(1, len(losses) + 1)
            lines += axes.plot(places, losses, style, color=colour, **marks)  # type: ignore[arg-type]
        axes.set(xlabel="epochs trained", ylabel="loss (logarithmic)")
        whole_epochs(axes)
        plain_log_axis(axes, [loss for losses in curves.values() for loss in losses])
        axes.legend(lines, [*map(drawn_name, curves)])  # also names that begin with "_"

    low = {run: min(filter(isfinite, losses)) for run, losses in curves.items()}
    best = min(low, key=lambda run: low[run])
    caption = f"{title} after each epoch. The lowest is that of {best}, {low[best]:.3g}."
    alt = f"Line chart of the {title.lower()} of {plural(len(curves), 'run')} by epoch."
    return draw(name, title, caption, alt, paint)
