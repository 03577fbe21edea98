"""Any picture that people send, to one array of grey bytes.

PNG, JPEG, BMP, GIF and WebP are read, recognised by their content and never by their name, in
every mode these formats have, turned as their EXIF data says; and TIFF, which can hold nearly
anything, where the caller knows whose files they are. Of an animation the first frame is read. The
size is checked in the header, before a pixel is decoded, and nothing but an `ImageError` comes of
wrong bytes. Each kind of error is a class of its own, so that a server can give each its status.
Only the one reader of Pillow that a file needs is imported, when it is needed.
"""

import importlib
import os
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.headers import gif_size, plain_png, split_exif, webp_size
from mnist_sgd_serve.orientation import orientation
from mnist_sgd_serve.reduction import draft, reduced
from mnist_sgd_serve.work import TooMuchWork, canvas_memory, check_runs, check_work, memory_needed

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "MAX_BYTES",
    "MAX_MEMORY",
    "MAX_PIXELS",
    "ImageError",
    "ImageTooLarge",
    "NoInk",
    "NotAnImage",
    "UnsupportedFormat",
    "decode",
    "decode_own",
]

MAX_PIXELS = 25_000_000
"""The largest picture that is decoded: twice a usual phone photograph, 100 MB as RGBA."""

MAX_BYTES = 32 * 2**20
"""The largest file that is read."""

MAX_MEMORY = 512 * 2**20
"""The most memory that decoding may take."""

OWN_PIXELS, OWN_BYTES, OWN_MEMORY = 178_956_970, 128 * 2**20, 2**30
"""The same for pictures of one's own: Pillow's own limit of pixels, and what these may need."""

_ALLOWED = "PNG, JPEG, BMP, GIF and WebP"
_ALLOWED_WITH_TIFF = "PNG, JPEG, BMP, GIF, WebP and TIFF"

_READERS = {
    b"\x89PNG\r\n\x1a\n": ("PNG", "PngImagePlugin", "PngImageFile"),
    b"\xff\xd8\xff": ("JPEG", "JpegImagePlugin", "JpegImageFile"),
    b"BM": ("BMP", "BmpImagePlugin", "BmpImageFile"),
    b"GIF87a": ("GIF", "GifImagePlugin", "GifImageFile"),
    b"GIF89a": ("GIF", "GifImagePlugin", "GifImageFile"),
    b"RIFF": ("WebP", "WebPImagePlugin", "WebPImageFile"),
}
_TIFF_READER = ("TIFF", "TiffImagePlugin", "TiffImageFile")
"""First bytes of a file to its format and Pillow's reader of it. RIFF needs WEBP at byte 8 too."""

_OTHERS = {
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"%!PS": "EPS",
    b"\xc5\xd0\xd3\xc6": "EPS",
    b"%PDF": "PDF",
    b"8BPS": "PSD",
    b"\0\0\1\0": "ICO",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"P4\n": "PBM",
    b"P5\n": "PGM",
    b"P6\n": "PPM",
    b"<svg": "SVG",
    b"gimp xcf": "XCF",
    b"qoif": "QOI",
}
"""First bytes of image files that are known and not read."""

_WIDE_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")
_ALPHA_MODES = ("LA", "PA", "RGBA", "RGBa")
_PLAIN_MODES = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")


class ImageError(ValueError):
    """A picture that gives no answer; the message is one line in plain words."""


class NotAnImage(ImageError):  # noqa: N818  (these four say all without "Error")
    """Not an image, or a damaged one. HTTP: 400."""


class UnsupportedFormat(ImageError):  # noqa: N818  (as above)
    """An image, of a format or a mode that is not read. HTTP: 415."""


class ImageTooLarge(ImageError):  # noqa: N818  (as above)
    """More pixels or bytes than are allowed. HTTP: 413."""


class NoInk(ImageError):  # noqa: N818  (as above)
    """Nothing is drawn on it. HTTP: 422."""


