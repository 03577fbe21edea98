"""The backdrop to put behind transparent pixels.

The file does not name one, but the opaque pixels next to transparent ones tell. If these have one
colour and something else is drawn inside, they belong to a sheet, which continues. If they are the
anti-aliased edge of ink whose paper was removed, their grey lies between ink and paper. If they are
ink themselves, the backdrop is white behind dark ink and black behind light ink.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.digits.connected_components import dilate
from mnist_sgd_serve.images.errors import BlankImage

SOLID = 0.9
"""Pixels with at least this fraction of the largest alpha count as opaque."""

MOST_ROWS = 1024
"""Larger pictures are subsampled to this many rows and columns; if all samples are transparent, a
window of this size around the most opaque pixel is used."""

NEAR, FAR = 24, 96
"""Grey levels: at most between pixels of one colour; at least between sheet and ink."""

EVEN_SHARE, BARE_SHARE, DRAWN_SHARE = 0.75, 0.25, 0.002
"""Minimum fractions for a sheet: one colour along its edge, the same colour inside, ink inside."""

FRINGE = 24
"""Minimum mean difference, in grey levels, between an anti-aliased edge and its ink."""


def find_backdrop(grey: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> int:
    """Find the grey of the backdrop, 0 to 255.

    Args:
        grey: uint8 `[height, width]`.
        alpha: uint8 `[height, width]`, 0 where transparent.

    Raises:
        BlankImage: the image is fully transparent.
    """
    if not alpha.any():
        raise BlankImage("nothing is drawn on the image: it is transparent everywhere")
    step: Any = np.s_[:: -(-alpha.shape[0] // MOST_ROWS), :: -(-alpha.shape[1] // MOST_ROWS)]
    if not alpha[step].any():
        row, column = np.unravel_index(int(alpha.argmax()), alpha.shape)
        top, left = (max(0, int(at) - MOST_ROWS // 2) for at in (row, column))
        step = np.s_[top : top + MOST_ROWS, left : left + MOST_ROWS]
    grey, alpha = grey[step], alpha[step]
    solid = alpha >= SOLID * alpha.max()
    edge = solid & dilate(~solid, 1)
    inner = solid & ~edge
    along, inside = grey[edge].astype(np.int16), grey[inner].astype(np.int16)
    if not along.size:  # all pixels count as opaque
        return int(np.median(grey[solid]))
    rim = int(np.median(along))
    if inside.size:
        distance = np.abs(inside - rim)
        is_even = np.mean(np.abs(along - rim) <= NEAR) >= EVEN_SHARE
        is_bare = np.mean(distance <= NEAR) >= BARE_SHARE
        if is_even and is_bare and np.mean(distance >= FAR) >= DRAWN_SHARE:
            return rim
        lighter = along.mean() - inside.mean()
        if abs(lighter) >= FRINGE:
            return 255 if lighter > 0 else 0
    return 255 if grey[solid].mean() < 128 else 0
