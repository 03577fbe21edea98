"""Contact sheets: small pictures with captions, as one SVG file."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import accumulate

from mnist_sgd.report.palette import INK, LINE, PAPER, SOFT
from mnist_sgd.report.pictures import data_uri
from mnist_sgd.report.svg import document

WIDTH = 360
"""Width of a sheet in points: that of a phone, so that its text is readable there."""

GAP, LINE_HEIGHT, FONT = 8, 12, 9.5
LETTER = 0.58
"""Average width of a letter relative to the font size (of DejaVu Sans, a wide font)."""


@dataclass(frozen=True)
class Cell:
    """One cell of a contact sheet.

    Attributes:
        pictures: PNG files of square images, one below the other.
        lines: caption, the first line darker; lines that are too long are cut.
    """

    pictures: Sequence[bytes]
    lines: Sequence[str]


def contact_sheet(cells: Sequence[Cell], columns: int, alt: str) -> str:
    """Lay out cells in rows, as an SVG file.

    Args:
        cells: at least one.
        columns: cells per row, at least 1.
        alt: text alternative.
    """
    side = (WIDTH - (columns + 1) * GAP) / columns
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(_height(cell, side) for cell in row) for row in rows]
    tops = accumulate(heights[:-1], initial=GAP)
    content = [
        _cell(cell, GAP + column * (side + GAP), top, side)
        for row, top in zip(rows, tops, strict=True)
        for column, cell in enumerate(row)
    ]
    height = GAP + sum(heights)
    paper = f'<rect width="{WIDTH}" height="{height:g}" fill="{PAPER.light}"/>'
    return document("\n".join([paper, *content]), WIDTH, height, alt)


def _height(cell: Cell, side: float) -> float:
    return len(cell.pictures) * (side + 3) + len(cell.lines) * LINE_HEIGHT + GAP


def _cell(cell: Cell, x: float, y: float, side: float) -> str:
    parts = []
    for picture in cell.pictures:
        place = f'x="{x:g}" y="{y:g}" width="{side:g}" height="{side:g}"'
        parts.append(
            f'<image {place} image-rendering="pixelated" href="{data_uri(picture)}"/>'
            f'<rect {place} fill="none" stroke="{LINE.light}" stroke-width="0.6"/>'
        )
        y += side + 3
    for number, line in enumerate(cell.lines):
        y += LINE_HEIGHT
        colour = (SOFT if number else INK).light
        parts.append(
            f'<text x="{x:g}" y="{y - 2:g}" font-size="{FONT:g}" fill="{colour}">'
            f"{escape(_cut(line, side))}</text>"
        )
    return "\n".join(parts)


def _cut(line: str, width: float) -> str:
    room = int(width / (FONT * LETTER))
    return line if len(line) <= room else f"{line[: room - 1]}…"
