"""SVG that reads on light and on dark paper, its text kept as text, the same bytes each time.

matplotlib writes colours into `style`, where a style sheet cannot change them without force; here
they become presentation attributes, which the rules for dark paper override. What matplotlib adds
beside the drawing (a date, its version, names of groups) is left out.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from mnist_sgd.evaluation.plot_text import plain_text
from mnist_sgd.report.palette import INK, LINE, PAPER, SERIES, SOFT, dark_svg_rules

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["STYLE", "document", "figure_svg", "plot_style"]

STYLE = f"<style>{dark_svg_rules()}</style>"
"""What each file begins with; a page that shows several needs it once."""

FONTS = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"

_STYLE = {
    "svg.hashsalt": "mnist_sgd",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so that the layout is the same
    "font.size": 11,
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10.5,
    "legend.frameon": False,
    "text.color": INK.light,
    "axes.labelcolor": SOFT.light,
    "axes.edgecolor": LINE.light,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE.light,
    "grid.linewidth": 0.8,
    "xtick.color": LINE.light,
    "ytick.color": LINE.light,
    "xtick.labelcolor": SOFT.light,
    "ytick.labelcolor": SOFT.light,
    "lines.linewidth": 1.8,
    "figure.facecolor": PAPER.light,
    "savefig.facecolor": PAPER.light,
    "figure.dpi": 72,
}


@contextmanager
def plot_style() -> Iterator[None]:
    """Let figures that are made inside look like the report's, whatever the user's settings."""
    from cycler import cycler
    from matplotlib import style

    colours = cycler(color=[colour.light for colour in SERIES])
    with style.context(["default", _STYLE | {"axes.prop_cycle": colours}]), plain_text():
        yield


def figure_svg(figure: "Figure", name: str, alt: str) -> str:
    """The SVG file of a figure; to be called inside `plot_style`.

    Args:
        figure: made inside `plot_style`, of the palette's light colours.
        name: goes before the file's identifiers, so that several may stand in one page.
        alt: says what is drawn to who cannot see it.
    """
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    written = StringIO()
    figure.savefig(written, format="svg", metadata=nothing)
    root = ElementTree.fromstring(written.getvalue())
    for element in root.iter():
        _clean(element, name)
    for defs in [each for each in root if each.tag == "defs" and each.find("style") is not None]:
        root.remove(defs)
    content = "".join(ElementTree.tostring(child, encoding="unicode") for child in root)
    _, _, width, height = root.attrib["viewBox"].split()
    return document(re.sub(r"\s*\n\s*", "\n", content), float(width), float(height), alt)


def document(content: str, width: float, height: float, alt: str) -> str:
    """A whole SVG file around `content`, in points, with the rules for dark paper."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img" aria-label="{_attribute(alt)}" '
        f'font-family="{FONTS}" stroke-linejoin="round">\n{STYLE}\n{content.strip()}\n</svg>\n'
    )


def _attribute(text: str) -> str:
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), ('"', "&quot;")):
        text = text.replace(character, entity)
    return text


def _clean(element: ElementTree.Element, name: str) -> None:
    """Take the namespaces off, turn `style` into attributes, make identifiers the file's own."""
    element.tag = element.tag.rpartition("}")[2]
    given = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
    style = given.pop("style", "")
    given |= dict(part.split(": ", 1) for part in style.split("; ") if ": " in part)
    given.pop("font-family", None)
    if element.tag in ("g", "text"):
        given.pop("id", None)
    elif "id" in given:
        given["id"] = f"{name}-{given['id']}"
    for key, value in given.items():
        given[key] = re.sub(r"^#(?=[mp]\w{10}$)|(?<=url\(#)", lambda m: f"{m[0]}{name}-", value)
    element.attrib.clear()
    element.attrib.update(given)
