"""Foreground that is not of the drawn thing: frames, punch holes, reflections, lines, specks.

Each is known by its shape and its place alone, so that what is drawn may consist of several parts,
as do i, %, seven-segment digits and many a 5. Where nothing else is drawn, they are what is drawn.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.digits.connected_components import (
    bounding_boxes,
    box_distances,
    label_components,
)
from mnist_sgd_serve.images.digits.shapes import outline
from mnist_sgd_serve.images.pixels import border

Mask = NDArray[np.bool_]

SPECK = 0.05
"""A separate part with less than this share of the largest part's ink is dropped."""
LEAST_SHARE = 1 / 16
"""What is drawn is at least so long, as a share of the picture's shorter side."""
ALONG = 0.85
"""A frame covers this share of each side of its box, or more."""
LARGEST_HOLE, LEAST_HOLE = 0.1, 3
"""The diameter of a punch hole: at most, of the picture's shorter side; at least, in pixels."""
THIN = 0.5
"""A line is thinner than this share of a stroke's thickness."""
FILLED = 0.62
"""A disc fills this share of its box, or more: 0.785, but for a blurred edge."""
THICK, SOLID = 1.5, 0.4
"""A reflection is so many times as thick as a stroke, and as it is long itself: a disc has 0.5."""
MOST_HOLES = 40
"""More discs are a pattern."""
MARGIN = 0.12
"""Punch holes are at most so far from the border, as a share of the picture's shorter side."""
CLEAR, CLEAR_IN_MARGIN = 3.0, 1.5
"""So many diameters lie between a punch hole and what is drawn. Dots of i, ! and ; are nearer."""
LONGER = 1.3
"""What is drawn is at least so much longer than a punch hole."""


@dataclass(frozen=True)
class _Components:
    """The connected parts of a mask, by their numbers.

    Attributes:
        labels: intp `[height, width]`, -1 where there is none.
        boxes: intp `[4, n]`, their tops, bottoms, lefts and rights; see `parts.boxes`.
        sizes: intp `[n]`, pixels.
        weights: float64 `[n]`, sums of ink.
    """

    labels: NDArray[np.intp]
    boxes: NDArray[np.intp]
    sizes: NDArray[np.intp]
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, mask: Mask, ink: NDArray[np.float64]) -> "_Components":
        labels = label_components(mask)
        numbers = labels[mask]
        weights = np.bincount(numbers, ink[mask]).astype(np.float64)
        return cls(labels, bounding_boxes(labels), np.bincount(numbers), weights)

    @property
    def lengths(self) -> NDArray[np.intp]:
        top, bottom, left, right = self.boxes
        return np.asarray(np.maximum(bottom - top, right - left))

    def thickness(self) -> NDArray[np.float64]:
        """See `shapes.thickness`."""
        edges = np.bincount(self.labels[outline(self.labels >= 0)], minlength=len(self.sizes))
        return np.asarray(2 * self.sizes / np.maximum(edges, 1))

    def at(self, pixels: Mask) -> Mask:
        """Whether each has some of these pixels."""
        labels = self.labels[pixels]
        return np.bincount(labels[labels >= 0], minlength=len(self.sizes)) > 0

    def main(self, which: Mask) -> int | None:
        """Of some of the parts, and long enough to be what is drawn, that with the most ink."""
        long = self.lengths >= LEAST_SHARE * min(self.labels.shape)
        weights = np.where(which & long, self.weights, 0)
        return int(np.argmax(weights)) if weights.any() else None

    def chosen(self, which: Mask) -> Mask:
        """The pixels of some of the parts, `which` is bool `[n]`."""
        return np.asarray(np.append(which, False)[self.labels])


def remove_specks(mask: Mask, ink: NDArray[np.float64], *, lines: bool = False) -> Mask:
    """Leave out the parts that have little ink beside the largest.

    Args:
        mask: bool `[height, width]`, at least one true.
        ink: float64 `[height, width]`, 0 or more.
        lines: may be left out, too: what touches the border and is much thinner than the strokes
            that do not.
    """
    parts = _Components.of(mask, ink)
    kept = parts.weights >= SPECK * parts.weights.max()
    touching = np.isin(np.arange(len(kept)), border(parts.labels))
    drawn = parts.main(kept & ~touching)
    if lines and touching.any() and drawn is not None:
        thickness = parts.thickness()
        kept &= ~touching | (thickness >= THIN * thickness[drawn])
    return parts.chosen(kept)


