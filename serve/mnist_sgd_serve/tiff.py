"""TIFF, where Pillow needs help.

Grey of more than 8 bits in which 0 is white is not inverted by Pillow, and of some kinds not read;
some samples in separate planes, and some in the other order of bytes, are misread. And libtiff
writes what it finds odd to standard error. Only the first image of a file counts.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING, Any

from mnist_sgd_serve.tiff_header import PHOTOMETRIC, read_tiff_header

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["open_tiff", "quiet_tiff"]

_PILLOW = Lock()
"""Held while Pillow has settings that are not its own."""


def open_tiff(content: bytes) -> "Image.Image":
    """Open a TIFF and decode no pixel.

    Where 0 is white, `tag_v2` says so, and samples of more than 8 bits are as the file has them.

    Raises:
        Exception: of nearly any class, where Pillow cannot read it.
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
    if image.use_load_libtiff:  # which gives samples in this machine's order of bytes
        image.tile = [tile._replace(args=_native(tile.args)) for tile in image.tile]
    return image


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
