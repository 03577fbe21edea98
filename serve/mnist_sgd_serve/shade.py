"""A picture without its shadows: how much darker, or lighter, each pixel is than its paper.

The paper is what remains of a picture after a morphological closing, which removes whatever is
narrow and dark, or light, and leaves the edge of a shadow where it is.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["without_shade"]

WIDEST = 1 / 6
"""What is narrower than this share of the picture's shorter side may be a stroke."""
PAPER = 200
"""The grey that paper gets: noise can be lighter."""


def without_shade(grey: NDArray[np.uint8], *, light: bool) -> NDArray[np.uint8]:
    """Compare each pixel of a picture with its paper.

    Args:
        grey: uint8 `[height, width]`.
        light: the ink is lighter than the paper.

    Returns:
        uint8 `[height, width]`, dark ink on even paper.
    """
    from PIL import Image, ImageFilter

    width = max(3, round(WIDEST * min(grey.shape)))
    smooth = np.asarray(Image.fromarray(grey).filter(ImageFilter.BoxBlur(1)))
    # Beyond the border there is as much paper as the closing needs.
    padded = np.pad(255 - smooth if light else smooth, width, mode="edge")
    closed = 255 - _highest(255 - _highest(padded, width), width)
    paper = closed[width:-width, width:-width]
    dark, bright = (255 - paper, grey) if light else (grey, paper)
    share = dark / np.maximum(bright, 1).astype(np.float32)
    return np.minimum(PAPER * share, 255).astype(np.uint8)


def _highest(plane: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Give the maximum over `width` x `width` pixels around each."""
    for axis in (0, 1):
        lines = np.moveaxis(plane, axis, 0)
        count = len(lines)
        highest = np.pad(lines, ((width // 2, width - 1 - width // 2), (0, 0)), mode="edge")
        reach = 1
        while reach < width:  # of `reach` lines from each on, `highest` is the maximum
            step = min(reach, width - reach)
            highest = np.maximum(highest[:-step], highest[step:])
            reach += step
        plane = np.moveaxis(highest[:count], 0, axis)
    return plane
