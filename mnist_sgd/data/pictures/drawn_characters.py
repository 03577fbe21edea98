"""Tell whether a picture looks like a drawn character: handwriting, type, or a photograph of it.

Icons, emoji and photographs of things mostly do not: they have areas wider than a stroke, several
tones, or no plain paper.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mnist_sgd_serve.images.resize import fit

STROKE_WIDTH = 4
"""Pixels; strokes of a character of 20 x 20 pixels are rarely wider. MNIST's are 2 to 4."""
MAX_INSIDE = 0.25
"""Fraction of a character's ink that may be left after eroding `STROKE_WIDTH` pixels."""
MIN_FULL = 0.2
"""Fraction of a character's ink pixels that are full ink, at least."""
INK, FULL_INK = 39, 205
"""Grey levels, of 255, from which a preprocessed pixel counts as ink and as full ink."""
MIN_PLAIN = 0.5
"""Fraction of a 28 x 28 picture that is plain paper, at least. MNIST's digits have 0.7."""
PLAIN = 12
"""Grey levels, of 255, by which neighbouring pixels of plain paper differ at most."""


def looks_drawn(image: NDArray[np.uint8], picture: NDArray[np.uint8]) -> bool:
    """Tell whether a picture shows strokes of full ink on plain paper.

    Args:
        image: uint8 `[28, 28]`, the picture preprocessed with `mnist`: light ink on dark.
        picture: uint8 `[height, width]`.
    """
    return _has_strokes(image) and _plain_fraction(fit(picture)) >= MIN_PLAIN


def _has_strokes(image: NDArray[np.uint8]) -> bool:
    ink = int(np.count_nonzero(image >= INK))
    inside = int(_eroded(image).sum(dtype=np.int64))
    full = int(np.count_nonzero(image >= FULL_INK))
    return inside <= MAX_INSIDE * int(image.sum(dtype=np.int64)) and full >= MIN_FULL * ink


def _eroded(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Take the minimum over 5 x 5 pixels, which removes strokes of up to `STROKE_WIDTH` pixels."""
    padded = np.pad(image, STROKE_WIDTH // 2)
    rows = sliding_window_view(padded, STROKE_WIDTH + 1, axis=0).min(-1)
    eroded: NDArray[np.uint8] = sliding_window_view(rows, STROKE_WIDTH + 1, axis=1).min(-1)
    return eroded


def _plain_fraction(picture: NDArray[np.uint8]) -> float:
    """Return the fraction of pixels that are like the next one in their row and column."""
    greys = picture.astype(np.int16)
    edges = np.zeros(greys.shape, np.bool_)
    edges[:, :-1] |= np.abs(np.diff(greys, axis=1)) > PLAIN
    edges[:-1] |= np.abs(np.diff(greys, axis=0)) > PLAIN
    return 1 - float(edges.mean())
