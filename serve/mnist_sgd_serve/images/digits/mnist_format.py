"""From any drawing or photograph in grey to an image of the kind that MNIST is made of.

A model trained on MNIST reads other pictures well only after they went through MNIST's own recipe:
the ink cropped, scaled into 20x20 by area and placed by its barycentre in 28x28, light on dark.
The recipe is that of Yadav and Bottou, "Cold Case: the Lost MNIST Digits" (arXiv 1905.10498); what
comes before it finds the ink. One thing must be drawn on the paper; what is around it is left out,
see `drawn`.

An image that went through the recipe already passes byte for byte, as do all 70,000 of MNIST. It
costs 0.02 ms for one of those, 0.5 ms for another picture of 28x28, 3 to 6 ms for a canvas of
280x280 and 10 ms for a photograph of 12 megapixels, once decoded; 20 to 50 ms where something is
around the sheet, and no picture that was tried more than 0.2 s.
"""

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.digits.connected_components import bounding_box
from mnist_sgd_serve.images.digits.segmentation import segment_character
from mnist_sgd_serve.images.pixels import shrink, undo_upscaling

SIZE = 28
BLOCK = 20


def to_mnist(grey: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], bool]:
    """Find what is drawn on a picture and make an MNIST image of it.

    Args:
        grey: uint8 `[height, width]`, ink of either polarity.

    Returns:
        uint8 `[28, 28]`, light ink on dark paper; and whether the picture was dark on light.

    Raises:
        BlankImage: it is blank, or nothing but ink, or it cannot be told what is drawn.
    """
    ink, inverted = segment_character(undo_upscaling(shrink(grey)))
    return _place(ink), inverted


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
    rows, columns = bounding_box(grey > 0)
    return max(rows.stop - rows.start, columns.stop - columns.start) in (BLOCK - 1, BLOCK)


def _barycentre(profile: NDArray[np.float64]) -> float:
    return float(profile @ (np.arange(len(profile)) + 0.5) / profile.sum())


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
