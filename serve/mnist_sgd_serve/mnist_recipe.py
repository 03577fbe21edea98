"""From any drawing or photograph in grey to an image of the kind that MNIST is made of.

A model trained on MNIST reads other pictures well only after they went through MNIST's own recipe:
the ink cropped, scaled into 20x20 by area and placed by its barycentre in 28x28, light on dark.
The recipe is that of Yadav and Bottou, "Cold Case: the Lost MNIST Digits" (arXiv 1905.10498); what
comes before it finds the ink. One thing must be drawn on the paper; what is around the sheet, or
around the thing as a frame, is left out, see `sheet`.

An image that went through the recipe already passes byte for byte, as do all 70,000 of MNIST. It
costs 0.02 ms for one of those, 0.3 to 0.5 ms for another picture of 28x28, 1 to 3 ms for a canvas
of 280x280 and 10 ms for a photograph of 12 megapixels, once decoded; three times as much where
something is around the sheet.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images import NoInk
from mnist_sgd_serve.paper import Paper, find_paper, rim
from mnist_sgd_serve.parts import label_parts
from mnist_sgd_serve.picture import border, shrink
from mnist_sgd_serve.sheet import LEAST_SIDE, find_sheet

__all__ = ["follow_recipe", "is_mnist"]

SIZE = 28
BLOCK = 20

# The cuts are shares of the ink's strength. They were chosen on MNIST's threes and sevens,
# enlarged with several filters, as JPEG files, and as simulated photographs with slanting light,
# noise and shadows. A drawing's soft edge is ink; a photograph's is blur and shadow.
DRAWN_CUT, PHOTOGRAPHED_CUT = 0.12, 0.45
FULL_INK = 0.9
"""In a photograph, this share of the ink's strength and all above it is full ink."""
SPECK = 0.05
"""A separate part with less than this share of the largest part's ink is dropped."""
LEAST_INK, LEAST_CONTRAST = 0.02, 0.06
"""No pixel below the first is ink, and no picture whose ink is weaker than the second has any."""
LEAST_PIXELS = 8
"""A picture with fewer pixels of ink shows specks."""
LEAST_SHARE = 1 / 8
"""Ink on a sheet is at least so long, as a share of the picture's shorter side."""
ALONG = 0.85
"""A frame covers this share of each side of its box, or more."""
MOST_INK = 0.85
"""A picture with a larger share of ink shows no shape."""


def follow_recipe(grey: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], bool]:
    """Find what is drawn on a picture and make an MNIST image of it.

    Args:
        grey: uint8 `[height, width]`, ink of either polarity.

    Returns:
        uint8 `[28, 28]`, light ink on dark paper; and whether the picture was dark on light.

    Raises:
        NoInk: it is blank, or nothing but ink.
    """
    found = _read_sheet(shrink(grey))
    return _place(found.ink), found.inverted


@dataclass(frozen=True)
class _Found:
    """Ink as shares of full ink in its tight box; the box; whether the ink is dark."""

    ink: NDArray[np.float64]
    box: tuple[slice, slice]
    inverted: bool


def _read_sheet(grey: NDArray[np.uint8]) -> _Found:
    """Find the ink, without what is around the sheet where the rest can stand alone.

    It can if it is clear of the border and of what was left out. Else what seemed to be around the
    sheet is a part of a character that is cropped tight; but not where it is a frame, in which the
    whole picture shows nothing.
    """
    sheet = find_sheet(grey)
    if sheet is None:
        return _read(grey)
    try:
        found = _read(grey, sheet)
    except NoInk:
        return _read(grey)
    if max(found.ink.shape) < LEAST_SHARE * min(grey.shape):
        return _read(grey)
    if not np.any((found.ink > 0) & rim(sheet)[found.box]):
        return found
    try:
        return _read(grey)
    except NoInk:
        if np.any(border(sheet)):
            raise
        return found


def _read(grey: NDArray[np.uint8], sheet: NDArray[np.bool_] | None = None) -> _Found:
    """Find the ink on the whole picture, or on the pixels of `sheet` alone."""
    paper = find_paper(grey, sheet)
    # What departs most from the paper is the ink, whichever side of it.
    departure = grey.astype(np.float64) - paper.level
    if sheet is not None:
        departure[~sheet] = 0
    inverted = bool(np.sum(departure * np.abs(departure)) < 0)
    ink, box = _find_ink(-departure if inverted else departure, paper, inverted)
    return _Found(ink, box, inverted)


def is_mnist(grey: NDArray[np.uint8]) -> bool:
    """Whether the recipe's traces are on a picture: full ink, a box of 20 pixels, the barycentre.

    The least and greatest values over MNIST's 70,000 images: brightest pixel 254 to 255, longer
    side of the box 19 to 20, barycentre 13.98 to 15.00. Some reach the border, so it may hold ink.
    """
    if grey.shape != (SIZE, SIZE) or grey.max() < 250:
        return False
    for profile in (grey.sum(0, dtype=np.float64), grey.sum(1, dtype=np.float64)):
        if not 13.95 <= _barycentre(profile) <= 15.005:
            return False
    rows, columns = _extent(grey > 0)
    return max(rows.stop - rows.start, columns.stop - columns.start) in (BLOCK - 1, BLOCK)


def _barycentre(profile: NDArray[np.float64]) -> float:
    return float(profile @ (np.arange(len(profile)) + 0.5) / profile.sum())


