"""The paper under what is transparent.

A file does not say what its transparent pixels lie on; the pixels next to them do. Where these have
one colour and something else is drawn inside of them, they are a sheet, which goes on. Where they
are ink themselves, the paper is white under dark ink and black under light ink. Where they are the
soft edge of ink whose paper was taken away, they are nearer to that paper than the ink is.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.digits.connected_components import dilate
from mnist_sgd_serve.images.errors import BlankImage

SOLID = 0.9
"""Pixels with this share of the greatest alpha, or more, show a colour of their own."""

MOST_ROWS = 1024
"""Of more rows or columns, every second is looked at, or every third, and so on; or so many next to
something that is drawn between these."""

NEAR, FAR = 24, 96
"""Levels between greys that are of one colour, at most; and between a sheet and ink, at least."""

EVEN_SHARE, BARE_SHARE, DRAWN_SHARE = 0.75, 0.25, 0.002
"""A sheet has one colour along so much of its edge and on so much of its inside, or more; and ink
on so much of it, or more."""

FRINGE = 24
"""Levels by which a soft edge differs from its ink on average, at least."""


def find_backdrop(grey: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> int:
    """Find the grey of the paper.

    Args:
        grey: uint8 `[height, width]`, what is drawn.
        alpha: uint8 `[height, width]`, 0 where nothing is.

    Returns:
        0 to 255.

    Raises:
        BlankImage: it is transparent everywhere.
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
    if not along.size:  # all pixels are alike in this
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
