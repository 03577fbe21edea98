"""TIFF, where Pillow needs help.

Grey of more than 8 bits in which 0 is white is not inverted by Pillow, and of some kinds not read;
some samples in separate planes, and some in the other order of bytes, are misread; so are palettes
of 8 bits a colour. And libtiff writes what it finds odd to standard error. Of a file the first
image counts.
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
"""Tags of TIFF 6.0; strips and tiles: where these are in the file."""

_PILLOW = Lock()
"""Held while Pillow has settings that are not its own."""


def open_tiff(content: bytes) -> "Image.Image":
    """Open a TIFF and decode no pixel.

    Where 0 is white, `tag_v2` says so, and samples of more than 8 bits are as the file has them.

    Raises:
        Exception: of nearly any class, where Pillow cannot read it, or pixels are missing.
    """
    from PIL import TiffImagePlugin

    header = read_tiff_header(content)
    if header is not None and header.is_planar and header.samples == 2:
        raise SyntaxError("Pillow gives alpha 0 where it has a plane of its own next to grey")
    deep_min_white = header is not None and header.is_min_white and header.bits > 8
    if header is not None and deep_min_white:
        content = header.as_min_black(content)
    with _PILLOW:
        before = TiffImagePlugin.READ_LIBTIFF
        # Pillow itself takes planes of any depth for bytes.
        TiffImagePlugin.READ_LIBTIFF = before or (header is not None and header.is_planar)
        try:
            image = TiffImagePlugin.TiffImageFile(BytesIO(content))
        finally:
            TiffImagePlugin.READ_LIBTIFF = before
    if deep_min_white:
        image.tag_v2[PHOTOMETRIC] = 0
    _check_all_there(image, header.samples if header is not None and header.is_planar else 1)
    _mend(image)
    return image


def open_given(image: Any, content: bytes) -> "Image.Image":
    """Make sure that the pixels of a TIFF that Pillow has opened are read rightly.

    Args:
        image: of `PIL.TiffImagePlugin`, with no pixel decoded yet.
        content: of its file; empty if `image` is at another page than the first.

    Returns:
        The image of `open_tiff`; of another page `image` itself, fix_transparency.

    Raises:
        UnsupportedFormat: of a kind that Pillow misreads, such a page cannot be fix_transparency.
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
    _mend(image)
    page: Image.Image = image
    return page


def _mend(image: Any) -> None:
    """Correct how an opened TIFF will be decoded."""
    if image.use_load_libtiff:  # which gives samples in this machine's order of bytes
        image.tile = [tile._replace(args=_native(tile.args)) for tile in image.tile]
    colours = image.tag_v2.get(_PALETTE, ()) if image.mode in ("P", "PA") else ()
    # The standard has 16 bits a colour, of which Pillow keeps the upper 8. Some programs write 8;
    # libtiff's tools take them so too where no value is above 255.
    if colours and max(colours) <= 255:
        from PIL import ImagePalette

        image.palette = ImagePalette.raw("RGB;L", bytes(colours))


def _check_all_there(image: Any, planes: int) -> None:
    """Refuse a TIFF with fewer strips or tiles than its size takes; Pillow leaves the rest black.

    Raises:
        OSError: so it is.
    """
    places = image.tag_v2.get(_STRIPS) or image.tag_v2.get(_TILES) or ()
    boxes = [tile[1] for tile in image.tile]
    covered = sum((right - left) * (low - top) for left, top, right, low in boxes)
    needed = image.size[0] * image.size[1] * (1 if image.use_load_libtiff else planes)
    if 0 in places or covered < needed:
        raise OSError("strips or tiles are missing")


def _native(args: Any) -> Any:
    """The arguments of a decoder whose samples are in this machine's order of bytes."""
    mode, *rest = args
    return (re.sub(r"^([IF];\d+)B?([SF])$", r"\1N\2", mode), *rest)


@contextmanager
def quiet_tiff() -> Iterator[None]:
    """Let neither Pillow nor libtiff write to standard error what they think of a TIFF."""
    import ctypes

    from PIL import _imaging

    setters = []
    with suppress(OSError, AttributeError):  # where libtiff cannot be reached through Pillow
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
