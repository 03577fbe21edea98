"""The colours of plots and pages, each in two schemes: on light paper and on dark.

Text and lines have a contrast of at least 4.5 to the paper in both (the grid, which carries
nothing, less). The colours of classes and curves are told apart by every kind of colour blindness
(Okabe and Ito, "Color universal design", 2008), made darker for light paper and lighter for dark.
"""

from dataclasses import dataclass

__all__ = ["INK", "LINE", "NEGATIVE", "PAGE", "PAPER", "POSITIVE", "SERIES", "SOFT", "Colour"]


@dataclass(frozen=True)
class Colour:
    """One role's colour as `#rrggbb`, unique among the light ones, by which plots are recoloured.

    Attributes:
        name: of the role, and of its CSS variable.
        light: on light paper.
        dark: on dark paper.
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
"""For curves that are told apart by colour; with a line style of its own each round."""

ROLES = tuple(dict.fromkeys((INK, SOFT, LINE, PAPER, PAGE, POSITIVE, NEGATIVE, *SERIES)))


def css_variables() -> str:
    """Rules that set `--ink` and the others, for screens in both schemes; paper is always light."""
    light = "".join(f"--{each.name}:{each.light};" for each in ROLES)
    dark = "".join(f"--{each.name}:{each.dark};" for each in ROLES)
    return f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"


def dark_svg_rules() -> str:
    """Rules that recolour an SVG whose fills and strokes are presentation attributes.

    A viewer that knows no colour schemes leaves the light colours, on their light paper.
    """
    rules = "".join(
        f'[{what}="{each.light}"]{{{what}:{each.dark}}}'
        for each in ROLES
        for what in ("fill", "stroke")
    )
    return f"@media screen and (prefers-color-scheme:dark){{{rules}}}"
