"""The page that compares runs: metrics, loss curves, and different settings."""

from collections.abc import Sequence
from itertools import cycle
from math import isfinite
from typing import TYPE_CHECKING

from mnist_sgd.report.chart import Chart, draw, mark_whole_epochs, plural, set_log_loss_axis
from mnist_sgd.report.comparable import warnings
from mnist_sgd.report.comparison import COLUMNS, Row, differences
from mnist_sgd.report.html import render, setting_name
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
    curves = [
        _loss_chart(pairs, "valid_loss", "Validation loss"),
        _loss_chart(pairs, "train_loss", "Training loss"),
    ]
    return render(
        "comparison.html",
        title=f"{plural(len(pairs), 'run')} side by side",
        notes=[*warnings([run for _, run in pairs]), *(f"not shown: {each}" for each in left_out)],
        columns=COLUMNS,
        rows=[row.cells() for row, _ in pairs],
        curves=[chart for chart in curves if chart],
        runs=[row.run for row, _ in pairs],
        settings=[
            [setting_name(key), *values.values()] for key, values in differences(pairs).items()
        ],
    )


def _loss_chart(pairs: Sequence[tuple[Row, RunRecord]], name: str, title: str) -> Chart | None:
    """Draw a loss of each run by epoch; None if no run has an epoch."""
    curves = {row.run: run.losses(name) for row, run in pairs}
    curves = {run: losses for run, losses in curves.items() if any(map(isfinite, losses))}
    if not curves:
        return None

    def paint(axes: "Axes") -> None:
        lines: list[Line2D] = []
        looks = cycle((colour.light, style) for style in LINE_STYLES for colour in SERIES)
        for losses, (colour, style) in zip(curves.values(), looks, strict=False):
            marker = "o" if len(losses) == 1 else ""
            places = range(1, len(losses) + 1)
            lines += axes.plot(places, losses, style, color=colour, marker=marker, markersize=5)
        mark_whole_epochs(axes)
        set_log_loss_axis(axes, [loss for losses in curves.values() for loss in losses])
        axes.legend(lines, [*map(drawn_name, curves)])  # also names that begin with "_"

    low = {run: min(filter(isfinite, losses)) for run, losses in curves.items()}
    best = min(low, key=lambda run: low[run])
    caption = f"{title} after each epoch. The lowest is that of {best}, {low[best]:.3g}."
    alt = f"Line chart of the {title.lower()} of {plural(len(curves), 'run')} by epoch."
    return draw(name, title, caption, alt, paint)
