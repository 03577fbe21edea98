"""What all preprocessing begins with: a picture's border, and a size that is no burden."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

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


def undo_upscaling(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Make 2 x 2 pixels of each larger square, where a picture was enlarged by repeating pixels.

    So it is read as the small picture that it is. Single pixels would have no middle to crop at.
    """
    height, width = grey.shape
    rows = 1 + np.flatnonzero(np.any(grey[1:] != grey[:-1], 1))
    columns = 1 + np.flatnonzero(np.any(grey[:, 1:] != grey[:, :-1], 0))
    side = int(np.gcd.reduce(np.concatenate([[height, width], rows, columns])))
    return grey if side <= 2 else grey[::side, ::side].repeat(2, 0).repeat(2, 1)
