"""Decode any picture that people send to an array of 8-bit grey.

PNG, JPEG, BMP, GIF and WebP are recognised by their content, never by file name (see `formats`), in
all modes of these formats (see `greyscale`), and turned as their EXIF orientation says. TIFF, which
can hold nearly anything, is read where the caller trusts the files, and by the server, which
decodes in processes of their own. Of an animation the first frame is read. Size limits are checked
in the header, before a pixel is decoded, and malformed bytes raise nothing but `ImageError`. Only
the one Pillow plugin that a file needs is imported, when needed.
"""

import importlib
import os
from contextlib import AbstractContextManager, nullcontext
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.bit_depth import DEEP
from mnist_sgd_serve.images.bmp_runs import unpack_runs
from mnist_sgd_serve.images.decoding_cost import (
    canvas_memory,
    check_runs,
    check_work,
    memory_needed,
)
from mnist_sgd_serve.images.errors import (
    ImageError,
    ImageTooLarge,
    NotAnImage,
    UnsupportedFormat,
)
from mnist_sgd_serve.images.file_headers import plain_gif, plain_png, split_exif, webp_size
from mnist_sgd_serve.images.formats import HEAD, Reader, choose_reader
from mnist_sgd_serve.images.greyscale import to_grey
from mnist_sgd_serve.images.opened_image import file_content, reopened
from mnist_sgd_serve.images.orientation import orientation, upright
from mnist_sgd_serve.images.pixels import shrink
from mnist_sgd_serve.images.sample_format import fix_transparency, read_sample_format
from mnist_sgd_serve.images.scaling import draft, reduced
from mnist_sgd_serve.images.truncation import is_complete, mark_pixels, with_end
from mnist_sgd_serve.images.unsupported_formats import describe

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 25_000_000
"""Default limit of width times height: twice a usual phone photograph, 100 MB as RGBA."""

MAX_BYTES = 32 * 2**20
"""Default limit of the file size."""

MAX_MEMORY = 512 * 2**20
"""Default limit of the memory for decoding, in bytes."""

_DAMAGED = "the {} image is damaged or cut short"

OWN_PIXELS, OWN_BYTES, OWN_MEMORY = 178_956_970, 128 * 2**20, 2**30
"""The limits for local files: Pillow's own limit of pixels, and what such pictures may need."""


def decode(
    source: "bytes | bytearray | memoryview | str | os.PathLike[str] | Image.Image",
    *,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
    max_memory: int = MAX_MEMORY,
    tiff: bool = False,
    reduce: bool = False,
) -> NDArray[np.uint8]:
    """Decode a picture to 8-bit grey, 0 black and 255 white, upright.

    Colours become ITU-R BT.601 luma, or a single channel where luma has almost no contrast; deep
    samples keep their upper 8 bits, or are stretched if they use a small range; transparent pixels
    become the colour of the paper. See `greyscale`.

    Args:
        source: the bytes of an image file, a path, or a Pillow image. A Pillow image is turned as
            the EXIF data in its `info` says, so delete these if you have turned it already, as
            `PIL.ImageOps.exif_transpose` does. One that is not loaded yet is decoded like its file.
            A loaded one has the values that Pillow gave it, which are wrong for some TIFFs (16-bit
            in separate planes; big-endian, compressed, with signed or floating-point samples), and
            its copies have lost bit depth, signedness and whether 0 is white: pass the path of such
            a file instead.
        max_pixels: limit of width times height.
        max_bytes: limit of the file size.
        max_memory: limit of the memory to decode a file, in bytes, three copies of it included.
        tiff: also read TIFF: for trusted files, or in a process that is expendable.
        reduce: average a large picture down while decoding, as all preprocessing does first: its
            longer side then has at most `pixels.LONGEST_SIDE` pixels.

    Returns:
        uint8 `[height, width]`, C-contiguous.

    Raises:
        NotAnImage: the bytes are not an image, or a damaged one.
        UnsupportedFormat: the format or variant is unsupported; the message says which, and what to
            do.
        ImageTooLarge: it exceeds a limit of pixels, bytes, memory or decoding time.
        BlankImage: it is fully transparent.
        OSError: the file cannot be read.
        TypeError: `source` is something else.
    """
    limits = _Limits(max_pixels, max_bytes, max_memory)
    if isinstance(source, (str, os.PathLike)):
        try:
            return _decode(_read(source, max_bytes, tiff), limits, tiff, reduce)
        except ImageError as error:
            raise type(error)(f"{os.fspath(source)}: {error}") from error
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(bytes(source), limits, tiff, reduce)

    from PIL import Image

    if isinstance(source, Image.Image):
        return _decode_opened(source, max_pixels, reduce)
    raise TypeError(f"expected bytes, a path or a Pillow image, got {type(source).__name__}")


def decode_own(
    source: "bytes | str | os.PathLike[str] | Image.Image",
) -> NDArray[np.uint8]:
    """Decode a local, trusted picture: `decode` with `reduce`, TIFF and wider limits.

    The limits allow photographs of 50 megapixels and A4 scans at 600 dpi. Argument, result and
    errors are the same as for `decode`.
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


def _read(path: "str | os.PathLike[str]", max_bytes: int, tiff: bool) -> bytes:
    """Read a file unless its first bytes are not an image's: it may be a video of gigabytes."""
    with open(path, "rb") as file:
        head = file.read(HEAD)
        size = max(os.fstat(file.fileno()).st_size, len(head))
        choose_reader(head, tiff=tiff, size=size)
        return head + file.read(max(0, max_bytes + 1 - len(head)))


