"""Bound the time and memory that decoding a picture file takes, from its headers alone.

Within all limits on bytes and pixels, a small file can still take minutes or gigabytes: a
progressive JPEG of a thousand scans, a PNG of a million empty chunks, a picture of 1 x 25 million
pixels. These bounds are far above what programs write and are checked before a pixel is decoded.
What passes can still be slow, so a server also decodes in processes that it can kill; see
`decoders`.
"""

import struct
from typing import TYPE_CHECKING, Any

from mnist_sgd_serve.images.errors import ImageTooLarge
from mnist_sgd_serve.images.file_headers import (
    JPEG_END,
    JPEG_FRAMES,
    JPEG_MARKER,
    JPEG_MARKER_IN_SCAN,
    JPEG_SCAN,
    JPEG_STANDALONE,
)

if TYPE_CHECKING:
    from PIL import Image

MOST_SCANS = 64
"""Of a JPEG. Progressive files have 6 to 20; each scan is a pass over the whole picture."""

MOST_SEGMENTS = 1_000
"""Of a JPEG, without restart markers. A colour profile may take 255 of them."""

MOST_CHUNKS, BYTES_PER_CHUNK = 1_000, 512
"""A PNG may have this many chunks and one more per so many bytes. Usual chunks have 8 KiB."""

PIXELS_PER_RUN_LENGTH_PIXEL, PIXELS_PER_RUN_LENGTH_BYTE = 8, 16
"""A run-length encoded BMP may have an eighth of the allowed pixels, and a sixteenth as many bytes,
because these are decoded in Python."""

_RUN_LENGTH = (1, 2)
"""BMP's compression codes BI_RLE8 and BI_RLE4."""

_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})

_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
"""Bytes per pixel in Pillow's memory, by mode; 4 for all others."""

_BITS, _STRIP_ROWS, _TILE_WIDTH, _TILE_HEIGHT = 258, 278, 322, 323
"""TIFF 6.0 tags."""

_POINTER = 8
"""Bytes that Pillow keeps for each row in addition to its pixels."""


def check_work(kind: str, content: bytes) -> int:
    """Reject a file that would take too long to decode.

    Args:
        kind: the format's name, such as "JPEG".
        content: the file.

    Returns:
        Bytes that the decoder needs in addition to the picture: the coefficients of a JPEG with
        several scans.

    Raises:
        ImageTooLarge: there are too many scans, segments or chunks.
    """
    if kind == "JPEG":
        return _Jpeg(content).coefficients
    if kind == "PNG":
        _check_chunks(content)
    return 0


class _Jpeg:
    """Scans the segments of a JPEG; `coefficients` is the memory in bytes that they need."""

    def __init__(self, content: bytes) -> None:
        self.coefficients = 0
        self._blocks = 0
        self._components = 0
        scans = at = segments = 0
        pattern = JPEG_MARKER
        while match := pattern.search(content, at):
            marker, at = match[1][0], match.end()
            if marker == JPEG_END and scans:
                break
            segments += 1
            scans += marker == JPEG_SCAN
            if scans > MOST_SCANS or segments > MOST_SEGMENTS:
                what = f"{MOST_SCANS} scans" if scans > MOST_SCANS else f"{MOST_SEGMENTS} segments"
                raise ImageTooLarge(
                    f"the JPEG image has more than {what}, the most allowed: save it again"
                )
            if marker in JPEG_STANDALONE:
                continue
            if marker == JPEG_SCAN:
                pattern = JPEG_MARKER_IN_SCAN
            end = at + max(int.from_bytes(content[at : at + 2], "big"), 2)
            self._read(marker, content[at + 2 : end])
            at = end

    def _read(self, marker: int, data: bytes) -> None:
        """Record the number of blocks of a frame, and whether a scan has only some components."""
        if marker in JPEG_FRAMES and len(data) >= 6:
            self._blocks, self._components = _blocks(data), data[5]
            progressive = marker in _PROGRESSIVE
        elif marker == JPEG_SCAN and data:
            progressive = data[0] < self._components  # the other components are in other scans
        else:
            return
        if progressive:
            self.coefficients = max(self.coefficients, 64 * 2 * self._blocks)


