"""A chart of a report: a drawing, what to see on it, and what it is for who cannot see it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnist_sgd.report.svg import figure_svg, plot_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Chart", "draw", "number", "plural"]

WIDTH, HEIGHT = 5.0, 3.3  # inches of 72 points: a phone's width, so that text is not made smaller


@dataclass(frozen=True)
class Chart:
    """A drawing with its words.

    Attributes:
        name: of its file, without the suffix, and of its place in the page.
        title: its heading.
        caption: what one sees.
        svg: the file.
    """

    name: str
    title: str
    caption: str
    svg: str


def draw(
    name: str,
    title: str,
    caption: str,
    alt: str,
    paint: Callable[["Axes"], None],
    *,
    unit_square: bool = False,
    tall: bool = False,
) -> Chart:
    """Let `paint` draw on new axes, in the report's style.

    Args:
        name: of the chart, as the next two are.
        title: its heading.
        caption: what one sees.
        alt: says what is drawn, in the file.
        paint: draws with the palette's light colours.
        unit_square: whether both axes go from 0 to 1, a unit being as long on both.
        tall: whether the figure is as high as it is wide.
    """
    from matplotlib.figure import Figure

    with plot_style():
        size = (WIDTH, WIDTH if tall or unit_square else HEIGHT)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        if unit_square:
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        paint(axes)
        return Chart(name, title, caption, figure_svg(figure, name, alt))


def number(value: float, digits: int = 3) -> str:
    """A figure with so many significant digits, in plain notation where that is short."""
    return f"{value:.{digits}g}" if value == value else "not defined"


def plural(count: int, word: str) -> str:
    """`1 mistake`, `2,038 images`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"