def _decode(content: bytes, limits: _Limits, tiff: bool, reduce: bool) -> NDArray[np.uint8]:
    if len(content) > limits.bytes:
        raise ImageTooLarge(
            f"the image file is larger than {limits.bytes} bytes, the most allowed: "
            "make it smaller, or save it as JPEG"
        )
    reader = choose_reader(content, tiff=tiff)
    try:
        with _quiet(reader.name):
            image = _open(reader, content, limits, reduce)
            return _pixels(image, limits.pixels, reduce, content, own=True)
    except ImageError:
        raise
    except Exception as error:  # Pillow's plugins raise nearly any class on damaged bytes
        raise _as_image_error(error, reader.name, content) from error


def _decode_opened(image: "Image.Image", max_pixels: int, reduce: bool) -> NDArray[np.uint8]:
    content = b""
    try:
        with _quiet(image.format):
            content = file_content(image)
            return _pixels(reopened(image, content), max_pixels, reduce, content, own=False)
    except ImageError:
        raise
    except Exception as error:  # as above
        raise _as_image_error(error, image.format or "given", content) from error


def _as_image_error(error: Exception, name: str, content: bytes) -> ImageError:
    """Convert an exception from Pillow."""
    from PIL import Image

    if isinstance(error, MemoryError):
        return ImageTooLarge("there is not enough memory for the image: make it smaller")
    if isinstance(error, Image.DecompressionBombError):
        return ImageTooLarge("the image has far more pixels than are allowed")
    variant = describe(name, content, error)
    if variant:
        return UnsupportedFormat(f"{variant} cannot be read: save it as PNG")
    return NotAnImage(_DAMAGED.format(name))


def _quiet(name: str | None) -> AbstractContextManager[None]:
    """Suppress libtiff's and Pillow's warnings about a TIFF; other formats cause none."""
    if name != "TIFF":
        return nullcontext()
    from mnist_sgd_serve.images.tiff import quiet_tiff

    return quiet_tiff()


def _open(reader: Reader, content: bytes, limits: _Limits, reduce: bool) -> "Image.Image":
    """Open an image file within the limits, without decoding a pixel."""
    name, exif = reader.name, None
    kept = 3 * len(content) + check_work(name, content)
    if name == "GIF":
        content, size = plain_gif(content)
        _check_size(*size, limits.pixels)
    elif name == "WebP":  # Pillow allocates its canvases when it opens the file
        size = webp_size(content)
        _check_size(*size, limits.pixels)
        _check_memory(name, size, kept + canvas_memory(size), limits.memory)
    elif name == "PNG":
        content = plain_png(content)
    elif name == "JPEG":
        content, exif = split_exif(content)
        content = with_end(content)
    image = _opened(reader, content)
    if exif is not None:
        image.info["exif"] = exif
    size = image.size
    _check_size(*size, limits.pixels)
    if name == "BMP":
        check_runs(image, len(content), limits.pixels)
    if reduce and name == "JPEG":
        draft(image)
    _check_memory(name, size, kept + memory_needed(name, image), limits.memory)
    if name == "BMP":
        unpack_runs(image, content)
    return image


def _opened(reader: Reader, content: bytes) -> "Image.Image":
    if reader.name == "TIFF":
        from mnist_sgd_serve.images.tiff import open_tiff

        return open_tiff(content)
    # Not Image.open, which would import five plugins, open multi-picture JPEGs as MPO, and warn
    # about sizes that are rejected here.
    module = importlib.import_module(f"PIL.{reader.module}")
    image: Image.Image = getattr(module, reader.image)(BytesIO(content))
    return image


def _pixels(
    image: "Image.Image", max_pixels: int, reduce: bool, content: bytes, *, own: bool
) -> NDArray[np.uint8]:
    """Decode an opened image to upright grey; change it in place only if it is our `own`."""
    _check_size(*image.size, max_pixels)
    samples = read_sample_format(image)
    if content:
        mark_pixels(image)
    image.load()
    if content and not is_complete(content, image):
        raise NotAnImage(_DAMAGED.format(image.format))
    # Pillow turns a TIFF itself when it decodes it.
    turned = 1 if image.format == "TIFF" else orientation(image.info)
    image = fix_transparency(image, samples, in_place=own)
    if reduce and image.mode not in DEEP:  # deep values are stretched before averaging
        image = reduced(image)
    grey = to_grey(image, samples)
    return np.ascontiguousarray(upright(shrink(grey) if reduce else grey, turned))


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"the image is {width} x {height} pixels, at most {max_pixels} in all are allowed: "
            "make it smaller"
        )
    if not width * height:
        raise NotAnImage(f"the image has no pixels: it is {width} x {height}")


def _check_memory(name: str, size: tuple[int, int], needed: int, most: int) -> None:
    if needed > most:
        or_else = ", or save it as JPEG" if name == "WebP" else ""  # takes a quarter of it
        raise ImageTooLarge(
            f"the {name} image of {size[0]} x {size[1]} pixels takes {-(-needed // 10**6)} MB of "
            f"memory to read, at most {most // 10**6} MB are allowed: make it smaller{or_else}"
        )
