"""A picture of which a part is missing is refused, and one that only looks so is read."""

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from mnist_sgd_serve.images.decode import decode, decode_own
from mnist_sgd_serve.images.errors import NotAnImage
from mnist_sgd_serve.images.truncation import MARK
from picture_files import GREY, chunk, tiff
from pictures import encode

SIDES = [(40, 60), (33, 49), (640, 480), (3, 100)]
END = b"\xff\xd9"
KINDS: dict[str, dict[str, Any]] = {
    "grey": {"mode": "L"},
    "colour": {"mode": "RGB"},
    "colour, full": {"mode": "RGB", "subsampling": 0},
    "RGB": {"mode": "RGB", "keep_rgb": True},
    "CMYK": {"mode": "CMYK"},
    "restarts": {"mode": "RGB", "restart_marker_blocks": 3},
    "a restart after each row": {"mode": "L", "restart_marker_rows": 1},
}


def noise(width: int, height: int, grey: int = 235) -> Image.Image:
    values = np.random.default_rng(height).normal(grey, 5, (height, width))
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def jpeg(image: Image.Image, mode: str = "L", **options: Any) -> bytes:
    return encode(image.convert(mode), "JPEG", quality=90, **options)


def part(content: bytes, share: float) -> bytes:
    """The first bytes of the first scan, and an end."""
    start = content.index(b"\xff\xda")
    scan = content.find(b"\xff\xc4", start)  # of a progressive picture, tables follow
    end = scan if scan > 0 else len(content) - 2
    return content[: start + 16 + int((end - start - 16) * share)] + END


