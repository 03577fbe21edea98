"""The colours of charts and pages, each for light and for dark mode.

Text and lines have a contrast of at least 4.5 to the background in both modes (grid lines less).
The colours of classes and curves can be told apart with every kind of colour blindness (Okabe and
Ito, "Color universal design", 2008), made darker for light mode and lighter for dark mode.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Colour:
    """The colour of one role, `#rrggbb`; charts are recoloured by the light one, which is unique.

    Attributes:
        name: name of the role and of its CSS variable.
        light: colour in light mode.
        dark: colour in dark mode.
    """

    name: str
    light: str
    dark: str


INK = Colour("ink", "#1c1d20", "#ececea")
SOFT = Colour("soft", "#5b5d64", "#a6a8af")
LINE = Colour("line", "#d5d5cf", "#3a3d45")
PAPER = Colour("paper", "#ffffff", "#1e2025")
PAGE = Colour("page", "#f6f6f3", "#15161a")
POSITIVE = Colour("positive", "#bd4b00", "#f9a04b")
NEGATIVE = Colour("negative", "#0069a8", "#63bdf2")

SERIES = (
    NEGATIVE,
    Colour("green", "#00735a", "#3fcfa4"),
    Colour("purple", "#9c4080", "#e6a3cd"),
    POSITIVE,
    SOFT,
)
"""Colours of the curves in one chart; further curves repeat them with another line style."""

ROLES = tuple(dict.fromkeys((INK, SOFT, LINE, PAPER, PAGE, POSITIVE, NEGATIVE, *SERIES)))


def css_variables() -> str:
    """CSS rules that define `--ink` and the others for both modes; printed pages are light."""
    light = "".join(f"--{each.name}:{each.light};" for each in ROLES)
    dark = "".join(f"--{each.name}:{each.dark};" for each in ROLES)
    return f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"


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
