"""What the headers of image files say, read without Pillow.

Pillow would warn of what it finds odd there, and import its TIFF reader for EXIF data; a server
prints nothing for a stranger's bytes and imports little. Everything here is linear in the header,
and `work` bounds what a header may have.
"""

import re
import struct

from mnist_sgd_serve.images.decoding_cost import TooMuchWork

_MARKER = re.compile(rb"\xff([^\x00\xff])")
"""A JPEG marker, without the padding that may precede it."""

_BARE_MARKERS = {0x01, *range(0xD0, 0xDA)}
"""JPEG markers that no length follows: TEM, the restarts, start and end of image."""

_NEEDED = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_TEXT = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_PROFILES = (
    b"Raw profile type exif\0",
    b"Raw profile type APP1\0",
    b"Raw profile type xmp\0",
    b"XML:com.adobe.xmp\0",
)
"""PNG chunks that are kept; EXIF data and text only where they may tell the orientation."""

_MOST_ABOUT = 2**20
"""Bytes of EXIF data and text that are kept of a PNG: Pillow copies text several times."""

_EXTENSION, _CONTROL, _FRAME = 0x21, 0xF9, 0x2C
_BLOCK = re.compile(rb"[\x21\x2c\x3b]")
"""What begins a block of a GIF, its end included. Other bytes between blocks are passed over."""

_MOST_BLOCKS = 100_000
"""Blocks before the pixels of a GIF: 25 MB of them if they are full, 0.02 s to count them."""


def plain_gif(content: bytes) -> tuple[bytes, tuple[int, int]]:
    """Take out of a GIF what its first frame does not need, and find the size that this needs.

    The size is the screen's, or more where the frame reaches beyond it: GIF89a specification,
    sections 18 to 26. Of what precedes the frame, its transparent colour alone is kept: Pillow
    would read on behind an extension without a block, and so find another frame than is found here,
    and it would make a canvas for what the frame leaves to the next one.

    Returns:
        The file, and width and height.

    Raises:
        TooMuchWork: more blocks precede the frame than any program writes.
        struct.error, IndexError: the header is damaged, or there is no frame.
    """
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    at = start = 13 + ((6 << (flags & 7)) if flags & 0x80 else 0)
    blocks, control = 0, b""
    while found := _BLOCK.search(content, at):
        at = found.start()
        if content[at] != _EXTENSION:
            break
        if content[at + 1] == _CONTROL and content[at + 2] >= 4 and content[at + 3] & 1:
            control = bytes([_EXTENSION, _CONTROL, 4, 1, 0, 0, content[at + 6], 0])
        at += 2
        while length := content[at]:
            at += length + 1
            blocks = _counted(blocks)
        at += 1
        blocks = _counted(blocks)
    if not found or content[at] != _FRAME:
        raise struct.error("no frame")
    left, top, frame_width, frame_height = struct.unpack_from("<4H", content, at + 1)
    size = max(width, left + frame_width), max(height, top + frame_height)
    return content[:start] + control + content[at:], size


def _counted(blocks: int) -> int:
    if blocks == _MOST_BLOCKS:
        raise TooMuchWork(
            f"the GIF image has more than {_MOST_BLOCKS} blocks before its pixels, "
            "the most allowed: save it anew"
        )
    return blocks + 1


def plain_png(content: bytes) -> bytes:
    """Take out of a PNG what its pixels and its orientation do not need.

    Without the animation control it shows its main image, as every reader shows it that knows no
    animation: PNG specification, third edition, section 11.3.6. What else is left out may be text
    or a colour profile of any length, and whatever may tell the orientation but is above 1 MiB.
    """
    kept, at, whole, about = [content[:8]], 8, True, 0
    while at < len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        kind = content[at + 4 : at + 8]
        tells = kind == b"eXIf" or (kind in _TEXT and content.startswith(_PROFILES, at + 8))
        if kind in _NEEDED or (tells and about + end - at <= _MOST_ABOUT):
            kept.append(content[at:end])
            about += end - at if tells else 0
        else:
            whole = False
        at = end
    return content if whole else b"".join(kept)


def split_exif(content: bytes) -> tuple[bytes, bytes]:
    """Take the EXIF data out of a JPEG, and the padding and whatever else is between its segments.

    Pillow would look at each byte of it in Python. JPEG's segments: ITU-T T.81, annex B.

    Returns:
        The file without them, and the first EXIF data or none.

    Raises:
        struct.error: there is no image, or only a part of what precedes it.
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


def webp_size(content: bytes) -> tuple[int, int]:
    """Read the width and height of a WebP's canvas: RFC 9649, sections 2.5 to 2.7.

    Raises:
        struct.error: the header is damaged.
    """
    kind = content[12:16]
    if kind == b"VP8X":
        low, high, low_height, high_height = struct.unpack_from("<HBHB", content, 24)
        return (high << 16 | low) + 1, (high_height << 16 | low_height) + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise struct.error("no image")
