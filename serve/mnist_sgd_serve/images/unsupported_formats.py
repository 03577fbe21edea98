"""Name the variants of supported formats that Pillow cannot decode.

Such files are not damaged, and an error that names the variant tells the user what to do. Nothing
here raises an error, and the time is linear in the header.
"""

import struct

from mnist_sgd_serve.images.file_headers import (
    JPEG_FRAMES,
    JPEG_MARKER,
    JPEG_SCAN,
    JPEG_STANDALONE,
)
from mnist_sgd_serve.images.tiff_header import read_tiff_header

_LOSSLESS, _HIERARCHICAL = (0xC3, 0xCB), (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF)
_JPEG_LS = 0xF7
_BITS = range(2, 17)
"""Frame markers and bit depths of a JPEG: ITU-T T.81, table B.1, and T.87, section C.1."""

_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_OS2_HEADERS = (16, 64)
"""Sizes of OS/2's second header, which may be shortened; Pillow reads only the longest."""

_ALPHA_MASKS = 6
_BMP_COMPRESSIONS = {4: "JPEG", 5: "PNG", 11: "CMYK", 12: "CMYK", 13: "CMYK"}


def describe(name: str, content: bytes, error: Exception) -> str | None:
    """Name the variant of a file that Pillow failed to decode.

    Args:
        name: the format.
        content: the file.
        error: the exception from Pillow.

    Returns:
        A noun phrase with its article; None if the file seems to be damaged instead.
    """
    if name == "JPEG":
        return _describe_jpeg(content, str(error))
    if name == "BMP":
        return _describe_bmp(content, str(error))
    if name == "TIFF":
        return _describe_tiff(content, error)
    if name == "PNG" and content[12:16] == b"CgBI":
        return "a PNG image for iOS alone (CgBI)"
    return None


def _describe_jpeg(content: bytes, reason: str) -> str | None:
    frame = _jpeg_frame(content)
    if frame is None:
        return None
    marker, bits, height = frame
    if marker == _JPEG_LS:
        return "a JPEG-LS image"
    if marker in _HIERARCHICAL:
        return "a hierarchical JPEG image"
    if bits != 8 and bits in _BITS:
        return f"a {bits}-bit JPEG image"
    if not height:
        return "a JPEG image whose height is stated after its pixels (DNL)"
    return "a lossless JPEG image" if marker in _LOSSLESS and "truncated" not in reason else None


def _jpeg_frame(content: bytes) -> tuple[int, int, int] | None:
    """Read the marker, bit depth and height of the first frame."""
    at = 2
    while match := JPEG_MARKER.search(content, at):
        marker, at = match[1][0], match.end()
        if marker in (*JPEG_FRAMES, _JPEG_LS) and at + 4 < len(content):
            return marker, content[at + 2], int.from_bytes(content[at + 3 : at + 5], "big")
        if marker == JPEG_SCAN:
            return None
        if marker not in JPEG_STANDALONE:
            at += int.from_bytes(content[at : at + 2], "big")
    return None


def _describe_bmp(content: bytes, reason: str) -> str | None:
    try:
        (header,) = struct.unpack_from("<I", content, 14)
        if header not in _BMP_HEADERS:
            is_os2 = _OS2_HEADERS[0] <= header <= _OS2_HEADERS[1]
            return f"a BMP image with an OS/2 header of {header} bytes" if is_os2 else None
        if header == 12:
            return None
        bits, compression = struct.unpack_from("<HI", content, 28)
    except struct.error:
        return None
    if compression in _BMP_COMPRESSIONS:
        return f"a BMP image with {_BMP_COMPRESSIONS[compression]} data in it"
    if compression == _ALPHA_MASKS:
        return "a BMP image with masks for its colours and its alpha (BI_ALPHABITFIELDS)"
    if header == 64 and compression in (3, 4):
        return "a BMP image with OS/2 compression"
    if bits not in (1, 4, 8, 16, 24, 32):
        return f"a BMP image of {bits} bits a pixel"
    return "a BMP image with unusual colour masks" if "bitfields" in reason else None


def _describe_tiff(content: bytes, error: Exception) -> str | None:
    header = read_tiff_header(content)
    # Pillow raises these for valid directories, and others for missing pixels.
    if header and (header.compression or isinstance(error, (SyntaxError, KeyError))):
        return header.describe()
    return None
