"""Find ink that is not part of the character: frames, punch holes, reflections, lines, specks.

Each is recognised by shape and position alone, so that a character may have several components,
such as i, %, seven-segment digits and many a 5. Where nothing else is drawn, they are kept.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.digits.connected_components import (
    bounding_boxes,
    box_distances,
    box_lengths,
    label_components,
)
from mnist_sgd_serve.images.digits.shapes import outline
from mnist_sgd_serve.images.pixels import border

Mask = NDArray[np.bool_]

SPECK = 0.05
"""Components with less than this fraction of the largest component's ink are removed."""
LEAST_SHARE = 1 / 16
"""Minimum length of a character, as a fraction of the picture's shorter side."""
ALONG = 0.85
"""A frame covers at least this fraction of each side of its bounding box."""
LARGEST_HOLE, LEAST_HOLE = 0.1, 3
"""Diameter of a punch hole: at most, as a fraction of the shorter side; at least, in pixels."""
THIN = 0.5
"""A line is thinner than this fraction of the stroke thickness."""
FILLED = 0.62
"""A disc fills at least this fraction of its bounding box: 0.785, less for a blurred edge."""
THICK, SOLID = 1.5, 0.4
"""Minimum thickness of a reflection, in strokes and as a fraction of its length: a disc has 0.5."""
MOST_HOLES = 40
"""More discs than this are a pattern."""
MARGIN = 0.12
"""Maximum distance of punch holes from the border, as a fraction of the shorter side."""
CLEAR, CLEAR_IN_MARGIN = 3.0, 1.5
"""Minimum distance of punch holes from a character, in diameters. Dots of i, ! and ; are nearer."""
LONGER = 1.3
"""A character is at least this many times as long as a punch hole."""


