"""Shape descriptors of a mask: stroke thickness, solidity, convexity, quadrilaterals."""

import numpy as np
from numpy.typing import NDArray

CONVEX = 0.95
"""Minimum fraction of its convex hull that a convex shape covers."""
FOUR_SIDED = 0.93
"""Minimum fraction of the hull that its largest quadrilateral covers: an ellipse has 0.64."""
SOLID_SQUARE, NEARLY_FULL = 0.3, 0.97
"""Side of a square, as a fraction of the longer side of the bounding box; minimum fill of it."""


def thickness(mask: NDArray[np.bool_]) -> float:
    """Estimate the mean stroke thickness in pixels; for a long line, its width."""
    return 2 * int(np.count_nonzero(mask)) / max(1, int(np.count_nonzero(outline(mask))))


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of a mask with a 4-neighbour outside it."""
    padded = np.pad(mask, 1)
    deep = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~deep)


def is_solid(mask: NDArray[np.bool_], square: float = SOLID_SQUARE) -> bool:
    """Whether a mask contains a large filled square, as no character made of strokes does.

    Args:
        mask: bool `[height, width]`, cropped to its bounding box.
        square: the square's side, as a fraction of the longer side of the box.
    """
    side = max(1, round(square * max(mask.shape)))
    if side > min(mask.shape):
        return False
    sums = np.pad(mask.cumsum(0, dtype=np.int32).cumsum(1), ((1, 0), (1, 0)))
    counts = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return bool(counts.max() >= NEARLY_FULL * side**2)


def is_convex(mask: NDArray[np.bool_], share: float = CONVEX) -> bool:
    """Whether a mask covers this fraction of its convex hull, by default all but a rough edge."""
    return int(np.count_nonzero(mask)) >= share * _area(_convex_hull(mask))


def is_quadrilateral(mask: NDArray[np.bool_]) -> bool:
    """Whether a mask is a sheet in any perspective: convex, with four straight sides."""
    hull = _convex_hull(mask)
    area = _area(hull)
    convex = int(np.count_nonzero(mask)) >= CONVEX * area
    return convex and _max_quadrilateral_area(hull) >= FOUR_SIDED * area


def outlines_a_quadrilateral(mask: NDArray[np.bool_]) -> bool:
    """Whether a mask, cropped to its bounding box, is a sheet once its holes are filled."""
    filled = without_holes(mask)
    return 2 * int(np.count_nonzero(filled)) > filled.size and is_quadrilateral(filled)


def without_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill pixels between others of the mask, both in their row and in their column."""
    return _between(mask) & _between(mask.T).T


def _between(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill each row from its first true pixel to its last."""
    before = np.logical_or.accumulate(mask, 1)
    after = np.logical_or.accumulate(mask[:, ::-1], 1)[:, ::-1]
    return np.asarray(before & after)


def share_in_hull(part: NDArray[np.bool_], mask: NDArray[np.bool_]) -> float:
    """Return the fraction of the pixels of `part` in the convex hull of `mask`."""
    hull = _convex_hull(mask)
    y, x = np.nonzero(part)
    inside = np.ones(len(x), np.bool_)
    for (x0, y0), (x1, y1) in zip(hull, np.roll(hull, -1, 0), strict=True):
        inside &= (x1 - x0) * (y + 0.5 - y0) - (y1 - y0) * (x + 0.5 - x0) >= 0
    return float(np.mean(inside))


def _area(polygon: NDArray[np.float64]) -> float:
    x, y = polygon.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _convex_hull(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the corners of a mask's convex hull: `[n, 2]`, x and y (Andrew, 1979)."""
    rows = np.flatnonzero(mask.any(1))
    first = mask[rows].argmax(1)
    last = mask.shape[1] - mask[rows, ::-1].argmax(1)
    points = {
        (x, y + below)
        for side in (first, last)
        for x, y in zip(side.tolist(), rows.tolist(), strict=True)
        for below in (0, 1)
    }
    corners: list[tuple[int, int]] = []
    for ordered in (sorted(points), sorted(points, reverse=True)):
        half: list[tuple[int, int]] = []
        for x, y in ordered:
            while len(half) > 1 and _turn(half[-2], half[-1], (x, y)) <= 0:
                half.pop()
            half.append((x, y))
        corners += half[:-1]
    return np.array(corners, np.float64)


def _turn(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> int:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _max_quadrilateral_area(hull: NDArray[np.float64]) -> float:
    """Return the area of the largest quadrilateral with corners of the hull."""
    largest = 0.0
    for corner in hull:
        x, y = (hull - corner).T
        heights = np.outer(x, y) - np.outer(y, x)  # above each diagonal from this corner
        largest = max(largest, float(np.max(heights.max(1) - heights.min(1))) / 2)
    return largest
