"""Resize a whole picture to 28x28, for anything that is not a single character.

Nothing is cropped or inverted: the model expects pictures taken like those it was trained on. Each
pixel is the exact mean over the area that it covers, in integer arithmetic, so that every machine
computes the same bytes; a 28x28 picture stays unchanged. Pictures over 512 pixels are first
averaged down by an integer factor.
"""

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.errors import BlankImage
from mnist_sgd_serve.images.pixels import border, shrink

SIDE = 28


def fit(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scale the longer side of a picture to 28 pixels and pad the shorter side.

    The padding has the median grey of the picture's border. Unlike the mean, it is a grey that
    occurs, and the object may touch up to half of the border without changing it; unlike a fixed
    black or white, it leaves no edge between picture and padding.

    Args:
        grey: uint8 `[height, width]`, at least one pixel.

    Returns:
        uint8 `[28, 28]`.

    Raises:
        BlankImage: all pixels are equal.
    """
    grey = shrink(grey)
    _check_not_blank(grey)
    height, width = grey.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    sheet = np.full((side, side), int(np.median(border(grey)) + 0.5), np.uint8)
    sheet[top : top + height, left : left + width] = grey
    return _averaged(sheet)


def stretch(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scale both sides of a picture to 28 pixels, changing its aspect ratio.

    Arguments, result and errors are the same as for `fit`.
    """
    grey = shrink(grey)
    _check_not_blank(grey)
    return _averaged(grey)


def _check_not_blank(grey: NDArray[np.uint8]) -> None:
    if grey.min() == grey.max():
        raise BlankImage("the image is blank: all its pixels are equal")


def _averaged(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average a picture to 28x28, rounding halves up."""
    total = _sums(_sums(grey.astype(np.int64)).T).T
    return np.ascontiguousarray((2 * total + grey.size) // (2 * grey.size), np.uint8)


def _sums(lines: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum lines over 28 equal spans, in 28ths of a line: `[n, m]` to `[28, m]`.

    Computed from cumulative sums: BLAS would spread a matrix product over threads, which is much
    slower while other work keeps the processors busy.
    """
    count = len(lines)
    below = np.zeros((count + 1, lines.shape[1]), np.int64)
    np.cumsum(lines, axis=0, out=below[1:])
    whole, part = np.divmod(count * np.arange(SIDE + 1), SIDE)
    begun = lines[np.minimum(whole, count - 1)]  # the last span ends with a whole line
    return np.asarray(np.diff(SIDE * below[whole] + part[:, None] * begun, axis=0))
