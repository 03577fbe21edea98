"""Parse the headers of image files without Pillow.

Pillow would warn about anomalies and import its TIFF reader for EXIF data; a server should neither
print because of a client's bytes nor import more than it needs. The time is linear in the header.
"""

import re
import struct

from mnist_sgd_serve.images.errors import ImageTooLarge

JPEG_MARKER = re.compile(rb"\xff([^\x00\xff])")
"""A JPEG marker, neither padding nor a stuffed byte: ITU-T T.81, annex B."""

JPEG_MARKER_IN_SCAN = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
"""The same without restart markers, of which a scan may have any number."""

JPEG_STANDALONE = frozenset({0x01, *range(0xD0, 0xDA)})
"""JPEG markers without a length: TEM, the restarts, start and end of image."""

JPEG_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
JPEG_END, JPEG_SCAN = 0xD9, 0xDA
"""JPEG markers: all kinds of start of frame, end of image, start of scan."""

_NEEDED = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_TEXT = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_PROFILES = (
    b"Raw profile type exif\0",
    b"Raw profile type APP1\0",
    b"Raw profile type xmp\0",
    b"XML:com.adobe.xmp\0",
)
"""PNG chunks that are kept; EXIF and text only where they may contain the orientation."""

_MOST_ABOUT = 2**20
"""Bytes of EXIF data and text kept of a PNG: Pillow copies text several times."""

_EXTENSION, _CONTROL, _FRAME = 0x21, 0xF9, 0x2C
_BLOCK = re.compile(rb"[\x21\x2c\x3b]")
"""First bytes of GIF blocks and the trailer. Other bytes between blocks are skipped."""

_MOST_BLOCKS = 100_000
"""Maximum number of blocks before the pixels of a GIF: 25 MB if they are full."""


def plain_gif(content: bytes) -> tuple[bytes, tuple[int, int]]:
    """Strip a GIF to its first frame and find the size of its canvas.

    The canvas is the logical screen, or larger if the frame reaches beyond it (GIF89a, sections 18
    to 26). Only the transparent colour is kept of the blocks before the frame: after an empty
    extension Pillow would find another frame, and it would make a canvas for the next frame.

    Returns:
        The stripped file; width and height.

    Raises:
        ImageTooLarge: there are too many blocks before the frame.
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
        raise ImageTooLarge(
            f"the GIF image has more than {_MOST_BLOCKS} blocks before its pixels, "
            "the most allowed: save it again"
        )
    return blocks + 1


def plain_png(content: bytes) -> bytes:
    """Strip a PNG to the chunks that its pixels and its orientation need.

    Without the animation control chunk Pillow decodes the default image, like every reader without
    support for animation (PNG specification, third edition, section 11.3.6). Text and colour
    profiles of any length are dropped, and EXIF data and XMP beyond 1 MiB.
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
    """Split a JPEG into the file without EXIF data or padding between segments, and the EXIF data.

    Pillow would loop over padding byte by byte in Python. Only the first EXIF segment is returned,
    b"" if there is none.

    Raises:
        struct.error: the header is cut short.
    """
    kept, exif, at = [content[:2]], b"", 2
    while match := JPEG_MARKER.search(content, at):
        marker, start, at = match[1][0], match.start(), match.end()
        if marker == JPEG_SCAN:  # the pixels follow
            return b"".join([*kept, content[start:]]), exif
        if marker not in JPEG_STANDALONE:
            at += struct.unpack_from(">H", content, at)[0]
        if marker == 0xE1 and content[start + 4 : start + 10] == b"Exif\0\0":
            exif = exif or content[start + 4 : at]
        else:
            kept.append(content[start:at])
    raise struct.error("no image")


def webp_size(content: bytes) -> tuple[int, int]:
    """Read the canvas width and height of a WebP (RFC 9649, sections 2.5 to 2.7).

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
