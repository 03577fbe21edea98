"""One picture in every format, depth and mode that is read: one answer."""

import base64
import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from mnist_sgd_serve.images.decode import decode
from mnist_sgd_serve.images.errors import UnsupportedFormat
from picture_files import DRAWING, GREY, Pixels, bmp, chunk, png, tiff
from pictures import encode

RGB = np.dstack([GREY] * 3)
OPAQUE = np.full_like(GREY, 255)
RGBA = np.dstack([RGB, OPAQUE])
INK = np.dstack([OPAQUE, OPAQUE, OPAQUE, GREY])
"""The drawing as white ink on nothing."""
TWO, FOUR, SIXTEEN = GREY // 128, np.rint(GREY / 85).astype(np.uint8), GREY // 17
"""In 1, 2 and 4 bits."""
FLOATS = (GREY / 255).astype(np.float32)
COLOURS = DRAWING.convert("RGB")
TURNED = [DRAWING.rotate(180)]


def deep(pixels: Pixels) -> Pixels:
    """16 bits a sample."""
    return pixels * np.uint16(257)


def within(low: int, high: int) -> Pixels:
    """The drawing in a part of 16 bits."""
    return np.rint(low + GREY / 255 * (high - low)).astype(np.uint16)


def palette(count: int) -> bytes:
    """A PNG's, from black to white."""
    return chunk(b"PLTE", b"".join(bytes([255 * each // (count - 1)] * 3) for each in range(count)))


def transparent(*values: int) -> bytes:
    """A PNG's colour that is transparent."""
    return chunk(b"tRNS", struct.pack(f">{len(values)}H", *values))


def runs(row: Pixels) -> bytes:
    """A row of bytes as run lengths of a BMP, without its end."""
    return b"".join(bytes([1, value]) for value in row)


def inked_rows() -> bytes:
    """Run lengths of the rows that have ink, and of the others their ends alone."""
    return b"".join((runs(row) if row.any() else b"") + b"\0\0" for row in GREY[::-1]) + b"\0\1"


def inked_parts() -> bytes:
    """Run lengths of what is inked, with jumps between, and an end behind the last of it."""
    data, below = b"", 0
    for up, row in enumerate(GREY[::-1]):
        inked = np.flatnonzero(row)
        if inked.size:
            first, last = inked[[0, -1]].tolist()
            data += bytes([0, 2, first, up - below]) + runs(row[first : last + 1]) + b"\0\0"
            below = up + 1
    return data + b"\0\1"


def absolute_rows(bits: int) -> bytes:
    """Rows of 37 pixels as they are, and 3 as one run, all of which are black."""
    rows = GREY[::-1, :37] if bits == 8 else SIXTEEN[::-1, :38:2] << 4 | SIXTEEN[::-1, 1:38:2]
    data = [b"\0\x25" + row.tobytes() + b"\0\3\0\0\0" for row in rows]
    return b"".join(data) + b"\0\1"


def coloured(bits: int, most: int) -> tuple[int, ...]:
    """The palette of a TIFF with greys up to a number: all reds, then all greens and blues."""
    return tuple(each * most // (2**bits - 1) for each in range(2**bits)) * 3


MASKS = (0xFF0000, 0xFF00, 0xFF)
MASKED: dict[str, Any] = {"compression": 3, "masks": MASKS, "header": 52}
ALPHA_MASKED: dict[str, Any] = {"compression": 3, "masks": (*MASKS, 0xFF000000), "header": 124}

LOSSLESS = {
    "PNG grey 4": png(SIXTEEN, 0, bits=4),
    "PNG grey 8": png(GREY, 0),
    "PNG grey 8 interlaced": encode(DRAWING, "PNG", interlace=1),
    "PNG grey 16": png(deep(GREY), 0),
    "PNG grey 16, the values of 12 bits": png(within(0, 4095), 0),
    "PNG grey 16, a small part": png(within(1000, 1200), 0),
    "PNG grey 16, another part": png(within(8000, 9000), 0),
    "PNG grey 16, the values of bytes": png(GREY.astype(np.uint16), 0),
    "PNG grey 4, paper transparent": png(SIXTEEN, 0, transparent(0), bits=4),
    "PNG grey 8, paper transparent": png(GREY, 0, transparent(0)),
    "PNG grey 16, paper transparent": png(deep(GREY), 0, transparent(0)),
    "PNG palette 4": png(SIXTEEN, 3, palette(16), bits=4),
    "PNG palette 8": png(GREY, 3, palette(256)),
    "PNG palette 8, paper transparent": png(GREY, 3, palette(256), chunk(b"tRNS", b"\0")),
    "PNG palette 8, white ink of any alpha": png(
        GREY, 3, chunk(b"PLTE", b"\xff" * 768), chunk(b"tRNS", bytes(range(256)))
    ),
    "PNG grey and alpha 8": png(np.dstack([GREY, OPAQUE]), 4),
    "PNG grey and alpha 8, ink": png(np.dstack([OPAQUE, GREY]), 4),
    "PNG grey and alpha 16": png(deep(np.dstack([GREY, OPAQUE])), 4),
    "PNG grey and alpha 16, ink": png(deep(np.dstack([OPAQUE, GREY])), 4),
    "PNG RGB 8": png(RGB, 2),
    "PNG RGB 8, paper transparent": png(RGB, 2, transparent(0, 0, 0)),
    "PNG RGB 16": png(deep(RGB), 2),
    "PNG RGB 16, paper transparent": png(deep(RGB), 2, transparent(0, 0, 0)),
    "PNG RGBA 8": png(RGBA, 6),
    "PNG RGBA 8, ink": png(INK, 6),
    "PNG RGBA 16": png(deep(RGBA), 6),
    "PNG RGBA 16, ink": png(deep(INK), 6),
    "PNG animated": encode(DRAWING, "PNG", save_all=True, append_images=TURNED),
    "BMP 4": bmp(SIXTEEN, bits=4, palette=range(0, 256, 17)),
    "BMP 4 run-length": bmp(SIXTEEN, bits=4, palette=range(0, 256, 17), compression=2),
    "BMP 8": bmp(GREY, palette=range(256)),
    "BMP 8, white first": bmp(255 - GREY, palette=range(255, -1, -1)),
    "BMP 8 top-down": bmp(GREY, palette=range(256), top_down=True),
    "BMP 8 run-length": bmp(GREY, palette=range(256), compression=1),
    "BMP 8 run-length, empty rows": bmp(GREY, palette=range(256), compression=1, data=inked_rows()),
    "BMP 8 run-length, jumps": bmp(GREY, palette=range(256), compression=1, data=inked_parts()),
    "BMP 8 run-length, no runs": bmp(
        GREY, palette=range(256), compression=1, data=absolute_rows(8)
    ),
    "BMP 4 run-length, no runs": bmp(
        SIXTEEN, bits=4, palette=range(0, 256, 17), compression=2, data=absolute_rows(4)
    ),
    "BMP 24": bmp(RGB),
    "BMP 24 top-down": bmp(RGB, top_down=True),
    "BMP 32": bmp(RGBA),
    "BMP 32, last byte 0": bmp(np.dstack([RGB, 0 * GREY])),
    "BMP 32, masks": bmp(RGBA, **MASKED),
    "BMP 32, alpha": bmp(RGBA, **ALPHA_MASKED),
    "BMP 32, alpha, ink": bmp(INK, **ALPHA_MASKED),
    "BMP 32, alpha all 0": bmp(np.dstack([RGB, 0 * GREY]), **ALPHA_MASKED),
    "GIF": encode(DRAWING, "GIF"),
    "GIF interlaced": encode(DRAWING, "GIF", interlace=1),
    "GIF, paper transparent": encode(DRAWING, "GIF", transparency=0),
    "GIF animated": encode(DRAWING, "GIF", save_all=True, append_images=TURNED),
    "WebP": encode(COLOURS, "WEBP", lossless=True),
    "WebP, ink": encode(Image.fromarray(INK), "WEBP", lossless=True),
    "WebP animated": encode(DRAWING, "WEBP", lossless=True, save_all=True, append_images=TURNED),
    "TIFF palette": encode(DRAWING.convert("P"), "TIFF"),
    "TIFF palette 4": tiff(SIXTEEN, bits=4, photometric=3, more={320: coloured(4, 65535)}),
    "TIFF palette 4 of bytes": tiff(SIXTEEN, bits=4, photometric=3, more={320: coloured(4, 255)}),
    "TIFF palette 8 of bytes": tiff(GREY, photometric=3, more={320: coloured(8, 255)}),
    "TIFF palette and alpha": encode(DRAWING.convert("PA"), "TIFF"),
    "TIFF CMYK": encode(DRAWING.convert("CMYK"), "TIFF"),
    "TIFF YCbCr": encode(DRAWING.convert("YCbCr"), "TIFF"),
    "TIFF LZW": encode(DRAWING, "TIFF", compression="tiff_lzw"),
    "TIFF PackBits": encode(DRAWING, "TIFF", compression="packbits"),
    "TIFF of two pages": encode(DRAWING, "TIFF", save_all=True, append_images=TURNED),
    "TIFF BigTIFF": tiff(GREY, big=True),
    "TIFF 32": tiff(GREY * np.uint32(0x1010101)),
    "TIFF 32, 0 white": tiff((255 - GREY) * np.uint32(0x1010101), photometric=0),
    "TIFF 32, times 2**20": tiff(GREY * np.uint32(2**20)),
    "TIFF 12": tiff(within(0, 4095), bits=12),
    "TIFF 12, 0 white": tiff(within(4095, 0), bits=12, photometric=0),
    "TIFF float, a small part": tiff(FLOATS / 128 + 8),
    "TIFF float, half of white": tiff(FLOATS * 2 - 1),
}
for order, name in {"<": "little-endian", ">": "big-endian"}.items():
    for compression in (1, 8):
        way: Any = {"order": order, "compression": compression}
        how = f"{name}{', deflated' if compression == 8 else ''}"
        LOSSLESS |= {
            f"TIFF 4, {how}": tiff(SIXTEEN, bits=4, **way),
            f"TIFF 4, 0 white, {how}": tiff(15 - SIXTEEN, bits=4, photometric=0, **way),
            f"TIFF 8, {how}": tiff(GREY, **way),
            f"TIFF 8, 0 white, {how}": tiff(255 - GREY, photometric=0, **way),
            f"TIFF 8 signed, {how}": tiff((GREY ^ 128).view(np.int8), **way),
            f"TIFF 16, {how}": tiff(deep(GREY), **way),
            f"TIFF 16, a small part, {how}": tiff(within(2000, 4000), **way),
            f"TIFF 16, 0 white, {how}": tiff(deep(255 - GREY), photometric=0, **way),
            f"TIFF 16, 0 white, a small part, {how}": tiff(within(700, 300), photometric=0, **way),
            f"TIFF 16 signed, {how}": tiff((deep(GREY) ^ 2**15).view(np.int16), **way),
            f"TIFF 16 signed, none negative, {how}": tiff(GREY * np.int16(128), **way),
            f"TIFF 32 signed, {how}": tiff(GREY * np.int32(2**23) - np.int32(2**30), **way),
            f"TIFF float to 1, {how}": tiff(FLOATS, **way),
            f"TIFF float to 255, {how}": tiff(GREY.astype(np.float32), **way),
            f"TIFF float, 0 white, {how}": tiff(1 - FLOATS, photometric=0, **way),
            f"TIFF RGB 8, {how}": tiff(RGB, **way),
            f"TIFF RGB 16, {how}": tiff(deep(RGB), **way),
            f"TIFF RGB 8 in planes, {how}": tiff(RGB, planes=True, **way),
            f"TIFF RGB 16 in planes, {how}": tiff(deep(RGB), planes=True, **way),
            # TIFF 6.0, ExtraSamples: 0 is unspecified data, which tell nothing of the paper.
            f"TIFF RGB 8 and what is no alpha, {how}": tiff(
                np.dstack([RGB, 0 * GREY]), extra=0, **way
            ),
            f"TIFF RGBA 8, ink, {how}": tiff(INK, extra=2, **way),
            f"TIFF RGBA 8, premultiplied, {how}": tiff(np.dstack([RGB, GREY]), extra=1, **way),
            f"TIFF RGBA 16, ink, {how}": tiff(deep(INK), extra=2, **way),
            f"TIFF grey and alpha 8, ink, {how}": tiff(INK[..., 2:], extra=2, **way),
        }


@pytest.mark.parametrize("name", LOSSLESS)
def test_a_lossless_file_of_any_kind_has_the_same_grey_bytes(name: str) -> None:
    np.testing.assert_array_equal(decode(LOSSLESS[name], tiff=True), GREY)


@pytest.mark.parametrize("name", LOSSLESS)
def test_what_pillow_has_opened_and_not_decoded_is_read_as_its_file_is(name: str) -> None:
    """Decoded by Pillow itself, some big-endian TIFFs and 16 bits in planes have other values."""
    try:
        given = Image.open(BytesIO(LOSSLESS[name]))
    except UnidentifiedImageError:
        assert "0 white" in name  # Pillow opens no such TIFF of 12, 16 or 32 bits
    else:
        np.testing.assert_array_equal(decode(given), GREY)


def two_pages(content: bytes) -> bytes:
    """A big-endian TIFF whose second page has the pixels of the first."""
    end = 10 + 12 * int.from_bytes(content[8:10], "big")
    return (
        content[:end] + struct.pack(">I", len(content)) + content[end + 4 :] + content[8 : end + 4]
    )


def second_page(content: bytes) -> Image.Image:
    image = Image.open(BytesIO(two_pages(content)))
    image.seek(1)
    return image


def test_another_page_of_a_tiff_is_read_if_pillow_does_not_misread_it() -> None:
    for name in ("TIFF 8", "TIFF float to 1", "TIFF RGB 8 in planes"):
        for how in ("big-endian", "big-endian, deflated"):
            page = second_page(LOSSLESS[f"{name}, {how}"])
            np.testing.assert_array_equal(decode(page), GREY)
    np.testing.assert_array_equal(
        decode(second_page(LOSSLESS["TIFF RGB 16 in planes, big-endian, deflated"])), GREY
    )
    with pytest.raises(UnsupportedFormat) as refused:
        decode(second_page(LOSSLESS["TIFF RGB 16 in planes, big-endian"]))
    assert str(refused.value) == (
        "a page of a TIFF image with 16-bit samples in separate planes cannot be read: "
        "save it as PNG"
    )


def pillow_one_bit(form: str, **options: Any) -> bytes:
    return encode(DRAWING.convert("1", dither=Image.Dither.NONE), form, **options)


FEW_LEVELS = {
    "PNG grey 1": (1, png(TWO, 0, bits=1)),
    "PNG grey 1, paper transparent": (1, png(TWO, 0, transparent(0), bits=1)),
    "PNG grey 2": (2, png(FOUR, 0, bits=2)),
    "PNG grey 2, paper transparent": (2, png(FOUR, 0, transparent(0), bits=2)),
    "PNG palette 1": (1, png(TWO, 3, palette(2), bits=1)),
    "PNG palette 1, white first": (
        1,
        png(1 - TWO, 3, chunk(b"PLTE", b"\xff\xff\xff\0\0\0"), bits=1),
    ),
    "PNG palette 2": (2, png(FOUR, 3, palette(4), bits=2)),
    "BMP 1": (1, bmp(TWO, bits=1, palette=(0, 255))),
    "BMP 1, white first": (1, bmp(1 - TWO, bits=1, palette=(255, 0))),
    "GIF 1": (1, pillow_one_bit("GIF")),
    "TIFF 1": (1, tiff(TWO, bits=1)),
    "TIFF 1, 0 white": (1, tiff(1 - TWO, bits=1, photometric=0)),
    "TIFF 1, big-endian": (1, tiff(TWO, bits=1, order=">")),
    "TIFF 2": (2, tiff(FOUR, bits=2)),
    "TIFF 2, 0 white": (2, tiff(3 - FOUR, bits=2, photometric=0)),
    "TIFF fax 3": (1, pillow_one_bit("TIFF", compression="group3")),
    "TIFF fax 4": (1, pillow_one_bit("TIFF", compression="group4")),
    "TIFF fax, run-length": (1, pillow_one_bit("TIFF", compression="tiff_ccitt")),
}


@pytest.mark.parametrize("name", FEW_LEVELS)
def test_a_file_of_one_or_two_bits_has_the_nearest_greys(name: str) -> None:
    bits, content = FEW_LEVELS[name]
    expected = {1: TWO * 255, 2: FOUR * 85}[bits]
    np.testing.assert_array_equal(decode(content, tiff=True), expected)


# The drawing by cjpeg -arithmetic -quality 90, and the same with -progressive.
ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsL"
    "EBYQERMUFRUVDA8XGBYUGBIUFRT/yQALCAA8ACgBAREA/8wABgAQEAX/2gAIAQEAAD8A/wDu3e+yfIRhmiUO1ao3VRPB"
    "l5jrpyexYP0SKw+ZkWUXSnMalj41gLNeZp6xhZNTDqks1ewQSB4qY+cgzJewCfsJXfmN4afp1bbnBuVm3FLSqCaD9oEx"
    "YK5DvfT9/wCrp7HQONNngsoeU9OgsMR4LHUG7zP72+VrcwQTq05hlcEYkpaH2GNlhxpJkUnAmGZnHSLVxlNkWdBU9r4w"
    "bgD+WyJm7CGt4O/gC3jrNe0bTiJ6E5UWWD3EGO8W8VYM6sgUmz+Hwk+NMtX/AFEyeOceox2Yuz2OTQyKc4PCE+Enypkj"
    "TNmiozQ0YVpVlrkOblO1iSZocuRQYG202ajAv4Hnvp6kxWmyco3St4r1PSIyEgLLQH6Qe05mp/svQtf0p4hD/wDOzNuA"
    "9xooqZFaPsH46DLg3jdt/S+UTPf+0gExrOiZ8SbYIiFhKxVScRMGBKhQj6znfOUCiOp/w95id+CfkmyNLFXwMLvfWhwa"
    "D/kOEY1D3i0TojI33a+/bukmD7CgchsWQJcs5BTym82jcsQMZM8ZUf2W21EQCdlc+g4VWniaznnWje0DBmciKkxaYIe6"
    "PYujrWeShXzCrpKAIaFixAtXwwfcRjkSvKTFr0TPa3oDmbpf5XVtCBSXsUziUTVktljIEXjtpm/E3FQfHr1YF8JfjG5D"
    "aSfb6Xk15Sj/2Q=="
)
PROGRESSIVE_ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsL"
    "EBYQERMUFRUVDA8XGBYUGBIUFRT/ygALCAA8ACgBAREA/8wABAAQ/9oACAEBAAAAAf8A3bljB+HVIycCUvaKdkDKT6ic"
    "ZxBzilAC9UUpjaUk4OvdswkoY9j/zAAEEAX/2gAIAQEAAQUC/stTKaq2eimZzcOTV9udZEpr6ocQ1vK1XjjVvB1zQh0v"
    "UbFNIeoZjhfyOncOI5HRWhy/kjMK9Wuen1XXZZ4vDPIbN+B4ROzJ/uvncXlaKkkdEfH/AK2y5Aw5Ehz/zAAEEAX/2gAI"
    "AQEABj8C92vD48wXbIi8zzdebfXl61nTqgU9WRa6UVU7DDueE405nScGPtQFI1Qhoib3pP8AuRkXCbY/mmouOKcvyKYC"
    "9Muss0x84vQEokRdgC9RwbfTew5jUcauVYyFDI7WOW7GDsk1iA/QylVwyuZPSA2pWtA2wKlAjkD/zAAEEAX/2gAIAQEA"
    "AT8hwiKYOsWwREy2JV496r64O3LBo+xX8UvIjxmFnQTJsW6bwlXBWfUHWUptoVXnse+H5pHS0j/Vmxr+AB6lIvFtqDeU"
    "BjBJM/2x10BksnEbn3inH80Xv8Ogat7xFXcx+6czf5j/2gAIAQEAAAAQ3UnlBpL/zAAEEAX/2gAIAQEAAT8Q8d9N+YY9"
    "lQ5//wAd+8s1vxc0ChG3X91Pjdx+4xcDVfFtYJ7qGx+qwojcMlYzTHbyrYpn7N+lIREdNRB1RodRTMOgDEJOthCIeJzk"
    "RgtQUiU9apHLZLLX/GlDiHt20/DldH9yqO/T89QVYxb3Fqaqtjj5+jVFVOaqftgfyJPqFsPBQQNK1IexzWH8673e/9k="
)


def with_junk(content: bytes, at: int, junk: bytes) -> bytes:
    return content[:at] + junk + content[at:]


JPEG = encode(DRAWING, "JPEG", quality=95)
HEADER_END = 20
"""Of JFIF's segment in a JPEG."""

LOSSY = {
    "JPEG grey": JPEG,
    "JPEG colour": encode(COLOURS, "JPEG", quality=95),
    "JPEG colour, full": encode(COLOURS, "JPEG", quality=95, subsampling=0),
    "JPEG RGB": encode(COLOURS, "JPEG", quality=95, keep_rgb=True),
    "JPEG CMYK": encode(DRAWING.convert("CMYK"), "JPEG", quality=95),
    "JPEG progressive": encode(DRAWING, "JPEG", quality=95, progressive=True),
    "JPEG with restarts": encode(DRAWING, "JPEG", quality=95, restart_marker_blocks=1),
    "JPEG arithmetic": ARITHMETIC,
    "JPEG progressive, arithmetic": PROGRESSIVE_ARITHMETIC,
    "JPEG of two pictures": encode(DRAWING, "MPO", quality=95, save_all=True, append_images=TURNED),
    "JPEG, a byte between segments": with_junk(JPEG, HEADER_END, b"\0"),
    "JPEG, bytes between segments": with_junk(JPEG, HEADER_END, b"8BIM\xff\0\xff\0 more"),
    "JPEG, padding between segments": with_junk(JPEG, HEADER_END, b"\xff" * 9),
    "JPEG, bytes before the first segment": with_junk(JPEG, 2, b"\0\0"),
    "JPEG, bytes before the scan": with_junk(JPEG, JPEG.index(b"\xff\xda"), b"\0\1"),
    "JPEG, bytes at its end": JPEG + b"and more",
    "WebP": encode(COLOURS, "WEBP", quality=95),
    "WebP, ink": encode(Image.fromarray(INK), "WEBP", quality=95),
    "TIFF JPEG": encode(DRAWING, "TIFF", compression="jpeg", quality=95),
    "TIFF JPEG, colour": encode(COLOURS, "TIFF", compression="jpeg", quality=95),
}


@pytest.mark.parametrize("name", LOSSY)
def test_a_lossy_file_of_any_kind_has_nearly_the_same_grey_bytes(name: str) -> None:
    assert np.abs(decode(LOSSY[name], tiff=True).astype(int) - GREY).mean() < 2


def test_at_least_sixty_kinds_of_files_are_in_these_tables() -> None:
    """The tables stay whole; test_picture_refusals.py has those of what is not read."""
    assert len(LOSSLESS | FEW_LEVELS | LOSSY) >= 180