@dataclass(frozen=True)
class _Components:
    """The connected components of a mask.

    Attributes:
        labels: intp `[height, width]`, -1 outside the mask.
        boxes: intp `[4, n]`, see `bounding_boxes`.
        sizes: intp `[n]`, in pixels.
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
        return box_lengths(self.boxes)

    def thickness(self) -> NDArray[np.float64]:
        """See `shapes.thickness`."""
        edges = np.bincount(self.labels[outline(self.labels >= 0)], minlength=len(self.sizes))
        return np.asarray(2 * self.sizes / np.maximum(edges, 1))

    def at(self, pixels: Mask) -> Mask:
        """Return which components contain some of these pixels."""
        labels = self.labels[pixels]
        return np.bincount(labels[labels >= 0], minlength=len(self.sizes)) > 0

    def main(self, which: Mask) -> int | None:
        """Return the component with the most ink of those long enough for a character, if any."""
        long = self.lengths >= LEAST_SHARE * min(self.labels.shape)
        weights = np.where(which & long, self.weights, 0)
        return int(np.argmax(weights)) if weights.any() else None

    def chosen(self, which: Mask) -> Mask:
        """Return the pixels of the components where `which`, bool `[n]`, is true."""
        return np.asarray(np.append(which, False)[self.labels])


def remove_specks(mask: Mask, ink: NDArray[np.float64], *, lines: bool = False) -> Mask:
    """Remove the components with little ink compared with the largest.

    Args:
        mask: bool `[height, width]`, not all false.
        ink: float64 `[height, width]`, not negative.
        lines: also remove lines, components at the border much thinner than the strokes.
    """
    components = _Components.of(mask, ink)
    kept = components.weights >= SPECK * components.weights.max()
    touching = np.isin(np.arange(len(kept)), border(components.labels))
    drawn = components.main(kept & ~touching)
    if lines and touching.any() and drawn is not None:
        thickness = components.thickness()
        kept &= ~touching | (thickness >= THIN * thickness[drawn])
    return components.chosen(kept)


def find_clutter(
    mask: Mask, ink: NDArray[np.float64], near: Mask, rim: Mask, *, sheet: bool
) -> Mask:
    """Find ink that does not belong to the character, as far as shape and position tell.

    Args:
        mask: bool `[height, width]`, the ink; not all false.
        ink: float64 `[height, width]`, not negative.
        near: bool `[height, width]`, what is near the border of the picture or sheet.
        rim: bool `[height, width]`, the outermost pixels of `near`.
        sheet: the border is that of a sheet, and something on it is clear of the border.
    """
    components = _Components.of(mask, ink)
    clutter = _frames(components) | _along_the_border(components, near, rim, sheet)
    clutter |= _blobs(components)
    return components.chosen(clutter | _punch_holes(components, ~clutter))


def _frames(components: _Components) -> Mask:
    """Find components along all four sides of their bounding box, with others inside."""
    frames = np.zeros(len(components.sizes), np.bool_)
    for number in np.flatnonzero(components.sizes >= sum(components.labels.shape)):
        top, bottom, left, right = components.boxes[:, number]
        one = components.labels[top:bottom, left:right] == number
        band = max(1, round(0.06 * min(one.shape)))
        bands = (one[:band], one[-band:], one[:, :band].T, one[:, -band:].T)
        if all(np.mean(side.any(0)) >= ALONG for side in bands):
            inner = np.array([[top + 1], [1 - bottom], [left + 1], [1 - right]])
            signs = np.array([[1], [-1], [1], [-1]])
            within = np.all(signs * components.boxes >= inner, axis=0)
            frames[number] = components.main(within) is not None
    return frames


def _along_the_border(components: _Components, near: Mask, rim: Mask, sheet: bool) -> Mask:
    """Find components that stay near the border, if the largest other one is clear of it.

    A tightly cropped character is not: everything near the border may belong to it.
    """
    touching, clutter = components.at(rim), ~components.at(~near)
    if sheet:
        clutter |= touching
    drawn = components.main(~clutter)
    if drawn is None or touching[drawn]:
        return np.zeros(len(clutter), np.bool_)
    return clutter


def _punch_holes(components: _Components, possible: Mask) -> Mask:
    """Find small discs apart from the character, and others in line with one of them."""
    rows, columns = components.labels.shape
    top, bottom, left, right = components.boxes
    diameter = (bottom - top + right - left) / 2
    discs = possible & _round(components) & (diameter <= LARGEST_HOLE * min(rows, columns))
    drawn = components.main(possible & ~discs)
    if drawn is None:
        return np.zeros(len(discs), np.bool_)
    discs &= LONGER * diameter <= components.lengths[drawn]
    if np.count_nonzero(discs) > MOST_HOLES:
        return np.zeros(len(discs), np.bool_)
    y, x = (top + bottom) / 2, (left + right) / 2
    away = np.minimum(np.minimum(y, rows - y), np.minimum(x, columns - x))
    clear = np.where(away <= MARGIN * min(rows, columns), CLEAR_IN_MARGIN, CLEAR)
    holes = discs & (box_distances(components.boxes, drawn) >= clear * diameter)
    for number in np.flatnonzero(holes):
        aligned = np.minimum(np.abs(y - y[number]), np.abs(x - x[number])) <= diameter[number] / 2
        alike = np.abs(diameter - diameter[number]) <= 0.25 * diameter[number] + 1
        holes |= discs & aligned & alike
    return np.asarray(holes)


def _blobs(components: _Components) -> Mask:
    """Find discs much thicker than the character's strokes: reflections, blots, coins."""
    round_ = _round(components)
    drawn = components.main(~round_)
    if drawn is None:
        return np.zeros(len(round_), np.bool_)
    thickness = components.thickness()
    solid = thickness >= SOLID * components.lengths
    return np.asarray(round_ & solid & (thickness >= THICK * thickness[drawn]))


def _round(components: _Components) -> Mask:
    """Find components that are about as high as wide, and filled."""
    top, bottom, left, right = components.boxes
    height, width = bottom - top, right - left
    return np.asarray(
        (np.minimum(height, width) >= LEAST_HOLE)
        & (np.abs(height - width) <= 0.15 * (height + width) + 1)
        & (components.sizes >= FILLED * height * width)
    )
