"""The orientation of a picture, from its EXIF or XMP data.

EXIF data may also be in the PNG text chunk where ImageMagick keeps it. Pillow can read all of
these, but imports its TIFF reader to do so and warns about damage. Nothing here raises an error,
and the time is linear in the length of the data.
"""

import re
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EXIF_HEADER = b"Exif\0\0"
_TAG = 0x0112
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
"""TIFF 6.0's integer types as `struct` formats. The standard requires type 3."""

_PROFILES = ("exif", "APP1", "xmp")
"""ImageMagick's names: the text "Raw profile type NAME" has a length and hexadecimal digits."""

_XMP = re.compile(rb"[<\s]([\w.-]+):Orientation\s*(?:=\s*[\"']|>)\s*([1-8])\s*[\"'<]")
_NAMESPACE = re.compile(rb"xmlns:([\w.-]+)\s*=\s*[\"']http://ns\.adobe\.com/tiff/1\.0/[\"']")
"""XMP puts TIFF's tags in a namespace whose prefix is nearly always "tiff"."""


def orientation(info: Mapping[Any, Any]) -> int:
    """Read the orientation, 1 to 8; 1 is upright and the default.

    EXIF takes precedence over XMP.

    Args:
        info: the `info` of a decoded Pillow image.
    """
    profiles = [_unpacked(info.get(f"Raw profile type {name}")) for name in _PROFILES]
    for data in (info.get("exif"), *profiles):
        found = _in_exif(_bytes(data))
        if found is not None:
            return found if 1 <= found <= 8 else 1
    for data in (info.get("xmp"), info.get("XML:com.adobe.xmp"), *profiles):
        found = _in_xmp(_bytes(data))
        if found is not None:
            return found
    return 1


def upright(grey: NDArray[np.uint8], turned: int) -> NDArray[np.uint8]:
    """Turn a picture upright.

    Args:
        grey: uint8 `[height, width]`.
        turned: its orientation, 1 to 8; 5 to 8 transpose, and most of them flip axes.
    """
    if turned >= 5:
        grey = grey.T
    if turned in (3, 4, 7, 8):
        grey = grey[::-1]
    if turned in (2, 3, 6, 7):
        grey = grey[:, ::-1]
    return grey


def _bytes(data: object) -> bytes:
    """Return bytes unchanged and text as UTF-8; b"" for anything else."""
    if isinstance(data, str):
        return data.encode("utf-8", "replace")
    return bytes(data) if isinstance(data, (bytes, bytearray)) else b""


def _unpacked(profile: object) -> bytes:
    """Decode a raw profile: an empty line, its name, its length, then hexadecimal lines."""
    try:
        return bytes.fromhex("".join(_bytes(profile).decode("ascii").split("\n")[3:]))
    except ValueError:
        return b""


def _in_exif(exif: bytes) -> int | None:
    """Read the orientation from EXIF's first directory (Exif 2.32, section 4.6), if it is there."""
    start = 0
    while exif.startswith(_EXIF_HEADER, start):  # some programs write it twice
        start += len(_EXIF_HEADER)
    tiff = memoryview(exif)[start:]
    try:
        order = {b"II": "<", b"MM": ">"}[bytes(tiff[:2])]
        (directory,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, directory)
        for at in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, kind = struct.unpack_from(order + "HH", tiff, at)
            if tag == _TAG and kind in _WHOLE_NUMBERS:
                (value,) = struct.unpack_from(order + _WHOLE_NUMBERS[kind], tiff, at + 8)
                return int(value)
    except (KeyError, struct.error):
        return None
    return None


def _in_xmp(xmp: bytes) -> int | None:
    """Find the first orientation in XMP, which may be in UTF-16, if it is there."""
    text = xmp.replace(b"\0", b"")
    prefixes = {b"tiff", *_NAMESPACE.findall(text)}
    found = (int(value) for prefix, value in _XMP.findall(text) if prefix in prefixes)
    return next(found, None)
