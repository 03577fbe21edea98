"""What the headers of image files say, read without Pillow.

Pillow would warn of what it finds odd there, and import its TIFF reader for EXIF data; a server
prints nothing for a stranger's bytes and imports little. Everything here is linear in the header.
"""

import re
import struct
from collections.abc import Iterator

__all__ = ["gif_size", "jpeg_frame", "split_exif", "still_png"]

_MARKER = re.compile(rb"\xff([\x01-\xfe])")
"""More of 0xFF may stand before it; 0xFF 0x00 is none."""

_BARE_MARKERS = {0x01, *range(0xD0, 0xDA)}
"""JPEG markers that no length follows: TEM, the restarts, start and end of image."""

_NO_FRAME = (0xC4, 0xC8, 0xCC)
"""Of 0xC0 to 0xCF: Huffman tables, an extension, arithmetic conditioning."""


def gif_size(content: bytes) -> tuple[int, int]:
    """Read the width and height that the first frame of a GIF needs.

    They are the screen's, or more where the frame reaches beyond it: GIF89a specification,
    sections 18 to 26.

    Raises:
        struct.error, IndexError: the header is damaged.
    """
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    at = 13 + ((6 << (flags & 7)) if flags & 0x80 else 0)
    while content[at] == 0x21:  # an extension: its label, then blocks up to an empty one
        at += 2
        while content[at]:
            at += content[at] + 1
        at += 1
    left, top, frame_width, frame_height = struct.unpack_from("<4H", content, at + 1)
    return max(width, left + frame_width), max(height, top + frame_height)


def still_png(content: bytes) -> bytes:
    """Take the animation control out of a PNG, which then shows its main image.

    So does every reader that knows no animation: PNG specification, third edition, section 11.3.6.
    """
    if b"acTL" not in content:
        return content
    kept, at = [content[:8]], 8
    while content[at + 4 : at + 8] != b"IDAT" and at < len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        if content[at + 4 : at + 8] != b"acTL":
            kept.append(content[at:end])
        at = end
    return b"".join([*kept, content[at:]])


def split_exif(content: bytes) -> tuple[bytes, bytes]:
    """Take the EXIF data out of a JPEG, and what lies between its segments.

    Cameras and programs leave bytes there, at which Pillow may stop; libjpeg skips them, and so do
    browsers. Of several blocks of EXIF data the first counts.

    Returns:
        The file without them, and the EXIF data; b"" if there is none.

    Raises:
        struct.error, IndexError: it ends before the image starts.
    """
    kept, exif, start, stop = [], b"", 0, 2
    for marker, begin, end in _segments(content):
        is_exif = marker == 0xE1 and content[begin + 4 : begin + 10] == b"Exif\0\0"
        if begin != stop or is_exif:
            kept.append(content[start:stop])
            start = end if is_exif else begin
        if is_exif:
            exif = exif or content[begin + 4 : end]
        stop = end
    return b"".join([*kept, content[start:]]), exif


def jpeg_frame(content: bytes) -> tuple[int, int] | None:
    """Find what kind of JPEG a file is.

    Returns:
        The marker of the frame, which tells the kind, and the bits of a sample; None if there is no
        frame.
    """
    try:
        for marker, begin, _ in _segments(content):
            if (0xC0 <= marker <= 0xCF and marker not in _NO_FRAME) or marker == 0xF7:
                return marker, content[begin + 4]
    except (struct.error, IndexError):
        pass
    return None


def _segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """The marker, the start and the end of each segment of a JPEG up to its first scan.

    ITU-T T.81, annex B. As libjpeg does, it passes over whatever is no marker where one is due.

    Raises:
        struct.error, IndexError: there is no scan.
    """
    at = 2
    while True:
        match = _MARKER.search(content, at)
        if match is None:
            raise IndexError("no marker")
        marker, begin, at = match[1][0], match.end() - 2, match.end()
        if marker not in _BARE_MARKERS:
            (length,) = struct.unpack_from(">H", content, at)
            at += length
        yield marker, begin, at
        if marker == 0xDA:  # start of scan: the image itself follows
            return
