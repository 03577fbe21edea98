"""From samples of more than 8 bits to grey bytes.

A picture that uses the range of its samples becomes what a viewer shows: their upper 8 bits, and so
the bytes of its 8-bit version. Cameras and microscopes use a small part of the range, of which
the upper bits would keep a few levels or one. There the values that occur are stretched over all
bytes.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.errors import UnsupportedFormat
from mnist_sgd_serve.images.sample_format import SampleFormat
from mnist_sgd_serve.images.transparency import find_backdrop

if TYPE_CHECKING:
    from PIL import Image

DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
"""Pillow's modes of more than 8 bits a sample."""

LEAST_LEVELS = 32
"""Where the upper 8 bits have a smaller range, too few of the 256 levels would be left."""

_BAND = 2**18
"""SampleFormat that are converted at once, so that memory holds no wide copy of them all."""

Values: TypeAlias = NDArray[Any]
Scale: TypeAlias = Callable[[Values], NDArray[np.uint8]]


def deep_grey(image: "Image.Image", samples: SampleFormat) -> NDArray[np.uint8]:
    """Make grey bytes of a decoded image of one of the modes `DEEP`.

    Args:
        image: of Pillow; one of its values may be transparent.
        samples: of its file.

    Returns:
        uint8 `[height, width]`, 0 black and 255 white.

    Raises:
        UnsupportedFormat: it has values that are not finite.
        BlankImage: it is transparent everywhere.
    """
    key = image.info.get("transparency")
    if not isinstance(key, int):
        return _deep_grey(image, samples, None)
    shown = _filled(image, samples, np.bool_, lambda band: band != key)
    alpha = shown.view(np.uint8)
    if not alpha.any():
        find_backdrop(alpha, alpha)  # which says so
    grey = _deep_grey(image, samples, key)
    paper = find_backdrop(grey, alpha)
    clear = np.logical_not(shown, out=shown)  # in place: such a picture may be large
    np.copyto(grey, np.uint8(paper), where=clear)
    return grey


def _deep_grey(image: "Image.Image", samples: SampleFormat, key: int | None) -> NDArray[np.uint8]:
    """Grey bytes, of which those where the value is `key` mean nothing."""

    def bands() -> Iterator[Values]:
        for band in _bands(image, samples):
            shown = band if key is None else band[band != key]
            if shown.size:
                yield shown

    scale = find_scale(bands, samples.bits - 1 if samples.bits and samples.signed else samples.bits)
    if key is None:
        grey = _filled(image, samples, np.uint8, scale)
    else:
        least = min(band.min() for band in bands())
        grey = _filled(
            image, samples, np.uint8, lambda band: scale(np.where(band == key, least, band))
        )
    return np.invert(grey, out=grey) if samples.min_is_white else grey


def _filled(
    image: "Image.Image", samples: SampleFormat, kind: Any, make: Callable[[Values], Values]
) -> NDArray[Any]:
    """What `make` gives for the samples, of the data type `kind`."""
    width, height = image.size
    filled, top = np.empty((height, width), kind), 0
    for band in _bands(image, samples):
        filled[top : top + len(band)] = make(band)
        top += len(band)
    return filled


def _bands(image: "Image.Image", samples: SampleFormat) -> Iterator[Values]:
    """The samples, a band of rows at a time."""
    width, height = image.size
    rows = max(1, _BAND // width)
    for top in range(0, height, rows):
        band: Values = np.asarray(image.crop((0, top, width, min(top + rows, height))))
        # Pillow has no mode for unsigned integers of 32 bits, and takes them for signed ones.
        unsigned = image.mode == "I" and samples.bits == 32 and not samples.signed
        yield band.view(np.uint32) if unsigned else band


def find_scale(bands: Callable[[], Iterable[Values]], bits: int | None = None) -> Scale:
    """Find what makes grey bytes of a picture's samples.

    Integers from 0 to 255 are grey bytes already. Floating-point numbers are taken for grey bytes
    too, unless none is above 1: then 1 is white.

    Args:
        bands: gives the picture, the greater the lighter, in arrays of integers or floating-point
            numbers that are not empty; it is called up to three times.
        bits: of a sample, if that is known; else 16 or, for greater values, 32.

    Returns:
        A function from such an array to uint8 of the same shape.

    Raises:
        UnsupportedFormat: there are values that are not finite.
    """
    ranges = [(band.min().item(), band.max().item()) for band in bands()]
    least, most = np.min(ranges).item(), np.max(ranges).item()
    if isinstance(least, float):
        return _float_scale(least, most)
    if least >= 0 and most <= 255:
        return lambda band: band.astype(np.uint8)
    shift = (bits or (16 if most < 2**16 else 32)) - 8
    if least >= 0 and most >> shift <= 255:
        levels = (most >> shift) - (least >> shift)
        if levels >= LEAST_LEVELS or _are_widened(bands, shift):
            return lambda band: (band >> shift).astype(np.uint8)
    return _stretch(least, most)


def _float_scale(least: float, most: float) -> Scale:
    if not np.isfinite([least, most]).all():
        raise UnsupportedFormat(
            "the image has values that are not finite, or not numbers: replace them"
        )
    white = 1 if most <= 1 else 255
    if least >= 0 and most <= white and most - least >= white * LEAST_LEVELS / 256:
        return _stretch(0, white)
    return _stretch(least, most)


def _stretch(black: float, white: float) -> Scale:
    """Black becomes 0, white 255, and what is between them in proportion."""
    scale = 255 / ((white - black) or 1)
    return lambda band: np.rint((band.astype(np.float64) - black) * scale).astype(np.uint8)


def _are_widened(bands: Callable[[], Iterable[Values]], shift: int) -> bool:
    """Whether bytes were made so wide, by repeating them or by adding zeros."""
    factors = (1 << shift, sum(1 << bit for bit in range(shift, -1, -8)))
    return any(not any(np.any(band % factor) for band in bands()) for factor in factors)
