"""Open TIFF files, correcting what Pillow misreads.

Pillow does not invert grey of more than 8 bits in which 0 is white, and cannot read some of it; it
misreads some samples in separate planes or in the other byte order, and palettes of 8 bits per
colour. libtiff prints its warnings to standard error. Only the first image of a file is used.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING, Any

from mnist_sgd_serve.images.errors import UnsupportedFormat
from mnist_sgd_serve.images.tiff_header import PHOTOMETRIC, read_tiff_header

if TYPE_CHECKING:
    from PIL import Image

_BITS, _STRIPS, _PLANES, _PALETTE, _TILES = 258, 273, 284, 320, 324
"""TIFF 6.0 tags; the ones of strips and tiles are their offsets."""

_PILLOW = Lock()
"""Held while a global setting of Pillow is changed."""


def open_tiff(content: bytes) -> "Image.Image":
    """Open a TIFF without decoding a pixel.

    Samples of more than 8 bits are not inverted where 0 is white; `tag_v2` says whether it is.

    Raises:
        Exception: of nearly any class, if Pillow cannot read it or pixels are missing.
    """
    from PIL import TiffImagePlugin

    header = read_tiff_header(content)
    if header is not None and header.is_planar and header.samples == 2:
        raise SyntaxError("Pillow reads alpha as 0 if it is in a separate plane next to grey")
    deep_min_white = header is not None and header.is_min_white and header.bits > 8
    if header is not None and deep_min_white:
        content = header.as_min_black(content)
    with _PILLOW:
        before = TiffImagePlugin.READ_LIBTIFF
        # Pillow's own decoder reads planes of any bit depth as bytes.
        TiffImagePlugin.READ_LIBTIFF = before or (header is not None and header.is_planar)
        try:
            image = TiffImagePlugin.TiffImageFile(BytesIO(content))
        finally:
            TiffImagePlugin.READ_LIBTIFF = before
    if deep_min_white:
        image.tag_v2[PHOTOMETRIC] = 0
    _check_all_there(image, header.samples if header is not None and header.is_planar else 1)
    _correct(image)
    return image


def open_opened(image: Any, content: bytes) -> "Image.Image":
    """Correct a TIFF that the caller has opened with Pillow.

    Args:
        image: a `TiffImageFile`, not yet decoded.
        content: its file; empty if `image` is at another page than the first.

    Returns:
        The image of `open_tiff`; for another page, `image` itself, corrected.

    Raises:
        UnsupportedFormat: Pillow misreads this page, and that cannot be corrected.
        Exception: as for `open_tiff`.
    """
    if content:
        return open_tiff(content)
    bits = max(image.tag_v2.get(_BITS, (1,)))
    if image.tag_v2.get(_PLANES) == 2 and bits > 8 and not image.use_load_libtiff:
        raise UnsupportedFormat(
            f"a page of a TIFF image with {bits}-bit samples in separate planes cannot be read: "
            "save it as PNG"
        )
    _correct(image)
    page: Image.Image = image
    return page


def _correct(image: Any) -> None:
    """Correct byte order and palette of an opened TIFF before it is decoded."""
    if image.use_load_libtiff:  # which returns samples in native byte order
        image.tile = [tile._replace(args=_native(tile.args)) for tile in image.tile]
    colours = image.tag_v2.get(_PALETTE, ()) if image.mode in ("P", "PA") else ()
    # TIFF has 16-bit palettes, of which Pillow keeps the upper 8 bits. Some programs write 8 bits;
    # like libtiff's tools, assume so if no value is above 255.
    if colours and max(colours) <= 255:
        from PIL import ImagePalette

        image.palette = ImagePalette.raw("RGB;L", bytes(colours))


def _check_all_there(image: Any, planes: int) -> None:
    """Raise OSError if strips or tiles are missing; Pillow would leave them black."""
    places = image.tag_v2.get(_STRIPS) or image.tag_v2.get(_TILES) or ()
    boxes = [tile[1] for tile in image.tile]
    covered = sum((right - left) * (low - top) for left, top, right, low in boxes)
    needed = image.size[0] * image.size[1] * (1 if image.use_load_libtiff else planes)
    if 0 in places or covered < needed:
        raise OSError("strips or tiles are missing")


def _native(args: Any) -> Any:
    """Return decoder arguments with native byte order."""
    mode, *rest = args
    return (re.sub(r"^([IF];\d+)B?([SF])$", r"\1N\2", mode), *rest)


@contextmanager
def quiet_tiff() -> Iterator[None]:
    """Suppress the warnings of Pillow and libtiff on standard error."""
    import ctypes

    from PIL import _imaging

    setters = []
    with suppress(OSError, AttributeError):  # libtiff may not be reachable through Pillow
        library = ctypes.CDLL(_imaging.__file__)
        setters = [library.TIFFSetErrorHandler, library.TIFFSetWarningHandler]
    for setter in setters:
        setter.restype, setter.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    before = [setter(None) for setter in setters]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for setter, handler in zip(setters, before, strict=True):
            setter(handler)
