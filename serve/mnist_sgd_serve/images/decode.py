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
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.bit_depth import DEEP
from mnist_sgd_serve.images.bmp_runs import unpack_runs
from mnist_sgd_serve.images.decoding_cost import (
    TooMuchWork,
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
"""The largest picture that is decoded: twice a usual phone photograph, 100 MB as RGBA."""

MAX_BYTES = 32 * 2**20
"""The largest file that is read."""

MAX_MEMORY = 512 * 2**20
"""The most memory that decoding may take."""

_DAMAGED = "the {} image is damaged or cut short"

OWN_PIXELS, OWN_BYTES, OWN_MEMORY = 178_956_970, 128 * 2**20, 2**30
"""The same for pictures of one's own: Pillow's own limit of pixels, and what these may need."""


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

    Colours become grey by ITU-R BT.601 luma, or by one of red, green and blue where luma shows next
    to nothing; of 16 bits the upper 8 are kept, or the range that occurs, if it is small, is
    stretched; and what is transparent becomes the colour of the paper. See `grey`.

    Args:
        source: the bytes of an image file, the path of one, or a Pillow image, which is turned as
            its `info` says: for one that you have turned yourself, delete what is there, as
            `PIL.ImageOps.exif_transpose` does. One that is opened and not loaded is read as its
            file is. Once loaded it has the values that Pillow gave it, which are wrong for some
            TIFFs (of 16 bits in planes; big-endian, compressed, with signed or floating-point
            samples), and no copy of it knows the bits of a sample, whether they are signed, and
            whether 0 is white: give the path of such a file.
        max_pixels: width times height that is still decoded.
        max_bytes: length of a file that is still read.
        max_memory: bytes that decoding a file may take, three copies of the file included.
        tiff: read TIFF too, for files of one's own.
        reduce: average a large picture down while it is read, as each kind of preprocessing does
            first: its longer side has then at most `picture.LONGEST_SIDE` pixels.

    Returns:
        uint8 `[height, width]`, C-contiguous.

    Raises:
        NotAnImage: the bytes are not an image, or a damaged one.
        UnsupportedFormat: the image is of another format, or of a kind that Pillow does not read;
            the message says which, and what to do.
        ImageTooLarge: it has more pixels or bytes than allowed, or is built to cost time or memory.
        BlankImage: it is transparent everywhere.
        OSError: the file cannot be opened or read.
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
        return _decode_given(source, max_pixels, reduce)
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


def _read(path: "str | os.PathLike[str]", max_bytes: int, tiff: bool) -> bytes:
    """Read a file, unless its first bytes are none of a picture: it may be a film of gigabytes."""
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
    from PIL import Image

    try:
        with _quiet(reader.name):
            image = _open(reader, content, limits, reduce)
            return _pixels(image, limits.pixels, reduce, content, own=True)
    except ImageError:
        raise
    except TooMuchWork as error:
        raise ImageTooLarge(str(error)) from error
    except MemoryError as error:
        raise ImageTooLarge("the image needs more memory than there is: make it smaller") from error
    except Image.DecompressionBombError as error:
        raise ImageTooLarge("the image has far more pixels than are allowed") from error
    except Exception as error:  # Pillow's readers raise nearly any class on damaged bytes
        raise _unreadable(reader.name, content, error) from error


def _decode_given(image: "Image.Image", max_pixels: int, reduce: bool) -> NDArray[np.uint8]:
    content = b""
    try:
        with _quiet(image.format):
            content = file_content(image)
            return _pixels(reopened(image, content), max_pixels, reduce, content, own=False)
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageTooLarge("the image needs more memory than there is: make it smaller") from error
    except Exception as error:  # as above
        raise _unreadable(image.format or "given", content, error) from error


def _quiet(name: str | None) -> AbstractContextManager[None]:
    """Keep from standard error what is thought of a file; of other formats nothing is."""
    if name != "TIFF":
        return nullcontext()
    from mnist_sgd_serve.images.tiff import quiet_tiff

    return quiet_tiff()


def _open(reader: Reader, content: bytes, limits: _Limits, reduce: bool) -> "Image.Image":
    """Read the header of an image file and decode no pixel."""
    name, exif = reader.name, None
    kept = 3 * len(content) + check_work(name, content)
    if name == "GIF":
        content, size = plain_gif(content)
        _check_size(*size, limits.pixels)
    elif name == "WebP":  # whose canvases Pillow makes when it opens the file
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
    # The class itself, not Image.open: that would import five readers, follow a JPEG into its
    # multi-picture extension, and warn of sizes that are refused here.
    module = importlib.import_module(f"PIL.{reader.module}")
    image: Image.Image = getattr(module, reader.image)(BytesIO(content))
    return image


def _pixels(
    image: "Image.Image", max_pixels: int, reduce: bool, content: bytes, *, own: bool
) -> NDArray[np.uint8]:
    """Decode an opened image of this content to upright grey; one that is not our own stays."""
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
    if reduce and image.mode not in DEEP:  # whose values are stretched before they are averaged
        image = reduced(image)
    grey = to_grey(image, samples)
    return np.ascontiguousarray(upright(shrink(grey) if reduce else grey, turned))


def _unreadable(name: str, content: bytes, error: Exception) -> ImageError:
    """The error for an image that Pillow cannot read: it is of a rare kind, or damaged."""
    kind = describe(name, content, error)
    if kind:
        return UnsupportedFormat(f"{kind} cannot be read: save it as PNG")
    return NotAnImage(_DAMAGED.format(name))


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
        or_else = ", or save it as JPEG" if name == "WebP" else ""  # of a quarter of the memory
        raise ImageTooLarge(
            f"the {name} image of {size[0]} x {size[1]} pixels takes {-(-needed // 10**6)} MB of "
            f"memory to read, at most {most // 10**6} MB are allowed: make it smaller{or_else}"
        )
