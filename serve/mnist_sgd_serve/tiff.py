"""TIFF, where Pillow needs help.

Grey of more than 8 bits in which 0 is white is not inverted by Pillow, and of some kinds not read;
some samples in separate planes, and some in the other order of bytes, are misread. And libtiff
writes what it finds odd to standard error. The directory of a file is read here for that: TIFF 6.0,
sections 2 and 8, and the BigTIFF design. Only the first image of a file counts.
"""

import ctypes
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["TiffHeader", "open_tiff", "quiet_tiff", "read_tiff_header"]

_PILLOW = Lock()
"""Held while Pillow has settings that are not its own."""

_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANAR, _FORMAT = 258, 259, 262, 277, 284, 339
_DEFAULTS = {_BITS: 1, _COMPRESSION: 1, _SAMPLES: 1, _PLANAR: 1, _FORMAT: 1}
_TYPES = {3: "H", 4: "I", 16: "Q"}
_MOST_ENTRIES = 4096

_COMPRESSIONS = {
    6: "old-style JPEG",
    22610: "JPEG XR",
    32766: "NeXT",
    32809: "ThunderScan",
    32908: "Pixar",
    32909: "Pixar",
    33003: "JPEG 2000",
    33004: "JPEG 2000",
    33005: "JPEG 2000",
    34661: "JBIG",
    34676: "LogLuv",
    34677: "LogLuv",
    34712: "JPEG 2000",
    34713: "Nikon raw",
    34887: "LERC",
    34892: "lossy DNG",
    34925: "LZMA",
    34933: "PNG",
    34934: "JPEG XR",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
"""Values of Compression that not every libtiff, or no libtiff, decodes."""

_COLOURS = {
    0: " grey",
    1: " grey",
    2: " RGB",
    3: " palette",
    5: " CMYK",
    6: " YCbCr",
    8: " CIELAB",
    32803: " raw camera",
    34892: " raw camera",
}
_NUMBERS = {2: " signed", 3: " floating-point", 5: " complex", 6: " complex"}


class _Entry(NamedTuple):
    """The first number of an entry, and where it stands."""

    value: int
    at: int


@dataclass(frozen=True)
class TiffHeader:
    """The first directory of a TIFF.

    Attributes:
        order: "<" or ">", as `struct` has it.
        big: it is a BigTIFF.
        entries: the entries that are whole numbers, by tag.
    """

    order: str
    big: bool
    entries: dict[int, _Entry] = field(repr=False)

    @property
    def bits(self) -> int:
        """Bits of the first sample."""
        return self._value(_BITS)

    @property
    def samples(self) -> int:
        """Samples of a pixel."""
        return self._value(_SAMPLES)

    @property
    def is_planar(self) -> bool:
        """Whether each sample has a plane of its own."""
        return self._value(_PLANAR) == 2

    @property
    def is_min_white(self) -> bool:
        """Whether it is grey, and 0 is white."""
        return _PHOTOMETRIC in self.entries and self._value(_PHOTOMETRIC) == 0

    def as_min_black(self, content: bytes) -> bytes:
        """The file with 0 called black."""
        at = self.entries[_PHOTOMETRIC].at + (1 if self.order == ">" else 0)
        return content[:at] + b"\1" + content[at + 1 :]

    @property
    def compression(self) -> str:
        """The name of a compression that not every build of libtiff decodes; else empty."""
        return _COMPRESSIONS.get(self._value(_COMPRESSION), "")

    def describe(self) -> str:
        """A noun phrase for such files."""
        if self.big and self.order == ">":
            return "a big-endian BigTIFF image"
        if self.compression:
            return f"a TIFF image with {self.compression} compression"
        samples = self.samples
        bits = f"{self.bits}-bit" if samples == 1 else f"{samples} x {self.bits}-bit"
        numbers = _NUMBERS.get(self._value(_FORMAT), "")
        colour = _COLOURS.get(self._value(_PHOTOMETRIC), "")
        planes = " in separate planes" if self.is_planar and samples > 1 else ""
        return f"a TIFF image with {bits}{numbers}{colour} pixels{planes}"

    def _value(self, tag: int) -> int:
        entry = self.entries.get(tag)
        return _DEFAULTS.get(tag, -1) if entry is None else entry.value


def read_tiff_header(content: bytes) -> TiffHeader | None:
    """Read the first directory; None if it is damaged."""
    order = "<" if content[:2] == b"II" else ">"
    try:
        (version,) = struct.unpack_from(order + "H", content, 2)
        big = version == 43
        (at,) = struct.unpack_from(order + ("Q" if big else "I"), content, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), content, at)
        entry, at = struct.Struct(order + ("HHQ" if big else "HHI")), at + (8 if big else 2)
        room = 8 if big else 4
        entries: dict[int, _Entry] = {}
        for _ in range(min(count, _MOST_ENTRIES)):
            tag, kind, number = entry.unpack_from(content, at)
            at += entry.size
            if kind in _TYPES:
                letter = order + _TYPES[kind]
                place = at
                if number * struct.calcsize(letter) > room:
                    (place,) = struct.unpack_from(order + ("Q" if big else "I"), content, at)
                entries.setdefault(tag, _Entry(*struct.unpack_from(letter, content, place), place))
            at += room
    except (struct.error, OverflowError):
        return None
    return TiffHeader(order, big, entries)


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
        image.tag_v2[_PHOTOMETRIC] = 0
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
    from PIL import Image

    setters = []
    with suppress(OSError, AttributeError):  # where libtiff is a part of Pillow's own library
        library = ctypes.CDLL(Image.core.__file__)
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
