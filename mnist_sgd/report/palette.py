"""The colours of charts, each for light and for dark mode: those of the pages' theme.

`mnist_sgd_serve/page/theme.css` defines them once, for the server's page, for reports and for
charts.
"""

import re
from dataclasses import dataclass
from importlib.resources import files

THEME = files("mnist_sgd_serve").joinpath("page", "theme.css").read_text("utf-8")
"""The theme: CSS custom properties, as `:root` rules for light and for dark mode."""


@dataclass(frozen=True)
class Colour:
    """The colour of one role, `#rrggbb`; charts are recoloured by the light one, which is unique.

    Attributes:
        name: name of the role and of its CSS property.
        light: colour in light mode.
        dark: colour in dark mode.
    """

    name: str
    light: str
    dark: str


def _colour(name: str) -> Colour:
    light, dark = re.findall(rf"--{name}: (#[0-9a-f]{{6}});", THEME)
    return Colour(name, light, dark)


INK, SOFT, LINE, EDGE, TRACK, PAPER, PAGE, POSITIVE, NEGATIVE, GREEN, PURPLE = map(
    _colour,
    (
        *("ink", "soft", "line", "edge", "track", "paper", "page"),
        *("positive", "negative", "green", "purple"),
    ),
)

SERIES = (NEGATIVE, GREEN, PURPLE, POSITIVE, SOFT)
"""Colours of the curves in one chart; further curves repeat them with another line style."""

ROLES = (INK, SOFT, LINE, EDGE, TRACK, PAPER, PAGE, POSITIVE, NEGATIVE, GREEN, PURPLE)


def dark_svg_rules() -> str:
    """CSS rules that recolour an SVG whose fills and strokes are presentation attributes.

    Viewers without dark mode show the light colours on a light background.
    """
    rules = "".join(
        f'[{what}="{each.light}"]{{{what}:{each.dark}}}'
        for each in ROLES
        for what in ("fill", "stroke")
    )
    return f"@media screen and (prefers-color-scheme:dark){{{rules}}}"