def decode(
    source: "bytes | bytearray | memoryview | str | os.PathLike[str] | Image.Image",
    *,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
    max_memory: int = MAX_MEMORY,
    tiff: bool = False,
    reduce: bool = False,
) -> NDArray[np.uint8]:
    """Read a picture as grey bytes, 0 black and 255 white, upright.

    Colours become grey by ITU-R BT.601 luma, 16-bit values lose their lower byte, and what is
    transparent becomes the colour of the paper (see `_composite`).

    Args:
        source: the bytes of an image file, the path of one, or a Pillow image, which is turned as
            its `info` says: for one that you have turned yourself, delete what is there, as
            `PIL.ImageOps.exif_transpose` does.
        max_pixels: width times height that is still decoded.
        max_bytes: length of a file that is still read.
        max_memory: bytes that decoding a file may take, three copies of the file included.
        tiff: read TIFF too, for files of one's own.
        reduce: average a large picture down while it is read, as each preparation does first: its
            longer side has then at most `picture.LONGEST_SIDE` pixels.

    Returns:
        uint8 `[height, width]`, C-contiguous.

    Raises:
        NotAnImage: the bytes are none of an image, or damaged.
        UnsupportedFormat: the image is of another format, or a Pillow image of a rare mode.
        ImageTooLarge: it has more pixels or bytes than allowed, or is built to cost time or memory.
        NoInk: it is transparent everywhere.
        OSError: the file cannot be opened or read.
        TypeError: `source` is something else.
    """
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            content = file.read(max_bytes + 1)
        try:
            return decode(
                content,
                max_pixels=max_pixels,
                max_bytes=max_bytes,
                max_memory=max_memory,
                tiff=tiff,
                reduce=reduce,
            )
        except ImageError as error:
            raise type(error)(f"{os.fspath(source)}: {error}") from error
    if isinstance(source, (bytes, bytearray, memoryview)):
        limits = _Limits(max_pixels, max_bytes, max_memory)
        return _pixels(_open(bytes(source), limits, tiff, reduce), max_pixels, reduce)

    from PIL import Image

    if isinstance(source, Image.Image):
        return _pixels(source, max_pixels, reduce)
    raise TypeError(f"expected bytes, a path or a Pillow image, got {type(source).__name__}")


def decode_own(
    source: "bytes | str | os.PathLike[str] | Image.Image",
) -> NDArray[np.uint8]:
    """Read a picture of the user's own disk: `decode` with `reduce`, TIFF, and wider limits.

    Photographs of 50 megapixels and scans of A4 at 600 dpi are within them.

    Args:
        source: as for `decode`.

    Returns:
        uint8 `[height, width]`, C-contiguous.

    Raises:
        ImageError, OSError, TypeError: as `decode`.
    """
    return decode(
        source,
        max_pixels=OWN_PIXELS,
        max_bytes=OWN_BYTES,
        max_memory=OWN_MEMORY,
        tiff=True,
        reduce=True,
    )


class _Limits(NamedTuple):
    pixels: int
    bytes: int
    memory: int


def _open(content: bytes, limits: _Limits, tiff: bool, reduce: bool) -> "Image.Image":
    """Read the header of an image file and decode no pixel."""
    if len(content) > limits.bytes:
        raise ImageTooLarge(
            f"the image file is larger than {limits.bytes} bytes, the most allowed: "
            "make it smaller, or save it as JPEG"
        )
    name, module, reader = _reader(content, tiff)
    from PIL import Image

    try:
        exif = None
        kept = 3 * len(content) + check_work(name, content)
        if name == "GIF":
            _check_size(*gif_size(content), limits.pixels)
        elif name == "WebP":  # whose canvases Pillow makes when it opens the file
            size = webp_size(content)
            _check_size(*size, limits.pixels)
            _check_memory(name, size, kept + canvas_memory(size), limits.memory)
        elif name == "PNG":
            content = plain_png(content)
        elif name == "JPEG":
            content, exif = split_exif(content)
        # The class itself, not Image.open: that would import five readers, follow a JPEG into
        # its multi-picture extension, and warn of sizes that are refused here.
        image: Image.Image = getattr(importlib.import_module(f"PIL.{module}"), reader)(
            BytesIO(content)
        )
        if exif is not None:
            image.info["exif"] = exif
        _check_size(*image.size, limits.pixels)
        size = image.size
        if name == "BMP":
            check_runs(image, len(content), limits.pixels)
        if reduce and name == "JPEG":
            draft(image)
        _check_memory(name, size, kept + memory_needed(name, image), limits.memory)
    except ImageError:
        raise
    except TooMuchWork as error:
        raise ImageTooLarge(str(error)) from error
    except Image.DecompressionBombError as error:
        raise ImageTooLarge("the image has far more pixels than are allowed") from error
    except Exception as error:  # Pillow's readers raise nearly any class on damaged bytes
        raise NotAnImage(f"the {name} image is damaged or cut short") from error
    return image