def _extent(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of the tight box around what is true, of which there must be some."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _find_ink(
    departure: NDArray[np.float64], paper: Paper, inverted: bool
) -> tuple[NDArray[np.float64], tuple[slice, slice]]:
    """Cut out the ink in its tight box, as shares of full ink; and the box.

    Args:
        departure: of the picture from the paper, positive where there is ink.
        paper: what it departs from.
        inverted: the ink is darker than the paper.

    Raises:
        NoInk: none stands out, or all is ink.
    """
    room = np.maximum(paper.level if inverted else 255 - paper.level, 1)
    ink = np.clip(departure / room, 0, 1)
    # A mean over 3x3 pixels has a third of the noise: 1.75 deviations of one pixel are 5 of it.
    evidence, deviations = (_blur(ink), 1.75) if paper.photographed else (ink, 5)
    floor = np.broadcast_to(np.maximum(deviations * paper.noise / room, LEAST_INK), ink.shape)
    stands_out = evidence > floor
    candidates = evidence[stands_out]
    if candidates.size == 0:
        raise NoInk("nothing is drawn on the image: it is blank")
    strength = float(np.mean(candidates[candidates >= _otsu(candidates)]))
    if strength < max(LEAST_CONTRAST, 1.5 * float(np.mean(floor[stands_out]))):
        raise NoInk("nothing is drawn on the image that stands out from the paper")
    cut = PHOTOGRAPHED_CUT if paper.photographed else DRAWN_CUT
    mask = stands_out & (evidence > cut * strength)
    if np.mean(mask) > MOST_INK:
        raise NoInk("the image is nothing but ink: leave some paper around what is drawn")
    _drop_specks(mask, evidence)
    if np.count_nonzero(mask) < LEAST_PIXELS:
        raise NoInk("nothing is drawn on the image but specks")
    if paper.photographed:
        ink = np.minimum(ink / (FULL_INK * strength), 1)
    box = _extent(mask)
    return (ink * mask)[box], box


def _otsu(values: NDArray[np.float64]) -> float:
    """Split values in 0 to 1 in two classes, as far apart as they can be: Otsu, 1979."""
    counts = np.bincount(np.minimum(values * 64, 63).astype(np.intp), minlength=64)
    below = np.cumsum(counts)[:-1]
    above = len(values) - below
    sums = np.cumsum(counts * np.arange(64))
    distance = sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return float(1 + np.argmax(below * above * distance**2)) / 64


def _blur(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average the 3x3 pixels around each."""
    padded = np.pad(values, 1, mode="edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    blurred: NDArray[np.float64] = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9
    return blurred


def _drop_specks(mask: NDArray[np.bool_], ink: NDArray[np.float64]) -> None:
    """Clear in `mask` a frame, and the connected parts that have little ink beside the largest."""
    parts = label_parts(mask)
    frame = _find_frame(mask, parts)
    weights = np.bincount(parts, ink[mask])
    if frame is not None:
        weights[frame] = 0
    mask[mask] = (weights >= SPECK * weights.max())[parts]


def _find_frame(mask: NDArray[np.bool_], parts: NDArray[np.intp]) -> int | None:
    """The part that is a frame around others: it lies along all four sides of its box."""
    sizes = np.bincount(parts)
    for part in np.flatnonzero(sizes >= sum(mask.shape)) if min(mask.shape) >= LEAST_SIDE else ():
        one, others = np.zeros_like(mask), np.zeros_like(mask)
        one[mask], others[mask] = parts == part, parts != part
        box = _extent(one)
        height, width = one[box].shape
        band = max(1, round(0.06 * min(height, width)))
        bands = (one[box][:band], one[box][-band:], one[box][:, :band].T, one[box][:, -band:].T)
        if all(np.mean(side.any(0)) >= ALONG for side in bands) and others[box].any():
            inner = others[box][_extent(others[box])].shape
            if max(inner) >= LEAST_SHARE * min(mask.shape):
                return int(part)
    return None


def _place(ink: NDArray[np.float64]) -> NDArray[np.uint8]:
    """MNIST's recipe from the tight box on: square, 20x20 by area, bytes, 28x28 by barycentre.

    Two steps of the recipe are left out. It doubles the pixels of a crop under 20 pixels: an exact
    mean over areas is the same with and without. And it enlarges no crop under 10 pixels to 20:
    it was made for scans, where a digit of 10 pixels was a speck. Digits of 8 x 8 pixels would come
    out at 16 pixels a side, which no model has seen. What the barycentre moves out of the image is
    cut off, as in the original.
    """
    height, width = ink.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    weights = _area_weights(side)
    rows, columns = weights[:, top : top + height], weights[:, left : left + width]
    block = rows @ ink @ columns.T
    # One level more or less can move the barycentre over a whole number and the image by a pixel.
    # So halves are rounded up whatever the order of the sums: float64 errs by 1e-12 here, and in a
    # drawing what is not a half is 1 / (2 * 255 * 512**2) = 7e-9 or more away from it.
    block = np.floor(255 * block / min(1.0, block.max()) + 0.5 + 1e-9).clip(0, 255)
    y, x = (int(15 - _barycentre(block.sum(axis))) for axis in (1, 0))
    canvas = np.zeros((SIZE + 2 * BLOCK, SIZE + 2 * BLOCK), np.uint8)
    canvas[BLOCK + y : 2 * BLOCK + y, BLOCK + x : 2 * BLOCK + x] = block
    return canvas[BLOCK : BLOCK + SIZE, BLOCK : BLOCK + SIZE].copy()


def _area_weights(side: int) -> NDArray[np.float64]:
    """Share out a line of `side` pixels to 20 equal spans: weights `[20, side]`."""
    bounds = np.linspace(0, side, BLOCK + 1)[:, None]
    pixels = np.arange(side)
    covered = np.minimum(bounds[1:], pixels + 1) - np.maximum(bounds[:-1], pixels)
    return np.asarray(np.clip(covered, 0, None) * (BLOCK / side))
