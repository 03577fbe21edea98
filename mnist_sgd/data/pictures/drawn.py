"""Whether a picture looks like a drawn character, as handwriting, type and their photographs do.

Icons, emoji and photographs of things mostly do not: they have areas wider than a stroke, or
several tones, or no plain paper.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mnist_sgd_serve.images.resize import fit

__all__ = ["looks_drawn"]

STROKE = 4
"""Pixels: a stroke of a character of 20 x 20 pixels is rarely wider. MNIST's are 2 to 4."""
MOST_INSIDE = 0.25
"""At most this share of a character's ink is left when its strokes are thinned by `STROKE`."""
LEAST_FULL = 0.2
"""At least this share of a character's pixels is full ink."""
INK, FULL_INK = 39, 205
"""From these greys on, of 255, a preprocessed pixel counts as ink and as full ink."""
LEAST_PLAIN = 0.5
"""At least this share of a picture of 28 x 28 pixels is plain paper. MNIST's digits have 0.7."""
PLAIN = 12
"""Greys, of 255, by which a pixel of plain paper differs from the next ones, at most."""


def looks_drawn(image: NDArray[np.uint8], picture: NDArray[np.uint8]) -> bool:
    """Whether a picture shows strokes of full ink on plain paper.

    Args:
        image: uint8 `[28, 28]`, what `mnist` made of the picture: light ink on dark.
        picture: uint8 `[height, width]`.
    """
    return _has_strokes(image) and _plain_share(fit(picture)) >= LEAST_PLAIN


def _has_strokes(image: NDArray[np.uint8]) -> bool:
    ink = int(np.count_nonzero(image >= INK))
    inside = int(_thinned(image).sum(dtype=np.int64))
    full = int(np.count_nonzero(image >= FULL_INK))
    return inside <= MOST_INSIDE * int(image.sum(dtype=np.int64)) and full >= LEAST_FULL * ink


def _thinned(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The least of the 5 x 5 pixels around each: strokes of up to `STROKE` pixels are gone."""
    padded = np.pad(image, STROKE // 2)
    rows = sliding_window_view(padded, STROKE + 1, axis=0).min(-1)
    thinned: NDArray[np.uint8] = sliding_window_view(rows, STROKE + 1, axis=1).min(-1)
    return thinned


def _plain_share(whole: NDArray[np.uint8]) -> float:
    """The share of the pixels that are like the next one in their row and in their column."""
    greys = whole.astype(np.int16)
    edges = np.zeros(greys.shape, np.bool_)
    edges[:, :-1] |= np.abs(np.diff(greys, axis=1)) > PLAIN
    edges[:-1] |= np.abs(np.diff(greys, axis=0)) > PLAIN
    return 1 - float(edges.mean())
