"""Where on a picture the sheet is: without a strip of table, a scanner's line, a frame, a thumb.

What runs along the border of a picture and differs from most of it is around the sheet, not ink on
it: a connected region that is sharply bounded, holds a corner or most of a side, and stays out of
the middle. A digit that is cropped tight also touches the border, so the caller tries both: what is
found here counts only where other ink is left that is clear of the border.
"""

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.parts import label_parts, widened
from mnist_sgd_serve.picture import border

__all__ = ["LEAST_SIDE", "find_sheet"]

LEAST_SIDE = 40
"""A smaller picture is all sheet: there a stroke is as wide as a strip of table."""
LEAST_CONTRAST = 24
"""Grey levels between the sheet and what is around it."""
MOST_OF_A_SIDE = 0.6
RECTANGLE = 0.955
"""A sheet covers this share of the least rectangle around it, or more."""
SHARP = 0.5
"""The step at the edge, as a share of the contrast: less is the shade of slanting light."""


def find_sheet(grey: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """Find which pixels are on the sheet.

    Args:
        grey: uint8 `[height, width]`.

    Returns:
        bool `[height, width]`, or None where all are.
    """
    if min(grey.shape) < LEAST_SIDE:
        return None
    height, width = grey.shape
    middle = grey[height // 4 : -height // 4, width // 4 : -width // 4]
    for paper in (float(np.median(grey)), float(np.median(middle))):  # the second on a wide table
        around: NDArray[np.bool_] = np.zeros(grey.shape, np.bool_)
        for level in _levels_at_the_border(grey, paper):
            around |= _regions(grey, level, paper)
        if 2 * np.count_nonzero(border(around)) > border(around).size:
            around = _around_one_sheet(grey, around, paper)
        sheet = ~widened(around, _margin(grey))
        if around.any() and 16 * np.count_nonzero(sheet) >= sheet.size:
            return sheet
    return None


def _margin(grey: NDArray[np.uint8]) -> int:
    """How far an edge is blurred, in pixels."""
    height, width = grey.shape
    return int(max(2, height // 128, width // 128))


def _levels_at_the_border(grey: NDArray[np.uint8], paper: float) -> list[float]:
    """The greys of sides and corners that differ from the paper, each once."""
    sides = [grey[0], grey[-1], grey[:, 0], grey[:, -1]]
    corners = [grey[y, x] for y in (np.s_[:3], np.s_[-3:]) for x in (np.s_[:3], np.s_[-3:])]
    levels: list[float] = []
    for pixels in (*sides, *corners):
        level = float(np.median(pixels))
        contrast = abs(level - paper)
        if contrast >= LEAST_CONTRAST and all(abs(level - one) > contrast / 4 for one in levels):
            levels.append(level)
    return levels


def _regions(grey: NDArray[np.uint8], level: float, paper: float) -> NDArray[np.bool_]:
    """The regions of about this level that run along the border."""
    contrast = abs(level - paper)
    near = np.abs(grey - np.float32(level)) < contrast / 2
    blank = np.abs(grey - np.float32(paper)) < contrast / 2
    if 2 * np.count_nonzero(blank) < np.count_nonzero(~near):
        return np.zeros(grey.shape, np.bool_)  # most of the rest is not paper
    labels = np.full(grey.shape, -1, np.intp)
    labels[near] = label_parts(near)
    height, width = grey.shape
    middle = labels[2 * height // 5 : -2 * height // 5, 2 * width // 5 : -2 * width // 5]
    found = _along_the_border(labels) - set(np.unique(middle).tolist())
    result = np.zeros(grey.shape, np.bool_)
    for label in found:
        region = labels == label
        if _is_sharp(grey, region, contrast):
            result |= region
    return result


def _along_the_border(labels: NDArray[np.intp]) -> set[int]:
    """The labels that hold a corner or most of a side."""
    found: set[int] = set()
    for line in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        values, counts = np.unique(line, return_counts=True)
        found |= set(values[counts >= MOST_OF_A_SIDE * len(line)].tolist())
        found |= {int(line[0]), int(line[-1])}
    return found - {-1}


def _is_sharp(grey: NDArray[np.uint8], region: NDArray[np.bool_], contrast: float) -> bool:
    """Whether the grey steps at the region's edge."""
    margin = _margin(grey)
    outer = widened(region, margin) & ~region
    inner = widened(~region, margin) & region
    if not outer.any():
        return False
    step = abs(float(np.median(grey[outer])) - float(np.median(grey[inner])))
    return step >= SHARP * contrast


def _around_one_sheet(
    grey: NDArray[np.uint8], around: NDArray[np.bool_], paper: float
) -> NDArray[np.bool_]:
    """All but the largest part that is left, if that is a sheet; else nothing.

    Paper around a bold character is no table around a sheet. A sheet is a rectangle, or what is
    written on it has another grey than what is around it; a character's counters have the same.
    """
    sheet = np.zeros(grey.shape, np.bool_)
    parts = label_parts(~around)
    sheet[~around] = parts == np.argmax(np.bincount(parts))
    level = float(np.median(grey[around]))
    contrast = abs(level - paper)
    inside = grey[sheet & ~widened(~sheet, _margin(grey))].astype(np.float32)
    written = inside[np.abs(inside - paper) > contrast / 2]
    blank = np.count_nonzero(np.abs(inside - paper) <= contrast / 4)
    alike = np.count_nonzero(np.abs(written - level) <= contrast / 4)
    if 2 * blank < inside.size or (
        4 * alike >= written.size and np.count_nonzero(sheet) < RECTANGLE * _least_box(sheet)
    ):
        return np.zeros(grey.shape, np.bool_)
    return ~sheet


def _least_box(mask: NDArray[np.bool_]) -> float:
    """The area of the least rectangle around what is true, at any whole number of degrees."""
    rows = np.flatnonzero(mask.any(1))
    first = mask[rows].argmax(1)
    last = mask.shape[1] - mask[rows, ::-1].argmax(1)
    corners = [(y, x) for x in (first, last) for y in (rows, rows + 1)]
    y, x = (np.concatenate(values) for values in zip(*corners, strict=True))
    angles = np.radians(np.arange(90))[:, None]
    across, down = x * np.cos(angles) + y * np.sin(angles), y * np.cos(angles) - x * np.sin(angles)
    return float(np.min(np.ptp(across, 1) * np.ptp(down, 1)))
