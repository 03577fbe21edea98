"""What every preparation of a picture needs: its border, and means over areas of it."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["area_weights", "border", "shrink"]

LONGEST_SIDE = 512
"""Larger pictures are averaged down to it: a digit a tenth as high still has 51 pixels."""


def border(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The pixels of the four sides, uint8 `[2 * height + 2 * width]`: corners count twice."""
    return np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])


def shrink(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average squares of pixels until the longer side is at most `LONGEST_SIDE`."""
    factor = -(-max(grey.shape) // LONGEST_SIDE)
    if factor == 1:
        return grey
    from PIL import Image

    return np.asarray(Image.fromarray(grey).reduce(factor))


def area_weights(side: int, spans: int) -> NDArray[np.float64]:
    """Share out a line of `side` pixels to `spans` equal spans: weights `[spans, side]`.

    A weight says how much of a pixel lies in a span, in parts of 1 / `spans` of a pixel: a whole
    number. Those of a span add up to `side`.
    """
    bounds = side * np.arange(spans + 1)[:, None]
    pixels = spans * np.arange(side)
    covered = np.minimum(bounds[1:], pixels + spans) - np.maximum(bounds[:-1], pixels)
    return np.asarray(np.clip(covered, 0, None), np.float64)
