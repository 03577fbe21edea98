"""One small picture, and builders of files with it that Pillow does not write.

Their pixels are arrays `[60, 40]` or `[60, 40, samples]`; samples have the bits of their dtype, or
fewer where `bits` says so.
"""

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

__all__ = ["DRAWING", "GREY", "Pixels", "bmp", "chunk", "png", "tiff"]

Pixels = NDArray[Any]


def _drawing() -> Image.Image:
    """A soft-edged seven in light ink, 40 wide and 60 high, all of its greys multiples of 17."""
    image = Image.new("L", (40, 60))
    ImageDraw.Draw(image).line([(8, 10), (32, 10), (16, 52)], fill=255, width=5)
    return image.resize((20, 30)).resize((40, 60)).point(lambda grey: grey // 17 * 17)


DRAWING = _drawing()
GREY = np.asarray(DRAWING)
HEIGHT, WIDTH = GREY.shape


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(pixels: Pixels, colour: int, *chunks: bytes, bits: int = 0) -> bytes:
    """A PNG without filters, with chunks before its pixels."""
    bits = bits or 8 * pixels.dtype.itemsize
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in _rows(pixels, bits, ">")))
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks)
    return start + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def bmp(
    pixels: Pixels,
    *,
    bits: int = 0,
    palette: Sequence[int] = (),
    masks: Sequence[int] = (),
    compression: int = 0,
    header: int = 40,
    top_down: bool = False,
    data: bytes = b"",
) -> bytes:
    """A BMP with a palette of greys; masks are those of red, green, blue and alpha.

    `data` are its pixels as they are in the file, where `pixels` tell their bits alone.
    """
    bits = bits or 8 * pixels.dtype.itemsize * pixels.size // GREY.size
    ordered = pixels if top_down else pixels[::-1]
    if data:
        pass
    elif compression in (1, 2):
        data = b"".join(_runs(row.tobytes(), bits) for row in ordered)
    else:
        data = b"".join(row + bytes(-len(row) % 4) for row in _rows(ordered, bits, "<"))
    facts = struct.pack("<IiiHH", header, WIDTH, -HEIGHT if top_down else HEIGHT, 1, bits)
    facts += struct.pack("<IIiiII", compression, len(data), 0, 0, len(palette), 0)
    facts += struct.pack(f"<{len(masks)}I", *masks)
    facts = facts.ljust(header, b"\0") + b"".join(bytes([grey] * 3 + [0]) for grey in palette)
    start = 14 + len(facts)
    return b"BM" + struct.pack("<III", start + len(data), 0, start) + facts + data


def _runs(row: bytes, bits: int) -> bytes:
    """A row of a BMP as runs of one colour each."""
    runs, start = b"", 0
    for at in range(1, len(row) + 1):
        if at == len(row) or row[at] != row[start]:
            runs += bytes([at - start, row[start] * (17 if bits == 4 else 1)])
            start = at
    return runs + b"\0\0"


def tiff(
    pixels: Pixels,
    *,
    bits: int = 0,
    order: str = "<",
    photometric: int | None = None,
    compression: int = 1,
    extra: int | None = None,
    planes: bool = False,
    big: bool = False,
    rows: int = HEIGHT,
    strips: int | None = None,
    more: dict[int, tuple[int, ...]] | None = None,
) -> bytes:
    """A TIFF of one strip, or of one for each sample, which `compression` 8 deflates.

    `rows` are those of a strip, and the first `strips` strips alone are in the file; `more` are
    other tags, or other values of these.
    """
    samples = pixels.size // GREY.size
    bits = bits or 8 * pixels.dtype.itemsize
    parts = [*np.moveaxis(pixels, -1, 0)] if planes else [pixels]
    tops = range(0, HEIGHT, rows)
    data = [b"".join(_rows(part[top : top + rows], bits, order)) for part in parts for top in tops]
    data = [zlib.compress(strip) if compression == 8 else strip for strip in data[:strips]]
    tags = {
        256: (WIDTH,),
        257: (HEIGHT,),
        258: (bits,) * samples,
        259: (compression,),
        262: (photometric if photometric is not None else 2 if samples > 2 else 1,),
        277: (samples,),
        278: (rows,),
        279: tuple(map(len, data)),
        284: (2 if planes else 1,),
        339: ({"u": 1, "i": 2, "f": 3, "b": 1}[pixels.dtype.kind],) * samples,
    }
    if extra is not None:
        tags[338] = (extra,)
    tags |= more or {}
    start = len(_directory(tags | {273: tags[279]}, order, big))
    offsets = tuple(start + sum(tags[279][:place]) for place in range(len(data)))
    return _directory(tags | {273: offsets} | (more or {}), order, big) + b"".join(data)


def _directory(tags: dict[int, tuple[int, ...]], order: str, big: bool) -> bytes:
    """The header and the only directory of a TIFF, and those values that do not fit into it."""
    number, room = ("Q", 8) if big else ("I", 4)
    mark = {"<": b"II", ">": b"MM"}[order]
    head = mark + (
        struct.pack(order + "HHHQ", 43, 8, 0, 16) if big else struct.pack(order + "HI", 42, 8)
    )
    count = struct.pack(order + ("Q" if big else "H"), len(tags))
    beyond = len(head) + len(count) + len(tags) * (4 + 2 * room) + room
    entries, more = b"", b""
    for tag, values in sorted(tags.items()):
        kind, letter = (4, "I") if tag in (273, 279) else (3, "H")
        data = struct.pack(f"{order}{len(values)}{letter}", *values)
        entries += struct.pack(order + "HH" + number, tag, kind, len(values))
        if len(data) > room:
            data, more = struct.pack(order + number, beyond + len(more)), more + data
        entries += data.ljust(room, b"\0")
    return head + count + entries + bytes(room) + more


def _rows(pixels: Pixels, bits: int, order: str) -> list[bytes]:
    """Rows of samples of any number of bits, the first one in the highest bits."""
    if bits % 8 == 0:
        ordered = pixels.astype(pixels.dtype.newbyteorder("<" if order == "<" else ">"))
        return [row.tobytes() for row in ordered]
    rows = []
    for row in pixels.reshape(len(pixels), -1):
        text = "".join(format(int(value), f"0{bits}b") for value in row)
        text += "0" * (-len(text) % 8)
        rows.append(int(text, 2).to_bytes(len(text) // 8, "big"))
    return rows
