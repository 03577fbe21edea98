"""Whether all pixels of a JPEG or PNG are in its file.

libjpeg fills what a scan lacks with mid-grey, and Pillow leaves the rows that a PNG lacks as its
memory was; neither raises an error. Here that memory gets a colour of its own, the last pixels are
looked at, and only where they are of the one colour or the other is the file read a second time, to
tell a picture that really ends so from one that was cut.

Not found are bytes that were changed inside a scan, which decode to other pixels; a scan of a
progressive JPEG that ends early and whose pixels other scans filled; and what is missing in a JPEG
with arithmetic coding, where bytes of 0 at the end may be left out (ITU-T T.81, section D.1.8).
"""

import re
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from mnist_sgd_serve.images.file_headers import split_exif

if TYPE_CHECKING:
    from PIL import Image

_END_OF_IMAGE = b"\xff\xd9"
_END, _SCAN = 0xD9, 0xDA
_BARE = frozenset({0x01, *range(0xD0, 0xDA)})
_HUFFMAN_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
"""Markers of a JPEG: those without a length, and the frames that are checked."""

_MARKER = re.compile(rb"\xff([^\x00\xff])")
_MARKER_IN_SCAN = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_RESTARTS = [bytes([0xFF, 0xD0 + number]) for number in range(8)]
_NEAR = 2**16
"""Bytes at the end of a scan where its last restart marker is looked for first."""

_MID_GREY = (127, 128)
"""What libjpeg's filling becomes in a channel; 127 where Pillow inverts it."""

MARK = (171, 84, 202, 77)
"""The channels of the colour that a PNG is filled with before it is decoded; few pictures have a
last row of it."""

_NOISE = b"\0" + bytes((17 * at * at + 91 * at + 40) % 255 for at in range(255))
"""Bytes that are of no marker and decode to blocks that differ from one to the next."""

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""SampleFormat of a pixel by the colour type of a PNG: third edition, section 11.2.1."""

_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""Of an interlaced PNG: first column and row, and steps to the next ones: section 8.1."""

_FED, _INFLATED = 2**16, 2**20
"""Bytes of a PNG that are inflated at once, and what may come of them at once."""


def with_end(content: bytes) -> bytes:
    """A JPEG with an end-of-image marker, which files whose last bytes are lost lack."""
    return content if _has_end(content) else content + _END_OF_IMAGE


def _has_end(content: bytes) -> bool:
    if content.endswith(_END_OF_IMAGE):
        return True
    *_, end = [0, *_scan_ends(content)]
    return end != len(content)


def mark_pixels(image: "Image.Image") -> None:
    """Fill an opened PNG with `MARK` before a pixel of it is decoded; other formats stay."""
    if _is_checked_png(image):
        image.im = _marked(image.mode, image.size).im


def _marked(mode: str, size: tuple[int, int]) -> "Image.Image":
    from PIL import Image

    bands = Image.getmodebands(mode)
    return Image.new(mode, size, MARK[0] if bands == 1 else MARK[:bands])


def is_complete(content: bytes, image: "Image.Image") -> bool:
    """Whether no pixel of an image is made up.

    Args:
        content: of the file. Of others than JPEG and PNG all are there, or Pillow raises an error.
        image: the first frame, as Pillow decoded it, at its full size or a fraction of it; of a PNG
            its pixels were marked.
    """
    if image.format in ("JPEG", "MPO"):
        return _has_all_blocks(content, image)
    return not _is_checked_png(image) or _has_all_rows(content, image)


def _is_checked_png(image: "Image.Image") -> bool:
    """Whether it is a PNG without an animation, of which Pillow composes the frames."""
    return image.format == "PNG" and not getattr(image, "is_animated", False)


def _has_all_blocks(content: bytes, image: "Image.Image") -> bool:
    """Whether bytes that are put at the end of each scan change nothing: then none was missing."""
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
    """The file with noise at the end of each scan, and with more behind one restart marker."""
    parts, start = [], 0
    for end in ends:
        parts += [content[start:end], _NOISE, _next_restart(content, start, end), _NOISE]
        start = end
    return b"".join([*parts, content[start:] or _END_OF_IMAGE])


def _next_restart(content: bytes, start: int, end: int) -> bytes:
    """The restart marker that follows the last one there; the first without one."""
    for begin in (max(start, end - _NEAR), start):
        last, number = max(
            (content.rfind(marker, begin, end), number) for number, marker in enumerate(_RESTARTS)
        )
        if last >= 0:
            return _RESTARTS[(number + 1) % 8]
    return _RESTARTS[0]


def _scan_ends(content: bytes) -> Iterator[int]:
    """Where the entropy-coded data of each scan end; nothing for a frame that is not checked."""
    at = 2
    while match := _MARKER.search(content, at):
        marker, at = match[1][0], match.end()
        if marker == _END:
            return
        if 0xC0 <= marker < 0xD0 and marker not in (0xC4, 0xC8, 0xCC, *_HUFFMAN_FRAMES):
            return
        if marker in _BARE:
            continue
        at += int.from_bytes(content[at : at + 2], "big")
        if marker == _SCAN and at <= len(content):
            found = _MARKER_IN_SCAN.search(content, at)
            at = found.start() if found else len(content)
            yield at


def _has_all_rows(content: bytes, image: "Image.Image") -> bool:
    width, height, bits, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", content, 16)
    last = 2 if interlaced else 1  # the last pass of an interlaced picture fills each second row
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
    """The columns and rows of each pass that has any."""
    for left, top, across, down in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            yield columns, rows


def _inflates_to(content: bytes, needed: int) -> bool:
    """Whether the pixels of a PNG are so many bytes, filters included."""
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
    """What is in the IDAT chunks, in pieces."""
    at = 8
    while at + 8 <= len(content):
        end = at + 8 + int.from_bytes(content[at : at + 4], "big")
        if content[at + 4 : at + 8] == b"IDAT":
            for start in range(at + 8, min(end, len(content)), _FED):
                yield content[start : min(start + _FED, end)]
        at = end + 4
