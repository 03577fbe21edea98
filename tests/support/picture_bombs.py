"""Pictures that are built to cost time or memory: small files, inside every limit on bytes.

Each is made in a second at most. `BOMBS` has what makes each by its name, so that only those that
are wanted are made. Those that do not compress by themselves are sent packed: a request's limit is
on what it unpacks to.
"""

import gzip
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["BOMBS", "Bomb"]

MIB = 2**20
MOST = 16 * MIB
"""Bytes of a body: the server's default."""

SIDE = 5000
"""Of a picture of 25 megapixels."""


@dataclass(frozen=True)
class Bomb:
    """A body of a request.

    Attributes:
        body: as it is sent.
        headers: that go with it.
    """

    body: bytes = field(repr=False)
    headers: dict[str, str] = field(default_factory=dict)


def packed(content: bytes) -> Bomb:
    """A body sent with gzip."""
    return Bomb(gzip.compress(content, 9), {"Content-Encoding": "gzip"})


def drawn(height: int, width: int) -> NDArray[np.uint8]:
    """A dark stroke on white, grey `[height, width]`."""
    grey = np.full((height, width), 255, np.uint8)
    grey[height // 3 : height // 2, width // 4 : -(-width // 2)] = 0
    return grey


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of an image file."""
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture(kind: str, mode: str, height: int = SIDE, width: int = SIDE, **options: Any) -> Bomb:
    """A drawing of a mode, which compresses to nearly nothing."""
    grey = drawn(height, width)
    wide = mode == "I;16"
    image = Image.fromarray(grey.astype(np.uint16) * 257 if wide else grey)
    return Bomb(saved(image if wide else image.convert(mode), kind, **options))


# PNG.


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    *between: bytes, size: tuple[int, int] = (28, 28), kind: tuple[int, int] = (8, 0), lace: int = 0
) -> bytes:
    """A PNG of chunks that follow its header.

    Args:
        between: the chunks.
        size: width and height.
        kind: bits of a sample, and the number of the colour type.
        lace: 1 for seven passes.
    """
    header = struct.pack(">IIBBBBB", *size, *kind, 0, 0, lace)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(between) + chunk(b"IEND")


def rows(line: bytes, count: int) -> bytes:
    """The pixels of so many equal rows, compressed."""
    packer = zlib.compressobj(9)
    many = line * max(1, MIB // len(line))
    whole, rest = divmod(count * len(line), len(many))
    parts = [packer.compress(many) for _ in range(whole)]
    return b"".join([*parts, packer.compress(many[:rest]), packer.flush()])


SMALL = chunk(b"IDAT", zlib.compress((b"\0" + bytes(9) + b"\xff" * 9 + bytes(10)) * 28))
"""The pixels of a bar in 28x28."""


def filtered(colour: int, samples: int, kind: int) -> Bomb:
    """25 megapixels, each row coded as a difference to what is left of and above it."""
    line = bytes([kind]) + bytes([1, 0, 255, 0] * SIDE)[: samples * SIDE]
    return Bomb(png(chunk(b"IDAT", rows(line, SIDE)), size=(SIDE, SIDE), kind=(8, colour)))


def laced() -> Bomb:
    """25 megapixels in seven passes."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
    passes.append((0, 1, 1, 2))
    lines = [
        (b"\4" + bytes(-(-(SIDE - x) // across) * 3)) * -(-(SIDE - y) // down)
        for x, y, across, down in passes
    ]
    return Bomb(
        png(chunk(b"IDAT", rows(b"".join(lines), 1)), size=(SIDE, SIDE), kind=(8, 2), lace=1)
    )


def deep(*before: bytes) -> Bomb:
    """25 megapixels of three times 16 bits, with chunks before them."""
    line = b"\2" + bytes(6 * SIDE)
    parts = (*before, chunk(b"IDAT", rows(line, SIDE)))
    return Bomb(png(*parts, size=(SIDE, SIDE), kind=(16, 2)))


def slim(width: int, height: int) -> Bomb:
    """A picture of one pixel by 25 million."""
    data = rows(b"\0" + bytes([0, 255] * -(-width // 2))[:width], height)
    return Bomb(png(chunk(b"IDAT", data), size=(width, height)))


def overfull() -> Bomb:
    """28x28 pixels, and behind them 4 GB of zeros in the same stream."""
    data = rows(bytes(MIB), 4096)
    parts = [chunk(b"IDAT", data[at : at + 8192]) for at in range(0, len(data), 8192)]
    return Bomb(png(*parts))


def many_chunks(kind: bytes, data: bytes, *before: bytes) -> Bomb:
    """As many equal chunks as there is room for, then the pixels."""
    one = chunk(kind, data)
    return packed(png(*before, one * ((MOST - 1000) // len(one)), SMALL))


def texts(kind: bytes, start: bytes, count: int) -> Bomb:
    """Chunks that unpack to 1 MB of text or colour profile each."""
    data = start + zlib.compress(bytes(10**6), 9)
    return Bomb(png(*[chunk(kind, data)] * count, SMALL))


def ends_of_exif() -> Bomb:
    """EXIF data that begin again and again."""
    return packed(png(chunk(b"eXIf", b"Exif\0\0" * ((MOST - 1000) // 6)), SMALL))


def large_directory() -> Bomb:
    """EXIF data with as many entries as there can be, none of them the orientation."""
    entries = struct.pack("<HHII", 0x100, 3, 1, 1) * 65535
    return packed(png(chunk(b"eXIf", b"II*\0\x08\0\0\0\xff\xff" + entries), SMALL))


def xmp(content: bytes) -> Bomb:
    """Text that has the orientation, says its name, uncompressed."""
    return packed(png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + content), SMALL))


def wide_texts(count: int) -> Bomb:
    """Texts of 1 MB, each with a character that makes Python keep four bytes for all others."""
    content = zlib.compress(b"a" * 10**6 + "\U0001f600".encode(), 9)
    one = chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + content)
    return Bomb(png(one * count, SMALL))


# JPEG.


def segments(content: bytes) -> list[tuple[int, bytes]]:
    """The segments of a JPEG, each with what follows it up to the next."""
    found, at = [], 2
    while content[at + 1] != 0xD9:
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if content[at + 1] == 0xDA:
            while content[end] != 0xFF or content[end + 1] in (0, *range(0xD0, 0xD8)):
                end += 1
        found.append((content[at + 1], content[at:end]))
        at = end
    return found


def scans(count: int, side: int = SIDE, mode: str = "L", **options: Any) -> Bomb:
    """A progressive JPEG whose smallest scan comes again and again."""
    image = Image.fromarray(drawn(side, side)).convert(mode)
    parts = segments(saved(image, "JPEG", progressive=True, quality=50, **options))
    places = [place for place, (marker, _) in enumerate(parts) if marker == 0xDA]
    best = min(places, key=lambda place: len(parts[place][1]))
    first = best
    while parts[first - 1][0] == 0xC4:
        first -= 1
    tables = b"".join(part for _, part in parts[first:best])
    whole = b"".join(part for _, part in parts)
    return Bomb(b"\xff\xd8" + whole + tables + parts[best][1] * count + b"\xff\xd9")


def before_jpeg(part: bytes) -> Bomb:
    """A JPEG behind as many parts as there is room for."""
    content = saved(Image.fromarray(drawn(60, 60)), "JPEG")
    return packed(content[:2] + part * ((MOST - 2000) // len(part)) + content[2:])


def noise(kind: str, height: int, width: int, **options: Any) -> Bomb:
    """A picture that is as large as a file as it can be."""
    values = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    return Bomb(saved(Image.fromarray(values), kind, **options))


def half_noise(side: int) -> Bomb:
    """A PNG in colour whose file is as large as it may be, and whose other pixels cost nothing."""
    lines = (MOST - 200_000) // (3 * side + 1)
    values = np.random.default_rng(2).bytes(3 * side * lines)
    noisy = b"".join(b"\0" + values[at : at + 3 * side] for at in range(0, len(values), 3 * side))
    data = zlib.compress(noisy + bytes(3 * side + 1) * (side - lines), 1)
    return Bomb(png(chunk(b"IDAT", data), size=(side, side), kind=(8, 2)))


def restarts() -> Bomb:
    """A JPEG whose pixels are nothing but restart markers."""
    content = saved(Image.fromarray(drawn(SIDE, SIDE)), "JPEG", restart_marker_blocks=1)
    start = content.index(b"\xff\xda")
    marks = b"".join(b"\xff%c" % (0xD0 + number % 8) for number in range(8))
    return packed(content[: start + 10] + marks * ((MOST - 10000) // 16) + b"\xff\xd9")


# The others.


def gif(extensions: bytes) -> Bomb:
    """A GIF with these before its pixels."""
    content = saved(Image.fromarray(drawn(60, 60)), "GIF")
    at = 13 + (3 << (content[10] & 7) + 1 if content[10] & 0x80 else 0)
    return packed(content[:at] + extensions + content[at:])


def far_frame(between: bytes, side: int) -> Bomb:
    """A GIF of 60x60 whose frame is much larger, asks for a canvas, and is hard to find."""
    start = b"GIF89a" + struct.pack("<HHBBB", 60, 60, 0x80, 0, 0) + bytes(3) + b"\xff" * 3
    control = b"!\xf9\4" + bytes([2 << 2]) + bytes(4)
    frame = b"," + struct.pack("<4HB", 0, 0, side, side, 0) + b"\2\2\x4c\1\0;"
    return Bomb(start + control + between + frame)


def disposed(way: int) -> Bomb:
    """A GIF of 25 megapixels that asks for a copy of what is under its first frame."""
    content = saved(Image.fromarray(drawn(SIDE, SIDE)), "GIF", transparency=0, disposal=way)
    return Bomb(content)


def bmp(pairs: bytes, width: int = 4000, height: int = 4000, bits: int = 8) -> Bomb:
    """A BMP of 8 or 4 bits whose pixels are coded as runs."""
    colours, kind = 1 << bits, 1 if bits == 8 else 2
    palette = b"".join(bytes([255 * grey // (colours - 1)] * 3 + [0]) for grey in range(colours))
    start = 54 + len(palette)
    head = b"BM" + struct.pack("<IHHI", start + len(pairs), 0, 0, start)
    size = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, bits, kind, len(pairs), 0, 0, colours, 0
    )
    return packed(head + size + palette + pairs + b"\0\1")


def frames() -> Bomb:
    """An animated WebP of 7 megapixels."""
    one = Image.fromarray(drawn(2600, 2600)).convert("RGB")
    others = [Image.new("RGB", (2600, 2600), (value, 0, 0)) for value in (0, 99)]
    return Bomb(saved(one, "WEBP", save_all=True, append_images=others))


def form(content: bytes) -> Bomb:
    """A form whose file is `content`."""
    start = b'--limit\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    body = gzip.compress(start + content + b"\r\n--limit--\r\n", 9)
    kind = "multipart/form-data; boundary=limit"
    return Bomb(body, {"Content-Encoding": "gzip", "Content-Type": kind})


BOMBS: dict[str, Callable[[], Bomb]] = {
    "JPEG, 1000 scans, 25 MP": partial(scans, 1000),
    "JPEG, 55 scans, 25 MP": partial(scans, 49),
    "JPEG, 50 scans, colour, 12 MP": partial(scans, 40, 3464, "RGB", subsampling=0),
    "JPEG, progressive, colour, 16 MP": partial(scans, 0, 4000, "RGB", subsampling=0),
    "JPEG, progressive, colour, 25 MP": partial(scans, 0, SIDE, "RGB", subsampling=0),
    "JPEG, progressive, CMYK, 25 MP": partial(scans, 0, SIDE, "CMYK"),
    "JPEG, padding": partial(before_jpeg, b"\xff"),
    "JPEG, padding and no more": lambda: packed(b"\xff\xd8" + b"\xff" * (MOST - 2)),
    "JPEG, empty APP1": partial(before_jpeg, b"\xff\xe1\0\2"),
    "JPEG, APP1 of 64 KB": partial(before_jpeg, b"\xff\xe1\xff\xff" + bytes(65533)),
    "JPEG, comments": partial(before_jpeg, b"\xff\xfe\0\x03a"),
    "JPEG, tables": partial(before_jpeg, b"\xff\xdb\0\x43\0" + bytes([1]) * 64),
    "JPEG, zeros between segments": partial(before_jpeg, b"\xff\0"),
    "JPEG, restart markers": restarts,
    "JPEG, restart markers before the scan": partial(before_jpeg, b"\xff\xd0"),
    "JPEG, starts": partial(before_jpeg, b"\xff\xd8"),
    "JPEG, ends": partial(before_jpeg, b"\xff\xd9"),
    "JPEG, noise, 16 MiB": partial(noise, "JPEG", 2350, 2350, quality=97, subsampling=0),
    "PNG, grey, 25 MP": partial(picture, "PNG", "L"),
    "PNG, RGB, 25 MP": partial(picture, "PNG", "RGB"),
    "PNG, RGBA, 25 MP": partial(picture, "PNG", "RGBA"),
    "PNG, grey with alpha, 25 MP": partial(picture, "PNG", "LA"),
    "PNG, palette, transparent, 25 MP": partial(picture, "PNG", "P", transparency=0),
    "PNG, 1 bit, 25 MP": partial(picture, "PNG", "1"),
    "PNG, 16 bits, 25 MP": partial(picture, "PNG", "I;16"),
    "PNG, three times 16 bits, 25 MP": deep,
    "PNG, three times 16 bits, a colour transparent, 25 MP": partial(
        deep, chunk(b"tRNS", bytes(5) + b"\1")
    ),
    "PNG, RGB, a colour transparent, 25 MP": partial(
        picture, "PNG", "RGB", transparency=(255, 255, 255)
    ),
    "PNG, RGBA, Paeth, 25 MP": partial(filtered, 6, 4, 4),
    "PNG, RGBA, average, 25 MP": partial(filtered, 6, 4, 3),
    "PNG, RGB, seven passes, 25 MP": laced,
    "PNG, 1 x 25,000,000": partial(slim, 1, 25_000_000),
    "PNG, 25,000,000 x 1": partial(slim, 25_000_000, 1),
    "PNG, 4 GB behind the pixels": overfull,
    "PNG, noise, 16 MiB": partial(noise, "PNG", 2350, 2350),
    "PNG, empty chunks": partial(many_chunks, b"teXt", b""),
    "PNG, texts and an animation": partial(many_chunks, b"tEXt", b"a\0b", chunk(b"acTL", bytes(8))),
    "PNG, empty IDAT": partial(many_chunks, b"IDAT", b""),
    "PNG, zTXt": partial(texts, b"zTXt", b"Raw profile type exif\0\0", 60),
    "PNG, iTXt": partial(texts, b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0", 60),
    "PNG, iCCP": partial(texts, b"iCCP", b"a\0\0", 1000),
    "PNG, EXIF data that begin again": ends_of_exif,
    "PNG, EXIF data of 65535 entries": large_directory,
    "PNG, XMP": lambda: xmp(b"tiff:Orientation=".ljust(400) * (MOST // 401 - 10)),
    "PNG, XMP of 1 MB": lambda: xmp(b"tiff:Orientation=".ljust(400) * 2600),
    "PNG, XMP of wide characters": lambda: xmp(b"a" * (MOST - 5000) + "\U0001f600".encode()),
    "PNG, compressed XMP of wide characters": partial(wide_texts, 60),
    "GIF, 25 MP": partial(picture, "GIF", "L"),
    "GIF, laced, 25 MP": partial(picture, "GIF", "L", interlace=1),
    "GIF, disposal to the background, 25 MP": partial(disposed, 2),
    "GIF, disposal to what was there, 25 MP": partial(disposed, 3),
    "GIF, a frame of 88 MP behind other bytes": partial(far_frame, bytes(12), 9_400),
    "GIF, a frame of 88 MP behind an empty block": partial(far_frame, b"!\1\0," + bytes(45), 9_400),
    "GIF, comment of 1-byte blocks": lambda: gif(b"!\xfe" + b"\1x" * (8 * MIB - 2000) + b"\0"),
    "GIF, empty comments": lambda: gif(b"!\xfe\0" * (5 * MIB)),
    "GIF, comment of full blocks": lambda: gif(b"!\xfe" + (b"\xff" + bytes(255)) * 60_000 + b"\0"),
    "WebP, 25 MP": partial(picture, "WEBP", "RGB"),
    "WebP, lossless, 25 MP": partial(picture, "WEBP", "RGB", lossless=True),
    "WebP, RGBA, 6.5 MP": partial(picture, "WEBP", "RGBA", 2550, 2550),
    "WebP, lossless, RGBA, 6.5 MP": partial(picture, "WEBP", "RGBA", 2550, 2550, lossless=True),
    "WebP, lossless noise, 4 MP": partial(noise, "WEBP", 2000, 2000, lossless=True),
    "WebP, animated, 6.5 MP": frames,
    "BMP, runs of one pixel": lambda: bmp(b"\1\x80" * (8 * MIB - 1000)),
    "BMP, runs of 250 pixels, 16 MP": lambda: bmp((b"\xfa\x80" * 16 + b"\0\0") * 4000),
    "BMP, jumps": lambda: bmp(b"\0\2\0\0" * (4 * MIB - 1000)),
    "BMP, ends of lines": lambda: bmp(b"\0\0" * (8 * MIB - 1000)),
    "BMP, runs of one pixel, 1.5 MB": lambda: bmp(b"\1\x80" * 780_000, 1760, 1760),
    "BMP, 4 bits, runs of one pixel, 1.5 MB": lambda: bmp(b"\1\x80" * 780_000, 1760, 1760, 4),
    "BMP, 4 bits, ends of lines, 3 MP": lambda: bmp(b"\1\x80\0\0" * 380_000, 8, 390_000, 4),
    "form, PNG, RGBA, 25 MP": lambda: form(picture("PNG", "RGBA").body),
    "form, PNG, half noise, 14 MP": lambda: form(half_noise(3740).body),
    "form, carriage returns": lambda: form(b"\r" * (MOST - 300)),
    "form, half a boundary": lambda: form(b"\r\n--limi" * (MOST // 8 - 100)),
}