def refusal(content: Any, **options: Any) -> str:
    with pytest.raises(NotAnImage) as refused:
        decode(content, **options)
    return str(refused.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("size", SIDES)
def test_a_jpeg_whose_scan_ends_early_is_refused(
    kind: str, share: float, size: tuple[int, int]
) -> None:
    content = jpeg(noise(*size), **KINDS[kind])
    assert decode(content).shape == size[::-1]
    assert refusal(part(content, share)) == "the JPEG image is damaged or cut short"


@pytest.mark.parametrize("kind", ["restarts", "a restart after each row"])
def test_a_jpeg_that_ends_at_a_restart_is_refused(kind: str) -> None:
    content = jpeg(noise(160, 240), **KINDS[kind])
    restart = content.index(b"\xff\xd3")
    for end in (restart, restart + 2):
        assert refusal(content[:end] + END) == "the JPEG image is damaged or cut short"


def test_a_large_jpeg_that_is_decoded_at_a_fraction_of_its_size_is_refused_too() -> None:
    content = part(jpeg(noise(3000, 2200), "RGB"), 0.5)
    assert refusal(content, reduce=True) == "the JPEG image is damaged or cut short"


def test_a_progressive_jpeg_may_lack_later_scans_and_not_a_part_of_the_first() -> None:
    content = jpeg(noise(160, 120), "RGB", progressive=True)
    assert refusal(part(content, 0.5)) == "the JPEG image is damaged or cut short"
    first = content[: content.index(b"\xff\xc4", content.index(b"\xff\xda"))]
    difference = decode(first + END).astype(int) - decode(content)
    assert np.abs(difference).mean() < 8


@pytest.mark.parametrize("kind", [*KINDS, "progressive"])
@pytest.mark.parametrize("size", SIDES)
def test_a_jpeg_without_its_last_bytes_is_read_if_no_pixel_is_in_them(
    kind: str, size: tuple[int, int]
) -> None:
    options = KINDS.get(kind, {"mode": "RGB", "progressive": True})
    content = jpeg(noise(*size), **options)
    for cut in (1, 2):
        np.testing.assert_array_equal(decode(content[:-cut]), decode(content))
    if kind != "progressive":
        assert refusal(content[: -len(content) // 8]) == "the JPEG image is damaged or cut short"


@pytest.mark.parametrize("kind", [*KINDS, "progressive"])
@pytest.mark.parametrize("size", SIDES)
def test_a_jpeg_whose_lower_half_is_mid_grey_is_read(kind: str, size: tuple[int, int]) -> None:
    options = KINDS.get(kind, {"mode": "RGB", "progressive": True})
    values = np.array(noise(*size))
    values[size[1] // 2 :] = 128
    content = jpeg(Image.fromarray(values), **options)
    assert np.abs(decode(content)[-1].astype(int) - 128).max() <= 2
    for padded in (content[:-2] + b"\xff\xff" + END, content + b"and more", content[:-2]):
        np.testing.assert_array_equal(decode(padded), decode(content))


@settings(max_examples=200, deadline=None)
@given(
    grey=st.integers(0, 255),
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    kind=st.sampled_from(sorted(KINDS)),
    progressive=st.booleans(),
)
def test_whatever_colour_a_jpeg_ends_with_it_is_read(
    grey: int, width: int, height: int, kind: str, progressive: bool
) -> None:
    content = jpeg(Image.new("L", (width, height), grey), progressive=progressive, **KINDS[kind])
    for whole in (content, content[:-2]):
        assert np.abs(decode(whole).astype(int) - grey).max() <= 3


def png(rows: int, mode: str, *, interlaced: bool = False, bits: int = 8) -> bytes:
    """A PNG of 40 by 60 pixels, of whose data the first `rows` rows are there.

    It is white; if it is not interlaced, its last row is 0.
    """
    samples = {"L": (0, 1), "RGB": (2, 3), "P": (3, 1), "LA": (4, 2), "RGBA": (6, 4)}
    colour, channels = samples[mode]
    length = -(-40 * channels * bits // 8)
    lines = [b"\0" + b"\xff" * length] * 59 + [b"\0" * (1 + length)]
    if interlaced:
        lines = [b"\0" + b"\xff" * -(-columns * channels * bits // 8) for columns in PASSES]
    header = struct.pack(">IIBBBBB", 40, 60, bits, colour, 0, 0, interlaced)
    palette = chunk(b"PLTE", b"\xff" * 768) if mode == "P" else b""
    data = zlib.compress(b"".join(lines[:rows]))
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette
    middle = len(data) // 2
    return (
        start + chunk(b"IDAT", data[:middle]) + chunk(b"IDAT", data[middle:]) + chunk(b"IEND", b"")
    )


PASSES = [5] * 8 + [5] * 8 + [10] * 7 + [10] * 15 + [20] * 15 + [20] * 30 + [40] * 30
"""The pixels in each row of the seven passes of an interlaced PNG of 40 by 60."""


DEPTHS = {"L": (1, 2, 8, 16), "RGB": (8, 16), "P": (4, 8), "LA": (8, 16), "RGBA": (8, 16)}


@pytest.mark.parametrize(
    ("mode", "bits"), [(mode, bits) for mode, depths in DEPTHS.items() for bits in depths]
)
def test_a_png_whose_data_end_before_its_last_row_is_refused(mode: str, bits: int) -> None:
    assert decode(png(60, mode, bits=bits)).shape == (60, 40)
    for rows in (1, 30, 59):
        said = "the PNG image is damaged or cut short"
        assert refusal(png(rows, mode, bits=bits)) == said
    whole = png(len(PASSES), mode, bits=bits, interlaced=True)
    assert decode(whole).min() == 255
    for rows in (0, 8, 40, 83, len(PASSES) - 1):
        assert refusal(png(rows, mode, bits=bits, interlaced=True)) == said


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16"])
def test_a_png_is_read_that_ends_with_the_colour_of_missing_rows(mode: str, interlace: int) -> None:
    bands = Image.getmodebands(mode)
    for colour in (0, MARK[0]) if bands == 1 else ((0, 0, 0, 0)[:bands], MARK[:bands]):
        for size in ((1200, 900), (7, 1), (1, 7), (1, 1)):
            whole = Image.new(mode, size, colour)
            if mode == "P":
                whole.putpalette([grey for grey in range(256) for _ in range(3)])
            other = 0 if colour else 255
            whole.putpixel((0, 0), other if bands == 1 else (9, 99, 199, 255)[-bands:])
            read = decode(encode(whole, "PNG", interlace=interlace))
            assert read.shape == size[::-1]
            assert len(np.unique(read)) == min(2, read.size)


def test_a_pillow_image_that_is_not_loaded_yet_is_checked_as_its_file_is() -> None:
    whole = jpeg(noise(160, 240), "RGB")
    for content, name in ((part(whole, 0.5), "JPEG"), (png(30, "L"), "PNG")):
        said = f"the {name} image is damaged or cut short"
        assert refusal(Image.open(BytesIO(content))) == said
    given = Image.open(BytesIO(whole))
    np.testing.assert_array_equal(decode_own(given), decode(whole))
    given = Image.open(BytesIO(jpeg(noise(1600, 1200, 128), "RGB")))
    given.draft("L", (200, 150))
    assert decode(given).shape == (150, 200)


@pytest.mark.parametrize("compression", [1, 8])
def test_a_tiff_that_lacks_strips_is_refused(compression: int) -> None:
    way: dict[str, Any] = {"rows": 7, "compression": compression}
    for pixels, planes, count in ((GREY, False, 9), (np.dstack([GREY] * 3), True, 27)):
        whole = tiff(pixels, planes=planes, **way)
        np.testing.assert_array_equal(decode(whole, tiff=True), GREY)
        said = "the TIFF image is damaged or cut short"
        for strips in (2, count - 1):
            content = tiff(pixels, planes=planes, strips=strips, **way)
            assert refusal(content, tiff=True) == said
        nowhere = tiff(pixels, planes=planes, more={273: (0,) * count}, **way)
        assert refusal(nowhere, tiff=True) == said
