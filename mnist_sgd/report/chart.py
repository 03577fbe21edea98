"""The charts of a report: an SVG drawing with a title and a caption."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from mnist_sgd.report.plot_style import plot_style
from mnist_sgd.report.svg import STYLE, figure_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 5.0, 3.3  # inches of 72 points: as wide as a phone, so that text stays readable


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        name: of its file, without the suffix, and of its element on the page.
        title: heading.
        caption: explanation of what the chart shows.
        svg: content of the file.
    """

    name: str
    title: str
    caption: str
    svg: str

    @property
    def inline_svg(self) -> str:
        """The drawing for a page that has the style of `svg.STYLE` already."""
        return self.svg.replace(STYLE, "").strip()


def draw(
    name: str,
    title: str,
    caption: str,
    alt: str,
    paint: Callable[["Axes"], None],
    *,
    tall: bool = False,
) -> Chart:
    """Draw a chart on new axes in the style of the report.

    Args:
        name: name of the chart.
        title: heading.
        caption: explanation.
        alt: text alternative, stored in the SVG.
        paint: draws on the axes, with the light colours of the palette.
        tall: make the figure as high as wide.
    """
    with plot_style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(WIDTH, WIDTH if tall else HEIGHT))
        paint(figure.subplots())
        return Chart(name, title, caption, figure_svg(figure, name, alt))


def mark_whole_epochs(axes: "Axes") -> None:
    """Put ticks on the x axis at whole epochs only."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epochs trained")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))


def set_log_loss_axis(axes: "Axes", values: list[float]) -> None:
    """Make the y axis logarithmic, with plain numbers, for the positive numbers in `values`."""
    from matplotlib.ticker import LogLocator

    axes.set_ylabel("loss (logarithmic)")
    good = [value for value in values if isfinite(value) and value > 0]
    if not good:
        return
    low, high = min(good), max(good)
    ratio = high / low
    axes.set_yscale("log")
    axes.set_ylim(low / 1.15, high * 1.15)
    subs = [1, 1.5, 2, 3, 4, 5, 7] if ratio < 5 else [1, 2, 5] if ratio < 1000 else [1]
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:g}")


def number(value: float, digits: int = 3) -> str:
    """Format a metric with this many significant digits."""
    return f"{value:.{digits}g}" if value == value else "undefined"


def decimals(value: float | None) -> str:
    """Format a metric with four decimals; None is undefined."""
    return "undefined" if value is None else f"{value:.4f}"


def plural(count: int, word: str) -> str:
    """`1 mistake`, `2,038 images`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def percent(share: float) -> str:
    """Format a share as a percentage with one decimal; only exactly 0 and 1 give 0 and 100 %."""
    text = f"{100 * share:.1f}"
    if share not in (0, 1):
        text = {"0.0": "under 0.1", "100.0": "over 99.9"}.get(text, text)
    return f"{text.removesuffix('.0') if share in (0, 1) else text}\N{NO-BREAK SPACE}%"
