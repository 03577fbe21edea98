"""Convert samples of more than 8 bits to 8-bit grey.

A picture that uses the full range keeps the upper 8 bits of its samples, as in a viewer. Cameras
and microscopes often use a small part of the range, of which the upper bits would keep only a few
levels: there the range of values that occurs is stretched to 0 to 255.
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
"""Pillow's modes with more than 8 bits per sample."""

LEAST_LEVELS = 32
"""The smallest range of the upper 8 bits that is kept as it is, without stretching."""

_BAND = 2**18
"""Samples converted at once, so that no wide copy of the whole picture is made."""

Values: TypeAlias = NDArray[Any]
Scale: TypeAlias = Callable[[Values], NDArray[np.uint8]]


def deep_grey(image: "Image.Image", samples: SampleFormat) -> NDArray[np.uint8]:
    """Convert a decoded image of one of the modes `DEEP` to 8-bit grey.

    Args:
        image: a Pillow image; one of its values may be marked as transparent.
        samples: the sample format of its file.

    Returns:
        uint8 `[height, width]`, 0 black and 255 white.

    Raises:
        UnsupportedFormat: it contains NaN or infinite values.
        BlankImage: it is fully transparent.
    """
    key = image.info.get("transparency")
    if not isinstance(key, int):
        return _deep_grey(image, samples, None)
    shown = _filled(image, samples, np.bool_, lambda band: band != key)
    alpha = shown.view(np.uint8)
    if not alpha.any():
        find_backdrop(alpha, alpha)  # raises BlankImage
    grey = _deep_grey(image, samples, key)
    backdrop = find_backdrop(grey, alpha)
    clear = np.logical_not(shown, out=shown)  # in place: such a picture may be large
    np.copyto(grey, np.uint8(backdrop), where=clear)
    return grey


def _deep_grey(image: "Image.Image", samples: SampleFormat, key: int | None) -> NDArray[np.uint8]:
    """Convert to 8-bit grey; where the value is `key`, the result is arbitrary."""

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
    """Apply `make` to all samples, band by band, into an array of dtype `kind`."""
    width, height = image.size
    filled, top = np.empty((height, width), kind), 0
    for band in _bands(image, samples):
        filled[top : top + len(band)] = make(band)
        top += len(band)
    return filled


def _bands(image: "Image.Image", samples: SampleFormat) -> Iterator[Values]:
    """Yield the samples, a band of rows at a time."""
    width, height = image.size
    rows = max(1, _BAND // width)
    for top in range(0, height, rows):
        band: Values = np.asarray(image.crop((0, top, width, min(top + rows, height))))
        # Pillow has no mode for unsigned 32-bit integers and reads them as signed.
        unsigned = image.mode == "I" and samples.bits == 32 and not samples.signed
        yield band.view(np.uint32) if unsigned else band


def find_scale(bands: Callable[[], Iterable[Values]], bits: int | None = None) -> Scale:
    """Find the mapping from a picture's samples to 8-bit grey.

    Integers from 0 to 255 stay as they are. Floating-point values have white at 1 if none is above
    1, else at 255.

    Args:
        bands: returns the picture, larger is lighter, in non-empty arrays of integers or floats;
            called up to three times.
        bits: bit depth, if known; else 16 or, for larger values, 32.

    Returns:
        A function from such an array to uint8 of the same shape.

    Raises:
        UnsupportedFormat: there are NaN or infinite values.
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
        raise UnsupportedFormat("the image contains NaN or infinite values: replace them")
    white = 1 if most <= 1 else 255
    if least >= 0 and most <= white and most - least >= white * LEAST_LEVELS / 256:
        return _stretch(0, white)
    return _stretch(least, most)


def _stretch(black: float, white: float) -> Scale:
    """Map black to 0, white to 255, linearly between."""
    scale = 255 / ((white - black) or 1)
    return lambda band: np.rint((band.astype(np.float64) - black) * scale).astype(np.uint8)


def _are_widened(bands: Callable[[], Iterable[Values]], shift: int) -> bool:
    """Whether the samples are bytes, widened by repeating them or by appending zeros."""
    factors = (1 << shift, sum(1 << bit for bit in range(shift, -1, -8)))
    return any(not any(np.any(band % factor) for band in bands()) for factor in factors)