def _blocks(frame: bytes) -> int:
    """Count the 8x8 blocks of all components (ITU-T T.81, section A.1)."""
    height, width, count = struct.unpack_from(">HHB", frame, 1)
    factors = [(code >> 4, code & 15) for code in frame[7 : 6 + 3 * count : 3]]
    across = max((one[0] for one in factors), default=0) or 1
    down = max((one[1] for one in factors), default=0) or 1
    units: int = -(-width // (8 * across)) * -(-height // (8 * down))
    return units * sum(horizontal * vertical for horizontal, vertical in factors)


def _check_chunks(content: bytes) -> None:
    most = MOST_CHUNKS + len(content) // BYTES_PER_CHUNK
    at, chunks = 8, 0
    while at + 8 <= len(content) and content[at + 4 : at + 8] != b"IEND":
        chunks += 1
        if chunks > most:
            raise ImageTooLarge(
                f"the PNG image of {len(content)} bytes has more than {most} chunks, "
                "the most allowed: save it again"
            )
        at += 12 + int.from_bytes(content[at : at + 4], "big")


def check_runs(image: "Image.Image", size: int, max_pixels: int) -> None:
    """Reject a large run-length encoded BMP.

    Args:
        image: a `BmpImageFile`, not yet decoded.
        size: of its file, in bytes.
        max_pixels: the limit for other pictures.

    Raises:
        ImageTooLarge: it has too many pixels or bytes.
    """
    if image.info.get("compression") not in _RUN_LENGTH:
        return
    pixels = max_pixels // PIXELS_PER_RUN_LENGTH_PIXEL
    most = max_pixels // PIXELS_PER_RUN_LENGTH_BYTE
    width, height = image.size
    if width * height > pixels or size > most:
        raise ImageTooLarge(
            f"the run-length encoded BMP image is {width} x {height} pixels in {size} bytes, at "
            f"most {pixels} pixels in {most} bytes are allowed: save it as PNG"
        )


def memory_needed(kind: str, image: "Image.Image") -> int:
    """Estimate the memory in bytes to decode an opened image, without the file itself.

    Args:
        kind: the format's name.
        image: a Pillow image, not yet decoded.
    """
    width, height = image.size
    row = -(-width * _BYTES.get(image.mode, 4) // 4) * 4
    needed = height * (row + _POINTER)
    if kind == "WebP":
        needed += canvas_memory(image.size)
    elif kind == "PNG":  # two rows of up to 8 bytes per pixel
        needed += 2 * 8 * width
        needed += _deep_copies(image)
    elif kind == "JPEG":  # may be decoded twice, see `truncation`
        needed *= 2
    elif kind in ("GIF", "BMP"):  # the canvas for a next frame; run lengths decoded in Python
        needed += 2 * width * height
    elif kind == "TIFF":
        needed += _largest_strip(image) + _deep_copies(image)
    return needed


def _deep_copies(image: "Image.Image") -> int:
    """Return the bytes that deep grey takes before it is averaged: its 8-bit version and a mask."""
    if not image.mode.startswith("I"):
        return 0
    return (2 if "transparency" in image.info else 1) * image.size[0] * image.size[1]


def _largest_strip(image: Any) -> int:
    """Return the bytes of a TIFF's strip or tile, which libtiff decompresses as a whole."""
    if not image.use_load_libtiff:
        return 0
    tags, (width, height) = image.tag_v2, image.size
    pixels = tags.get(_TILE_WIDTH, width) * tags.get(_TILE_HEIGHT, tags.get(_STRIP_ROWS, height))
    whole_tile = pixels if _TILE_WIDTH in tags else min(pixels, width * height)
    return int(-(-whole_tile * sum(tags.get(_BITS, (1,))) // 8))


def canvas_memory(size: tuple[int, int]) -> int:
    """Return the memory in bytes to open a WebP: two canvases and a copy of the first frame."""
    return 12 * size[0] * size[1]
