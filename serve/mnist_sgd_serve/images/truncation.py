"""Detect truncated JPEG and PNG files, which Pillow decodes without an error.

libjpeg fills missing blocks with mid-grey, and Pillow leaves missing rows of a PNG uninitialised.
So a PNG's pixel memory is filled with a marker colour first, and the last pixels are checked. Only
if they have the marker colour, or mid-grey, the file is read a second time, to tell a picture that
really ends in that colour from a truncated one.

Not detected: bytes changed inside a scan, which decode to other pixels; a scan of a progressive
JPEG that ends early, where other scans filled its pixels; and truncated JPEGs with arithmetic
coding, which may omit zero bytes at the end (ITU-T T.81, section D.1.8).
"""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from mnist_sgd_serve.images.file_headers import (
    JPEG_END,
    JPEG_FRAMES,
    JPEG_MARKER,
    JPEG_MARKER_IN_SCAN,
    JPEG_SCAN,
    JPEG_STANDALONE,
    split_exif,
)

if TYPE_CHECKING:
    from PIL import Image

_END_OF_IMAGE = b"\xff\xd9"
_HUFFMAN_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
"""The frames that are checked."""

_RESTARTS = [bytes([0xFF, 0xD0 + number]) for number in range(8)]
_NEAR = 2**16
"""The last restart marker of a scan is searched in this many bytes at its end first."""

_MID_GREY = (127, 128)
"""Values of libjpeg's mid-grey in a channel; 127 where Pillow inverts it."""

MARK = (171, 84, 202, 77)
"""The marker colour by channel: few pictures have it all along the last row."""

_NOISE = b"\0" + bytes((17 * at * at + 91 * at + 40) % 255 for at in range(255))
"""Bytes without a marker that decode to varying blocks."""

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples per pixel by PNG colour type: third edition, section 11.2.1."""

_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""Passes of an interlaced PNG: first column and row, column and row steps: section 8.1."""

_FED, _INFLATED = 2**16, 2**20
"""Compressed bytes fed to zlib at once, and the maximum that it returns at once."""


def with_end(content: bytes) -> bytes:
    """Append the end-of-image marker to a JPEG if it lacks one."""
    return content if _has_end(content) else content + _END_OF_IMAGE


def _has_end(content: bytes) -> bool:
    if content.endswith(_END_OF_IMAGE):
        return True
    *_, end = [0, *_scan_ends(content)]
    return end != len(content)


def mark_pixels(image: "Image.Image") -> None:
    """Fill an opened PNG with `MARK` before it is decoded; leave other formats unchanged."""
    if _is_checked_png(image):
        image.im = _marked(image.mode, image.size).im


def _marked(mode: str, size: tuple[int, int]) -> "Image.Image":
    from PIL import Image

    bands = Image.getmodebands(mode)
    return Image.new(mode, size, MARK[0] if bands == 1 else MARK[:bands])


def is_complete(content: bytes, image: "Image.Image") -> bool:
    """Whether all pixels of a decoded image come from its file.

    Args:
        content: the file. For formats other than JPEG and PNG, Pillow itself raises an error.
        image: the first frame, decoded after `mark_pixels`, at full size or a fraction of it.
    """
    if image.format in ("JPEG", "MPO"):
        return _has_all_blocks(content, image)
    return not _is_checked_png(image) or _has_all_rows(content, image)


def _is_checked_png(image: "Image.Image") -> bool:
    """Whether it is a PNG without animation; Pillow composes the frames of animated ones."""
    return image.format == "PNG" and not getattr(image, "is_animated", False)


def _has_all_blocks(content: bytes, image: "Image.Image") -> bool:
    """Whether noise appended to each scan changes no pixel: then no block was missing."""
    corner = image.getpixel((image.width - 1, image.height - 1))
    values = corner if isinstance(corner, tuple) else (corner,)
    if any(value not in _MID_GREY for value in values) and _has_end(content):
        return True
    ends = list(_scan_ends(content))
    if not ends:
        return True
    from PIL import ImageChops
    from PIL.JpegImagePlugin import JpegImageFile

    plain, _ = split_exif(_padded(content, ends))
    second = JpegImageFile(BytesIO(plain))
    scale = getattr(image, "decoderconfig", None) or (1,)
    width, height = second.size
    second.draft(image.mode, (max(1, width // scale[0]), max(1, height // scale[0])))
    second.load()
    return ImageChops.difference(image, second).getbbox(alpha_only=False) is None


def _padded(content: bytes, ends: list[int]) -> bytes:
    """Append noise to each scan, and more noise after a restart marker."""
    parts, start = [], 0
    for end in ends:
        parts += [content[start:end], _NOISE, _next_restart(content, start, end), _NOISE]
        start = end
    return b"".join([*parts, content[start:] or _END_OF_IMAGE])


def _next_restart(content: bytes, start: int, end: int) -> bytes:
    """Return the restart marker due after the last one of the scan; the first if it has none."""
    for begin in (max(start, end - _NEAR), start):
        last, number = max(
            (content.rfind(marker, begin, end), number) for number, marker in enumerate(_RESTARTS)
        )
        if last >= 0:
            return _RESTARTS[(number + 1) % 8]
    return _RESTARTS[0]


def _scan_ends(content: bytes) -> Iterator[int]:
    """Yield the end of each scan's entropy-coded data; stop at a frame that is not checked."""
    at = 2
    while match := JPEG_MARKER.search(content, at):
        marker, at = match[1][0], match.end()
        if marker == JPEG_END:
            return
        if marker in JPEG_FRAMES - _HUFFMAN_FRAMES:
            return
        if marker in JPEG_STANDALONE:
            continue
        at += int.from_bytes(content[at : at + 2], "big")
        if marker == JPEG_SCAN and at <= len(content):
            found = JPEG_MARKER_IN_SCAN.search(content, at)
            at = found.start() if found else len(content)
            yield at


def _has_all_rows(content: bytes, image: "Image.Image") -> bool:
    width, height, bits, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", content, 16)
    last = 2 if interlaced else 1  # the last pass has only every second row
    mark = np.asarray(_marked(image.mode, (width, 1)))
    for top in range(max(0, height - last), height):
        row = np.asarray(image.crop((0, top, width, top + 1)))
        if height >= last and not np.array_equal(row, mark):
            continue
        sample = bits * _CHANNELS[colour]
        needed = sum(
            rows * (1 + (sample * columns + 7) // 8)
            for columns, rows in _passes(width, height, bool(interlaced))
        )
        return _inflates_to(content, needed)
    return True


def _passes(width: int, height: int, interlaced: bool) -> Iterator[tuple[int, int]]:
    """Yield the columns and rows of each non-empty pass."""
    for left, top, across, down in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            yield columns, rows


def _inflates_to(content: bytes, needed: int) -> bool:
    """Whether a PNG has this many bytes of pixel data, filter bytes included."""
    stream, found = zlib.decompressobj(), 0
    try:
        for data in _pixel_data(content):
            rest: bytes = data
            while rest and not stream.eof:
                found += len(stream.decompress(rest, _INFLATED))
                if found >= needed:
                    return True
                rest = stream.unconsumed_tail
    except zlib.error:
        return False
    return found + len(stream.flush()) >= needed


def _pixel_data(content: bytes) -> Iterator[bytes]:
    """Yield the data of the IDAT chunks in pieces."""
    at = 8
    while at + 8 <= len(content):
        end = at + 8 + int.from_bytes(content[at : at + 4], "big")
        if content[at + 4 : at + 8] == b"IDAT":
            for start in range(at + 8, min(end, len(content)), _FED):
                yield content[start : min(start + _FED, end)]
        at = end + 4