def find_clutter(
    mask: Mask, ink: NDArray[np.float64], near: Mask, rim: Mask, *, sheet: bool
) -> Mask:
    """Find what is on a picture beside the drawn thing, as far as its shape tells.

    Args:
        mask: bool `[height, width]`, where there is ink; at least one true.
        ink: float64 `[height, width]`, 0 or more.
        near: bool `[height, width]`, what is near the border of the picture or sheet.
        rim: bool `[height, width]`, the outermost pixels of `near`.
        sheet: the border is that of a sheet on which something is clear of it.
    """
    parts = _Components.of(mask, ink)
    stray = _frames(parts) | _along_the_border(parts, near, rim, sheet)
    stray |= _blobs(parts)
    return parts.chosen(stray | _punch_holes(parts, ~stray))


def _frames(parts: _Components) -> Mask:
    """A part around others that lies along all four sides of its box."""
    frames = np.zeros(len(parts.sizes), np.bool_)
    for number in np.flatnonzero(parts.sizes >= sum(parts.labels.shape)):
        top, bottom, left, right = parts.boxes[:, number]
        one = parts.labels[top:bottom, left:right] == number
        band = max(1, round(0.06 * min(one.shape)))
        bands = (one[:band], one[-band:], one[:, :band].T, one[:, -band:].T)
        if all(np.mean(side.any(0)) >= ALONG for side in bands):
            inner = np.array([[top + 1], [1 - bottom], [left + 1], [1 - right]])
            signs = np.array([[1], [-1], [1], [-1]])
            within = np.all(signs * parts.boxes >= inner, axis=0)
            frames[number] = parts.main(within) is not None
    return frames


def _along_the_border(parts: _Components, near: Mask, rim: Mask, sheet: bool) -> Mask:
    """The parts that stay near the border, if the largest of the others is clear of it.

    A character that is cropped tight is not: all that is near the border may be a part of it.
    """
    touching, stray = parts.at(rim), ~parts.at(~near)
    if sheet:
        stray |= touching
    drawn = parts.main(~stray)
    if drawn is None or touching[drawn]:
        return np.zeros(len(stray), np.bool_)
    return stray


def _punch_holes(parts: _Components, possible: Mask) -> Mask:
    """Small discs that lie apart from what is drawn, and those in line with such a one."""
    discs = possible & _discs(parts)
    drawn = parts.main(possible & ~discs)
    if drawn is None:
        return np.zeros(len(discs), np.bool_)
    top, bottom, left, right = parts.boxes
    diameter = (bottom - top + right - left) / 2
    discs &= LONGER * diameter <= parts.lengths[drawn]
    if np.count_nonzero(discs) > MOST_HOLES:
        return np.zeros(len(discs), np.bool_)
    y, x = (top + bottom) / 2, (left + right) / 2
    rows, columns = parts.labels.shape
    away = np.minimum(np.minimum(y, rows - y), np.minimum(x, columns - x))
    clear = np.where(away <= MARGIN * min(rows, columns), CLEAR_IN_MARGIN, CLEAR)
    holes = discs & (box_distances(parts.boxes, drawn) >= clear * diameter)
    for number in np.flatnonzero(holes):
        aligned = np.minimum(np.abs(y - y[number]), np.abs(x - x[number])) <= diameter[number] / 2
        alike = np.abs(diameter - diameter[number]) <= 0.25 * diameter[number] + 1
        holes |= discs & aligned & alike
    return np.asarray(holes)


def _blobs(parts: _Components) -> Mask:
    """Discs much thicker than the strokes of what is drawn: reflections, blots, coins."""
    round_ = _round(parts)
    drawn = parts.main(~round_)
    if drawn is None:
        return np.zeros(len(round_), np.bool_)
    thickness = parts.thickness()
    solid = thickness >= SOLID * parts.lengths
    return np.asarray(round_ & solid & (thickness >= THICK * thickness[drawn]))


def _discs(parts: _Components) -> Mask:
    """What is round, and no larger than a punch hole."""
    top, bottom, left, right = parts.boxes
    diameter = (bottom - top + right - left) / 2
    return np.asarray(_round(parts) & (diameter <= LARGEST_HOLE * min(parts.labels.shape)))


def _round(parts: _Components) -> Mask:
    """The parts that are about as high as wide, and filled."""
    top, bottom, left, right = parts.boxes
    height, width = bottom - top, right - left
    return np.asarray(
        (np.minimum(height, width) >= LEAST_HOLE)
        & (np.abs(height - width) <= 0.15 * (height + width) + 1)
        & (parts.sizes >= FILLED * height * width)
    )
