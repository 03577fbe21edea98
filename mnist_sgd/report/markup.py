"""The parts that a report's pages are made of: HTML that needs no network and no script."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from mnist_sgd.report.chart import Chart
from mnist_sgd.report.palette import css_variables, dark_svg_rules
from mnist_sgd.report.svg import STYLE

__all__ = ["document", "facts", "figure", "section", "table", "tiles", "utf8", "visible"]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Nothing is loaded: what the page shows is inside it."""


def document(title: str, body: Iterable[str]) -> str:
    """A whole page; `title` is plain text, `body` HTML."""
    css = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    content = "\n".join(body)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>
{css_variables()}
{dark_svg_rules()}
{css.strip()}
</style>
</head>
<body>
<main>
{content}
</main>
</body>
</html>
"""


def visible(text: str) -> str:
    """A text with U+FFFD for what is no character, as there may be in the name of a file."""
    return re.sub("[\ud800-\udfff\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]", "\ufffd", text)


def utf8(text: str) -> bytes:
    """The bytes of a document, of any text."""
    return visible(text).encode()


def section(name: str, heading: str, content: Iterable[str]) -> str:
    """A part of a page under a heading; `heading` is plain text."""
    inside = "\n".join(content)
    return f'<section id="{name}">\n<h2>{escape(heading)}</h2>\n{inside}\n</section>'


def figure(chart: Chart) -> str:
    """A chart with its heading and its caption."""
    drawing = chart.svg.replace(f"{STYLE}\n", "").strip()
    return (
        f'<figure id="{chart.name}">\n<h3>{escape(chart.title)}</h3>\n{drawing}\n'
        f"<figcaption>{escape(chart.caption)}</figcaption>\n</figure>"
    )


def tiles(figures: Mapping[str, str]) -> str:
    """A few figures, large."""
    each = (f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in figures.items())
    return f'<dl class="tiles">{"".join(each)}</dl>'


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", kind: str = ""
) -> str:
    """A table of plain text whose first column heads the rows; it scrolls by itself if too wide."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>\n"
        for row in rows
    )
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="scroll" tabindex="0"><table class="{kind}">{said}'
        f"<thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def facts(values: Mapping[str, Any]) -> str:
    """Nested facts as a list of names and values."""
    each = (f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in flat(values).items())
    return f'<dl class="facts">{"".join(each)}</dl>'


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested facts by dotted names, each value as text."""
    result: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            result |= flat(value, f"{name}.")
        else:
            result[name] = _text(value)
    return result


def _text(value: Any) -> str:
    if value is None or value == {}:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
