"""Normalise any drawing or photograph of a character to an MNIST image.

A model trained on MNIST classifies other pictures well only after MNIST's own preprocessing: the
ink is cropped, scaled into 20x20 by area averaging, and placed by its barycentre in 28x28, light on
dark. The procedure follows Yadav and Bottou, "Cold Case: the Lost MNIST Digits" (arXiv 1905.10498);
before it, `segmentation` finds the ink of the character and drops everything around the sheet.

An image that is already normalised, as all 70,000 of MNIST are, stays unchanged byte for byte.
"""

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.digits.connected_components import bounding_box
from mnist_sgd_serve.images.digits.segmentation import segment_character
from mnist_sgd_serve.images.pixels import shrink, undo_upscaling

SIZE = 28
BLOCK = 20


def to_mnist(grey: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], bool]:
    """Segment the character on a picture and normalise it to an MNIST image.

    Args:
        grey: uint8 `[height, width]`, ink of either polarity.

    Returns:
        uint8 `[28, 28]`, light ink on dark paper; and whether the picture was dark on light.

    Raises:
        BlankImage: it is blank, all ink, or ambiguous.
    """
    ink, inverted = segment_character(undo_upscaling(shrink(grey)))
    return _place(ink), inverted


def is_mnist(grey: NDArray[np.uint8]) -> bool:
    """Whether a picture is already normalised: full ink, a box of 20 pixels, centred barycentre.

    Over MNIST's 70,000 images the brightest pixel is 254 to 255, the longer side of the bounding
    box 19 to 20, and the barycentre 13.98 to 15.00. Some touch the border.
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
    """Scale cropped ink into 20x20 by area and place it by its barycentre in 28x28.

    Two steps of the original are left out. Doubling crops under 20 pixels makes no difference to an
    exact area average. And crops under 10 pixels are scaled up to 20 too: in the original's scans
    they were specks, but a digit of 8 x 8 pixels would come out at 16, which no model has seen.
    What the barycentre moves out of the image is cut off, as in the original.
    """
    height, width = ink.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    weights = _area_weights(side)
    rows, columns = weights[:, top : top + height], weights[:, left : left + width]
    block = rows @ ink @ columns.T
    # One grey level can move the barycentre across an integer and the image by a pixel. So halves
    # are rounded up whatever the order of summation: float64 errors are about 1e-12 here, and other
    # values of a drawing are at least 1 / (2 * 255 * 512**2) = 7e-9 away from a half.
    block = np.floor(255 * block / min(1.0, block.max()) + 0.5 + 1e-9).clip(0, 255)
    y, x = (int(15 - _barycentre(block.sum(axis))) for axis in (1, 0))
    canvas = np.zeros((SIZE + 2 * BLOCK, SIZE + 2 * BLOCK), np.uint8)
    canvas[BLOCK + y : 2 * BLOCK + y, BLOCK + x : 2 * BLOCK + x] = block
    return canvas[BLOCK : BLOCK + SIZE, BLOCK : BLOCK + SIZE].copy()


def _area_weights(side: int) -> NDArray[np.float64]:
    """Return the weights `[20, side]` that average a line of `side` pixels over 20 equal spans."""
    bounds = np.linspace(0, side, BLOCK + 1)[:, None]
    pixels = np.arange(side)
    covered = np.minimum(bounds[1:], pixels + 1) - np.maximum(bounds[:-1], pixels)
    return np.asarray(np.clip(covered, 0, None) * (BLOCK / side))
