"""How much work and memory a picture file asks for, from what its headers say.

A small file can take minutes of a processor or gigabytes of memory inside every limit on bytes and
pixels: a progressive JPEG of a thousand scans, a PNG of a million empty chunks, a picture of one by
25 million pixels. The bounds here are far above what programs write. They are checked before a
pixel is decoded and cost less than 10 ms for 16 MiB. What they let pass can still take long on a
slow machine, so a server also decodes in processes that it can end; see `decoders`.
"""

import re
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

MOST_SCANS = 64
"""In a JPEG. Progressive files have 6 to 20: each scan costs a pass over the whole picture."""

MOST_SEGMENTS = 1_000
"""In a JPEG, without the restart markers of its scans. A colour profile may have 255 of them."""

MOST_CHUNKS, BYTES_PER_CHUNK = 1_000, 512
"""A PNG may have so many chunks, and one more for each so many bytes. Usual are 8 KiB and more."""

PIXELS_PER_RUN_LENGTH_PIXEL, PIXELS_PER_RUN_LENGTH_BYTE = 8, 16
"""Of the pixels that are allowed, a run-length encoded BMP may have an eighth, and a sixteenth as
many bytes: Pillow decodes these in Python, which takes 0.1 us a pixel and 0.3 us a byte."""

_RUN_LENGTH = (1, 2)
"""The codes of BMP's 8-bit and 4-bit run lengths."""

_MARKER = re.compile(rb"\xff([^\x00\xff])")
"""A JPEG marker, which is neither padding nor a stuffed byte: ITU-T T.81, annex B."""

_MARKER_IN_SCAN = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
"""One that is no restart either, of which a scan may have any number."""

_START_OF_FRAME = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_END, _SCAN = 0xD9, 0xDA
_BARE = frozenset({0x01, *range(0xD0, 0xDA)})
"""Markers that no length follows."""

_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
"""Bytes that Pillow keeps for a pixel of a mode; 4 for all others."""

_POINTER = 8
"""Bytes that Pillow keeps for each row besides its pixels."""


class TooMuchWork(ValueError):  # noqa: N818  (it says all without "Error")
    """A picture file that asks for more work than any honest one."""


def check_work(kind: str, content: bytes) -> int:
    """Refuse a file that is built to cost time.

    Args:
        kind: the format by its name, such as "JPEG".
        content: of the file.

    Returns:
        Bytes that its decoder keeps besides the picture: of a JPEG in several scans, all its
        coefficients.

    Raises:
        TooMuchWork: it has too many scans, segments or chunks; the message says how many of what.
    """
    if kind == "JPEG":
        return _Jpeg(content).coefficients
    if kind == "PNG":
        _check_chunks(content)
    return 0


class _Jpeg:
    """What the segments of a JPEG say, of which `coefficients` is wanted in the end."""

    def __init__(self, content: bytes) -> None:
        self.coefficients = 0
        self._blocks = 0
        self._components = 0
        scans = at = segments = 0
        pattern = _MARKER
        while match := pattern.search(content, at):
            marker, at = match[1][0], match.end()
            if marker == _END and scans:
                break
            segments += 1
            scans += marker == _SCAN
            if scans > MOST_SCANS or segments > MOST_SEGMENTS:
                what = f"{MOST_SCANS} scans" if scans > MOST_SCANS else f"{MOST_SEGMENTS} segments"
                raise TooMuchWork(
                    f"the JPEG image has more than {what}, the most allowed: save it anew"
                )
            if marker in _BARE:
                continue
            if marker == _SCAN:
                pattern = _MARKER_IN_SCAN
            end = at + max(int.from_bytes(content[at : at + 2], "big"), 2)
            self._read(marker, content[at + 2 : end])
            at = end

    def _read(self, marker: int, data: bytes) -> None:
        """Take note of a frame's blocks, and of a scan that has only a part of it."""
        if marker in _START_OF_FRAME and len(data) >= 6:
            self._blocks, self._components = _blocks(data), data[5]
            progressive = marker in _PROGRESSIVE
        elif marker == _SCAN and data:
            progressive = data[0] < self._components  # the other components are in other scans
        else:
            return
        if progressive:
            self.coefficients = max(self.coefficients, 64 * 2 * self._blocks)


def _blocks(frame: bytes) -> int:
    """Count the blocks of 8x8 values of all components: ITU-T T.81, section A.1."""
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
            raise TooMuchWork(
                f"the PNG image of {len(content)} bytes has more than {most} chunks, "
                "the most allowed: save it anew"
            )
        at += 12 + int.from_bytes(content[at : at + 4], "big")


def check_runs(image: "Image.Image", size: int, max_pixels: int) -> None:
    """Refuse a large BMP whose pixels are run-length encoded.

    Args:
        image: of `PIL.BmpImagePlugin`, with no pixel decoded yet.
        size: of its file, in bytes.
        max_pixels: that are allowed in any picture.

    Raises:
        TooMuchWork: it has too many pixels or bytes; the message says how many are allowed.
    """
    if image.info.get("compression") not in _RUN_LENGTH:
        return
    pixels = max_pixels // PIXELS_PER_RUN_LENGTH_PIXEL
    most = max_pixels // PIXELS_PER_RUN_LENGTH_BYTE
    width, height = image.size
    if width * height > pixels or size > most:
        raise TooMuchWork(
            f"the run-length encoded BMP image is {width} x {height} pixels in {size} bytes, at "
            f"most {pixels} pixels in {most} bytes are allowed: save it as PNG"
        )


def memory_needed(kind: str, image: "Image.Image") -> int:
    """Bytes of memory that it takes to decode an opened image, besides the file itself.

    Args:
        kind: the format by its name.
        image: of Pillow, with no pixel decoded yet.
    """
    width, height = image.size
    row = -(-width * _BYTES.get(image.mode, 4) // 4) * 4
    needed = height * (row + _POINTER)
    if kind == "WebP":
        needed += canvas_memory(image.size)
    elif kind == "PNG":  # two rows, of up to 8 bytes a pixel in the file
        needed += 2 * 8 * width
        needed += _deep_copies(image)
    elif kind == "JPEG":  # a second reading, see `completeness`
        needed *= 2
    elif kind in ("GIF", "BMP"):  # what the frame leaves to the next; what is unpacked in Python
        needed += 2 * width * height
    return needed


def _deep_copies(image: "Image.Image") -> int:
    """What 16-bit grey takes before it is averaged, in bytes: a byte a sample, and a mask."""
    if not image.mode.startswith("I"):
        return 0
    return (2 if "transparency" in image.info else 1) * image.size[0] * image.size[1]


def canvas_memory(size: tuple[int, int]) -> int:
    """Bytes of memory that opening a WebP takes: two canvases and a copy of the first frame."""
    return 12 * size[0] * size[1]
