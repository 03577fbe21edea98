"""Parse the first directory of a TIFF or BigTIFF (TIFF 6.0, sections 2 and 8)."""

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

_BITS, _COMPRESSION, PHOTOMETRIC, _SAMPLES, _PLANAR, _FORMAT = 258, 259, 262, 277, 284, 339
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
"""Compression values that some or all builds of libtiff cannot decode."""

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
    """The first number of an entry, and the offset of its lowest byte."""

    value: int
    at: int


@dataclass(frozen=True)
class TiffHeader:
    """The first directory of a TIFF.

    Attributes:
        order: byte order, "<" or ">" as in `struct`.
        big: it is a BigTIFF.
        entries: the integer entries by tag.
    """

    order: str
    big: bool
    entries: dict[int, _Entry] = field(repr=False)

    @property
    def bits(self) -> int:
        """Bit depth of the first sample."""
        return self._value(_BITS)

    @property
    def samples(self) -> int:
        """Samples per pixel."""
        return self._value(_SAMPLES)

    @property
    def is_planar(self) -> bool:
        """Whether samples are in separate planes."""
        return self._value(_PLANAR) == 2

    @property
    def is_min_white(self) -> bool:
        """Whether it is grey and 0 is white."""
        return PHOTOMETRIC in self.entries and self._value(PHOTOMETRIC) == 0

    def as_min_black(self, content: bytes) -> bytes:
        """Return the file with 0 declared as black."""
        at = self.entries[PHOTOMETRIC].at
        return content[:at] + b"\1" + content[at + 1 :]

    @property
    def compression(self) -> str:
        """The compression, if some builds of libtiff cannot decode it; else empty."""
        return _COMPRESSIONS.get(self._value(_COMPRESSION), "")

    def describe(self) -> str:
        """Describe the kind of TIFF in a noun phrase."""
        if self.big and self.order == ">":
            return "a big-endian BigTIFF image"
        if self.compression:
            return f"a TIFF image with {self.compression} compression"
        samples = self.samples
        bits = f"{self.bits}-bit" if samples == 1 else f"{samples} x {self.bits}-bit"
        numbers = _NUMBERS.get(self._value(_FORMAT), "")
        colour = _COLOURS.get(self._value(PHOTOMETRIC), "")
        planes = " in separate planes" if self.is_planar and samples > 1 else ""
        return f"a TIFF image with {bits}{numbers}{colour} pixels{planes}"

    def _value(self, tag: int) -> int:
        entry = self.entries.get(tag)
        return _DEFAULTS.get(tag, -1) if entry is None else entry.value


def read_tiff_header(content: bytes) -> TiffHeader | None:
    """Parse the first directory; None if it is damaged."""
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
                (value,) = struct.unpack_from(letter, content, place)
                lowest = place + (struct.calcsize(letter) - 1 if order == ">" else 0)
                entries.setdefault(tag, _Entry(value, lowest))
            at += room
    except (struct.error, OverflowError):
        return None
    return TiffHeader(order, big, entries)
