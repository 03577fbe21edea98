"""What every preparation of a picture begins with: its border, and a size that is no burden."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["border", "shrink"]

Pixel = TypeVar("Pixel", bound=np.generic)

LONGEST_SIDE = 512
"""Larger pictures are averaged down to it: a digit a tenth as high still has 51 pixels."""


def border(grey: NDArray[Pixel]) -> NDArray[Pixel]:
    """The pixels of the four sides, `[2 * height + 2 * width]`: corners count twice."""
    return np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])


def shrink(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average squares of pixels until the longer side is at most `LONGEST_SIDE`."""
    factor = -(-max(grey.shape) // LONGEST_SIDE)
    if factor == 1:
        return grey
    from PIL import Image

    return np.asarray(Image.fromarray(grey).reduce(factor))
