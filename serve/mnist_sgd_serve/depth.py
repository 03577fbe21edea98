"""From samples of more than 8 bits to grey bytes.

A picture that uses the range of its samples becomes what a viewer shows: their upper 8 bits, and so
the bytes of its 8-bit version. Cameras and microscopes use a small part of the range, of which
the upper bits would keep a few levels or one. There the values that occur are stretched over all
bytes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.image_errors import UnsupportedFormat

__all__ = ["LEAST_LEVELS", "to_bytes"]

LEAST_LEVELS = 32
"""Where the upper 8 bits have a smaller range, too few of the 256 levels would be left."""

_AT_ONCE = 2**20
"""Samples that are converted at once, so that no array of 8 bytes a sample is made of them all."""


def to_bytes(values: NDArray[Any], bits: int | None = None) -> NDArray[np.uint8]:
    """Make grey bytes of samples.

    Args:
        values: integers or floating-point numbers `[height, width]`, the greater the lighter.
        bits: of a sample, if that is known; else 16 or, for greater values, 32.

    Returns:
        uint8 `[height, width]`. Integers from 0 to 255 are taken for grey bytes already; so are
        floating-point numbers, but where none is above 1, for which 1 is white.

    Raises:
        UnsupportedFormat: there are values that are not finite.
    """
    if values.dtype.kind == "f":
        return _float_to_bytes(values)
    least, most = int(values.min()), int(values.max())
    if least >= 0 and most <= 255:
        return values.astype(np.uint8)
    shift = (bits or (16 if most < 2**16 else 32)) - 8
    if least >= 0 and most >> shift <= 255:
        levels = (most >> shift) - (least >> shift)
        if levels >= LEAST_LEVELS or _is_widened(values, shift):
            return _each(values, lambda some: some >> shift)
    return _stretched(values, least, most)


def _float_to_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    least, most = float(values.min()), float(values.max())
    if not np.isfinite([least, most]).all():
        raise UnsupportedFormat(
            "the image has values that are not finite, or not numbers: replace them"
        )
    white = 1 if most <= 1 else 255
    if least >= 0 and most <= white and most - least >= white * LEAST_LEVELS / 256:
        return _stretched(values, 0, white)
    return _stretched(values, least, most)


def _is_widened(values: NDArray[Any], shift: int) -> bool:
    """Whether bytes were made so wide, by repeating them or by adding zeros."""
    factors = (1 << shift, sum(1 << bit for bit in range(shift, -1, -8)))
    return any(not np.any(values % factor) for factor in factors)


def _stretched(values: NDArray[Any], black: float, white: float) -> NDArray[np.uint8]:
    """Black becomes 0, white 255, and what is between them in proportion."""
    scale = 255 / ((white - black) or 1)
    return _each(values, lambda some: np.rint((some.astype(np.float64) - black) * scale))


def _each(
    values: NDArray[Any], convert: Callable[[NDArray[Any]], NDArray[Any]]
) -> NDArray[np.uint8]:
    flat, made = values.ravel(), np.empty(values.size, np.uint8)
    for start in range(0, values.size, _AT_ONCE):
        made[start : start + _AT_ONCE] = convert(flat[start : start + _AT_ONCE])
    return made.reshape(values.shape)