def _reader(content: bytes, tiff: bool) -> tuple[str, str, str]:
    """Choose format, module and class for a file by its first bytes."""
    for start, reader in _READERS.items():
        if content.startswith(start) and (start != b"RIFF" or content[8:12] == b"WEBP"):
            return reader
    allowed = _ALLOWED_WITH_TIFF if tiff else _ALLOWED
    for start, name in _OTHERS.items():
        if content.startswith(start):
            if tiff and name == "TIFF":
                return _TIFF_READER
            raise UnsupportedFormat(f"a {name} image cannot be read: send {allowed}")
    if content[4:8] == b"ftyp" and content[8:12] in (b"avif", b"avis", b"heic", b"heix", b"mif1"):
        raise UnsupportedFormat(f"a HEIC or AVIF image cannot be read: send {allowed}")
    if not content:
        raise NotAnImage("the image is empty: it has 0 bytes")
    raise NotAnImage(f"these {len(content)} bytes are not an image: {allowed} are read")


def _pixels(image: "Image.Image", max_pixels: int, reduce: bool) -> NDArray[np.uint8]:
    """Decode an opened image to upright grey."""
    _check_size(*image.size, max_pixels)
    name = image.format or "given"
    try:
        image.load()
        # Pillow turns a TIFF itself when it decodes it.
        turned = 1 if image.format == "TIFF" else orientation(image.info)
        if reduce:
            image = reduced(image)
        grey = _grey(image)
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageTooLarge("the image needs more memory than there is: make it smaller") from error
    except Exception as error:  # as above
        raise NotAnImage(f"the {name} image is damaged or cut short") from error
    return np.ascontiguousarray(_upright(grey, turned))


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"the image is {width} x {height} pixels, at most {max_pixels} in all are allowed: "
            "make it smaller"
        )
    if not width * height:
        raise NotAnImage(f"the image is {width} x {height} pixels, it has none")


def _check_memory(name: str, size: tuple[int, int], needed: int, most: int) -> None:
    if needed > most:
        raise ImageTooLarge(
            f"the {name} image of {size[0]} x {size[1]} pixels takes {-(-needed // 10**6)} MB of "
            f"memory to read, at most {most // 10**6} MB are allowed: make it smaller"
        )


def _grey(image: "Image.Image") -> NDArray[np.uint8]:
    """Make grey bytes of the pixels of a decoded image."""
    if image.mode in _WIDE_MODES:
        wide = np.asarray(image, np.int32)
        # Grey bytes that were widened without scaling, as Pillow's convert("I") does, stay.
        shift = 8 if wide.max() > 255 else 0
        return np.clip(np.right_shift(wide, shift), 0, 255).astype(np.uint8)
    if image.mode in _ALPHA_MODES or (image.mode in _PLAIN_MODES and "transparency" in image.info):
        return _composite(image.convert("RGBA"))
    if image.mode not in _PLAIN_MODES:
        raise UnsupportedFormat(f"an image of mode {image.mode} cannot be read: convert it to RGB")
    plain = image if image.mode in ("1", "L") else image.convert("RGB")
    return np.asarray(plain.convert("L"))


def _composite(image: "Image.Image") -> NDArray[np.uint8]:
    """Lay an RGBA image on its paper.

    Where most of the picture is solid and both light and dark, the paper is drawn: it is the
    median of what is solid. Otherwise only ink is drawn, and the paper is white under dark
    ink and black under light ink.
    """
    from PIL import Image

    drawn, mask = image.convert("L"), image.getchannel("A")
    grey, alpha = np.asarray(drawn), np.asarray(mask)
    if not alpha.any():
        raise NoInk("nothing is drawn on the image: it is transparent everywhere")
    solid = grey[alpha >= 0.9 * alpha.max()]
    if 2 * solid.size > grey.size and int(solid.max()) - int(solid.min()) > 128:
        paper = int(np.median(solid))
    else:
        paper = 255 if solid.mean() < 128 else 0
    return np.asarray(Image.composite(drawn, Image.new("L", image.size, paper), mask))


def _upright(grey: NDArray[np.uint8], turned: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation: 5 to 8 exchange the axes, the rest are mirrorings."""
    if turned >= 5:
        grey = grey.T
    if turned in (3, 4, 7, 8):
        grey = grey[::-1]
    if turned in (2, 3, 6, 7):
        grey = grey[:, ::-1]
    return grey
