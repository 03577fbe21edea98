"""What the headers of image files say, read without Pillow.

Pillow would warn of what it finds odd there, and import its TIFF reader for EXIF data; a server
prints nothing for a stranger's bytes and imports little. Everything here is linear in the header.
"""

import re
import struct

__all__ = ["gif_size", "split_exif", "still_png"]

_MARKER = re.compile(rb"\xff([\x01-\xfe])")
"""More of 0xFF may stand before it; 0xFF 0x00 is none."""

_BARE_MARKERS = {0x01, *range(0xD0, 0xDA)}
"""JPEG markers that no length follows: TEM, the restarts, start and end of image."""


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
    browsers. Of several blocks of EXIF data the first counts. Segments: ITU-T T.81, annex B.

    Returns:
        The file without them, and the EXIF data; b"" if there is none.

    Raises:
        struct.error: it ends before the image starts.
    """
    kept, exif, at = [content[:2]], b"", 2
    while match := _MARKER.search(content, at):
        marker, start, at = match[1][0], match.start(), match.end()
        if marker == 0xDA:  # start of scan: the image itself follows
            return b"".join([*kept, content[start:]]), exif
        if marker not in _BARE_MARKERS:
            at += struct.unpack_from(">H", content, at)[0]
        if marker == 0xE1 and content[start + 4 : start + 10] == b"Exif\0\0":
            exif = exif or content[start + 4 : at]
        else:
            kept.append(content[start:at])
    raise struct.error("no image")
