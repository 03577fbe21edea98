"""What the headers of image files say, read without Pillow.

Pillow would warn of what it finds odd there, and import its TIFF reader for EXIF data; a server
prints nothing for a stranger's bytes and imports little. Everything here is linear in the header.
"""

import struct

__all__ = ["gif_size", "split_exif", "still_png"]

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
    """Take the EXIF data out of a JPEG: the file without it, and the first such data or none.

    JPEG's segments: ITU-T T.81, annex B.

    Raises:
        struct.error: there is something else between the segments.
    """
    kept, exif, at = [content[:2]], b"", 2
    while True:
        prefix, marker, length = struct.unpack_from(">BBH", content, at)
        if prefix != 0xFF:
            raise struct.error("no marker")
        if marker == 0xDA:  # start of scan: the image itself follows
            return b"".join([*kept, content[at:]]), exif
        if marker == 0xFF:  # padding
            end = at + 1
        elif marker in _BARE_MARKERS:
            end = at + 2
        else:
            end = at + 2 + length
        if marker == 0xE1 and content[at + 4 : at + 10] == b"Exif\0\0":
            exif = exif or content[at + 4 : end]
        else:
            kept.append(content[at:end])
        at = end
