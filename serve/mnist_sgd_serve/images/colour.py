"""Which grey a coloured picture becomes.

Its luma, by ITU-R BT.601, as in a photocopier; but yellow ink on white paper, blue on black or red
on green is as good as invisible there. In such a picture, the one of red, green and blue is taken
that shows most. Contrast is measured within squares of an eighth of the picture, so that light
that falls off from one side to the other is none.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

LOOKED_AT = 128
"""Pixels of the longer side of the picture in which contrast is measured, or fewer."""

_SQUARE = 16

_FAINT = 48
"""Levels of contrast: where luma has as many or more, it is taken."""

_CLEAR = 32
"""A colour is taken only with this contrast, or more, and twice that of luma: less may be noise."""

_LUMA = np.array([299, 587, 114]) / 1000


def choose_channel(colours: NDArray[np.uint8]) -> Literal["L", "R", "G", "B"]:
    """Choose the channel that shows what is in a picture.

    Args:
        colours: uint8 `[height, width, 3]`, red, green and blue, averaged down to `LOOKED_AT`.

    Returns:
        Its name in Pillow; "L" is luma.
    """
    luma = _contrast(colours @ _LUMA)
    if luma < _FAINT:
        contrasts = [_contrast(colours[..., place].astype(float)) for place in range(3)]
        most = max(contrasts)
        if most >= max(_CLEAR, 2 * luma):
            return ("R", "G", "B")[contrasts.index(most)]
    return "L"


def _contrast(band: NDArray[np.float64]) -> float:
    """The greatest difference within one of the squares."""
    missing = [(0, -side % _SQUARE) for side in band.shape]
    rows, columns = (side // _SQUARE for side in np.add(band.shape, np.sum(missing, 1)))
    squares = np.pad(band, missing, "edge").reshape(rows, _SQUARE, columns, _SQUARE)
    return float(np.ptp(squares, axis=(1, 3)).max())
