"""SVG files for light and dark backgrounds, with text as text; byte-for-byte reproducible.

Matplotlib writes colours into `style` attributes, which a style sheet cannot override without
`!important`. Here they become presentation attributes, which the rules for dark backgrounds
override. Matplotlib's metadata (date, version, group names) is left out.
"""

import re
from html import escape
from io import StringIO
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from mnist_sgd.report.palette import dark_svg_rules

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = f"<style>{dark_svg_rules()}</style>\n"
"""The first element of each file; a page with several needs it once."""

FONTS = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"


def figure_svg(figure: "Figure", name: str, alt: str) -> str:
    """Render a figure as an SVG file; call it inside `plot_style`.

    Args:
        figure: made inside `plot_style`, with the light colours of the palette.
        name: prefix of the identifiers in the file, so that one page can hold several.
        alt: text alternative.
    """
    written = StringIO()
    no_metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(written, format="svg", metadata=no_metadata)
    root = ElementTree.fromstring(written.getvalue())
    for element in root.iter():
        _clean(element, name)
    for defs in [each for each in root if each.tag == "defs" and each.find("style") is not None]:
        root.remove(defs)
    content = "".join(ElementTree.tostring(child, encoding="unicode") for child in root)
    _, _, width, height = root.attrib["viewBox"].split()
    return document(re.sub(r"\s*\n\s*", "\n", content), float(width), float(height), alt)


def document(content: str, width: float, height: float, alt: str) -> str:
    """Wrap `content` into an SVG file of this size in points, with the rules for dark mode."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img" aria-label="{escape(alt)}" '
        f'font-family="{FONTS}" stroke-linejoin="round">\n{STYLE}{content.strip()}\n</svg>\n'
    )


def _clean(element: ElementTree.Element, name: str) -> None:
    """Strip namespaces, turn `style` into attributes, and prefix identifiers with `name`."""
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
