"""Decode run-length encoded BMPs (BITMAPINFOHEADER with BI_RLE8 or BI_RLE4).

Pillow's own decoder, in Python too, loses empty rows and rejects bitmaps that end before their last
row. Skipped pixels have the first colour of the palette.
"""

from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

_END_OF_ROW, _END, _JUMP = 0, 1, 2
"""Escape codes after a count of 0; a larger code is the number of literal pixels that follow."""


def unpack_runs(image: "Image.Image", content: bytes) -> None:
    """Replace the run-length encoded pixels of an opened BMP by decoded ones.

    Args:
        image: a `BmpImageFile`, not yet decoded; unchanged if it is not run-length encoded.
        content: its file.

    Raises:
        IndexError: the file is truncated.
    """
    opened: Any = image
    decoder, box, start, arguments = opened.tile[0]
    if decoder != "bmp_rle":
        return
    _, is_nibbles, direction = arguments
    raw = "L" if image.mode in ("1", "L") else "P"
    opened.fp = BytesIO(_unpacked(content, start, image.size, is_nibbles))
    opened.tile = [type(opened.tile[0])("raw", box, 0, (raw, 0, direction))]


def _unpacked(content: bytes, at: int, size: tuple[int, int], is_nibbles: bool) -> bytearray:
    """Decode to palette indices, a byte each, with rows in file order."""
    width, height = size
    pixels = bytearray(width * height)
    parts = [bytes([value >> 4, value & 15] if is_nibbles else [value]) for value in range(256)]
    each = len(parts[0])
    x, row, last_row = 0, 0, width * (height - 1)
    while row < last_row or (row == last_row and x < width):
        count, value = content[at], content[at + 1]
        at += 2
        if count:
            run = parts[value] if count <= each else parts[value] * -(-count // each)
        elif value > _JUMP:
            count, length = value, -(-value // each)
            if at + length > len(content):
                raise IndexError("the file ends in a row")
            run = content[at : at + length]
            if is_nibbles:
                run = b"".join([parts[pair] for pair in run])
            at += length + length % 2  # padded to an even number of bytes
        elif value == _END_OF_ROW:
            x, row = 0, row + width
            continue
        elif value == _END:
            break
        else:
            x, row, at = x + content[at], row + width * content[at + 1], at + 2
            continue
        end = x + count
        if end > width or count < len(run):
            end = max(x, min(end, width))
            run = run[: end - x]
        pixels[row + x : row + end] = run
        x = end
    return pixels
