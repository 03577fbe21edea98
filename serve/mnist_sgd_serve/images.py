"""Any picture that people send, to one array of grey bytes.

PNG, JPEG, BMP, GIF and WebP are read, recognised by their content and never by their name (see
`formats`), in every mode these formats have (see `grey`), turned as their EXIF data says; and TIFF,
which can hold nearly anything, where the caller knows whose files they are. Of an animation the
first frame is read. The size is checked in the header, before a pixel is decoded, and nothing but
an `ImageError` comes of wrong bytes. Only the one reader of Pillow that a file needs is imported,
when it is needed.
"""

import importlib
import os
from contextlib import AbstractContextManager, nullcontext
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.dialects import describe
from mnist_sgd_serve.formats import HEAD, Reader, choose_reader
from mnist_sgd_serve.grey import to_grey
from mnist_sgd_serve.headers import gif_size, split_exif, still_png
from mnist_sgd_serve.image_errors import (
    ImageError,
    ImageTooLarge,
    NoInk,
    NotAnImage,
    UnsupportedFormat,
)
from mnist_sgd_serve.orientation import orientation
from mnist_sgd_serve.samples import mended, read_samples

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "ImageError",
    "ImageTooLarge",
    "NoInk",
    "NotAnImage",
    "UnsupportedFormat",
    "decode",
]

MAX_PIXELS = 25_000_000
"""The largest picture that is decoded: twice a usual phone photograph, 100 MB as RGBA."""

MAX_BYTES = 32 * 2**20
"""The largest file that is read."""


def decode(
    source: "bytes | bytearray | memoryview | str | os.PathLike[str] | Image.Image",
    *,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
    tiff: bool = False,
) -> NDArray[np.uint8]:
    """Read a picture as grey bytes, 0 black and 255 white, upright.

    Colours become grey by ITU-R BT.601 luma, or by one of red, green and blue where luma shows next
    to nothing; of 16 bits the upper 8 are kept, or the range that occurs, if it is small, is
    stretched; and what is transparent becomes the colour of the paper. See `grey`.

    Args:
        source: the bytes of an image file, the path of one, or a Pillow image, which is turned as
            its `info` says: for one that you have turned yourself, delete what is there, as
            `PIL.ImageOps.exif_transpose` does.
        max_pixels: width times height that is still decoded.
        max_bytes: length of a file that is still read.
        tiff: read TIFF too, for files of one's own.

    Returns:
        uint8 `[height, width]`, C-contiguous.

    Raises:
        NotAnImage: the bytes are not an image, or a damaged one.
        UnsupportedFormat: the image is of another format, or of a kind that Pillow does not read;
            the message says which, and what to do.
        ImageTooLarge: it has more pixels or bytes than allowed.
        NoInk: it is transparent everywhere.
        OSError: the file cannot be opened or read.
        TypeError: `source` is something else.
    """
    if isinstance(source, (str, os.PathLike)):
        try:
            content = _read(source, max_bytes, tiff)
            return decode(content, max_pixels=max_pixels, max_bytes=max_bytes, tiff=tiff)
        except ImageError as error:
            raise type(error)(f"{os.fspath(source)}: {error}") from error
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(bytes(source), max_pixels, max_bytes, tiff)

    from PIL import Image

    if isinstance(source, Image.Image):
        return _decode_given(source, max_pixels)
    raise TypeError(f"expected bytes, a path or a Pillow image, got {type(source).__name__}")


def _read(path: "str | os.PathLike[str]", max_bytes: int, tiff: bool) -> bytes:
    """Read a file, unless its first bytes are none of a picture: it may be a film of gigabytes."""
    with open(path, "rb") as file:
        head = file.read(HEAD)
        size = max(os.fstat(file.fileno()).st_size, len(head))
        choose_reader(head, tiff=tiff, size=size)
        return head + file.read(max(0, max_bytes + 1 - len(head)))


def _decode(content: bytes, max_pixels: int, max_bytes: int, tiff: bool) -> NDArray[np.uint8]:
    if len(content) > max_bytes:
        raise ImageTooLarge(f"the image file is larger than {max_bytes} bytes, the most allowed")
    reader = choose_reader(content, tiff=tiff)
    from PIL import Image

    try:
        with _quiet(reader.name):
            return _pixels(_open(reader, content, max_pixels), max_pixels)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageTooLarge("the image has far more pixels than are allowed") from error
    except Exception as error:  # Pillow's readers raise nearly any class on damaged bytes
        raise _unreadable(reader.name, content, error) from error


def _decode_given(image: "Image.Image", max_pixels: int) -> NDArray[np.uint8]:
    try:
        with _quiet(image.format):
            return _pixels(image, max_pixels)
    except ImageError:
        raise
    except Exception as error:  # as above
        raise _unreadable(image.format or "given", b"", error) from error


def _quiet(name: str | None) -> AbstractContextManager[None]:
    """Keep from standard error what is thought of a file; of other formats nothing is."""
    if name != "TIFF":
        return nullcontext()
    from mnist_sgd_serve.tiff import quiet_tiff

    return quiet_tiff()


def _open(reader: Reader, content: bytes, max_pixels: int) -> "Image.Image":
    """Read the header of an image file and decode no pixel."""
    if reader.name == "TIFF":
        from mnist_sgd_serve.tiff import open_tiff

        return open_tiff(content)
    exif = None
    if reader.name == "GIF":
        _check_size(*gif_size(content), max_pixels)
    elif reader.name == "PNG":
        content = still_png(content)
    elif reader.name == "JPEG":
        content, exif = split_exif(content)
    # The class itself, not Image.open: that would import five readers, follow a JPEG into its
    # multi-picture extension, and warn of sizes that are refused here.
    module = importlib.import_module(f"PIL.{reader.module}")
    image: Image.Image = getattr(module, reader.image)(BytesIO(content))
    if exif is not None:
        image.info["exif"] = exif
    return image


def _pixels(image: "Image.Image", max_pixels: int) -> NDArray[np.uint8]:
    """Decode an opened image to upright grey."""
    _check_size(*image.size, max_pixels)
    samples = read_samples(image)
    image.load()
    # Pillow turns a TIFF itself when it decodes it.
    turned = 1 if image.format == "TIFF" else orientation(image.info)
    grey = to_grey(mended(image, samples), samples)
    return np.ascontiguousarray(_upright(grey, turned))


def _unreadable(name: str, content: bytes, error: Exception) -> ImageError:
    """The error for an image that Pillow cannot read: it is of a rare kind, or damaged."""
    kind = describe(name, content, error)
    if kind:
        return UnsupportedFormat(f"{kind} cannot be read: save it as PNG")
    return NotAnImage(f"the {name} image is damaged or cut short")


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"the image is {width} x {height} pixels, at most {max_pixels} in all are allowed"
        )
    if not width * height:
        raise NotAnImage(f"the image is {width} x {height} pixels, it has none")


def _upright(grey: NDArray[np.uint8], turned: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation: 5 to 8 exchange the axes, the rest are mirrorings."""
    if turned >= 5:
        grey = grey.T
    if turned in (3, 4, 7, 8):
        grey = grey[::-1]
    if turned in (2, 3, 6, 7):
        grey = grey[:, ::-1]
    return grey
