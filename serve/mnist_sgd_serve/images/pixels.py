"""Pixel operations that all kinds of preprocessing share."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Pixel = TypeVar("Pixel", bound=np.generic)

LONGEST_SIDE = 512
"""Larger pictures are averaged down to it: a digit of a tenth of that still has 51 pixels."""


def border(grey: NDArray[Pixel]) -> NDArray[Pixel]:
    """Return the border pixels, `[2 * height + 2 * width]`; corners count twice."""
    return np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])


def shrink(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average squares of pixels until the longer side is at most `LONGEST_SIDE`."""
    factor = -(-max(grey.shape) // LONGEST_SIDE)
    if factor == 1:
        return grey
    from PIL import Image

    return np.asarray(Image.fromarray(grey).reduce(factor))


def undo_upscaling(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Undo nearest-neighbour upscaling, down to 2 x 2 pixels for each original pixel.

    One pixel for each would leave no position in its middle to crop at.
    """
    height, width = grey.shape
    rows = 1 + np.flatnonzero(np.any(grey[1:] != grey[:-1], 1))
    columns = 1 + np.flatnonzero(np.any(grey[:, 1:] != grey[:, :-1], 0))
    side = int(np.gcd.reduce(np.concatenate([[height, width], rows, columns])))
    return grey if side <= 2 else grey[::side, ::side].repeat(2, 0).repeat(2, 1)


def over_3x3(plane: NDArray[Pixel], function: np.ufunc) -> NDArray[Pixel]:
    """Combine the 3 x 3 pixels around each pixel with a binary function; edge pixels repeat."""
    padded = np.pad(plane, 1, mode="edge")
    rows = function(function(padded[:-2], padded[1:-1]), padded[2:])
    combined: NDArray[Pixel] = function(function(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    return combined
