"""No picture costs more than it may: its headers tell, and large ones are read small."""

import dataclasses
import gzip
import json
import os
import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

import onnx_models
from mnist_sgd.data.pictures.decoding import read_pictures
from mnist_sgd.data.pictures.file_entries import FileEntry
from mnist_sgd_serve.http.picture_request import PictureLimits, read_picture
from mnist_sgd_serve.images.decode import decode, decode_own
from mnist_sgd_serve.images.decoding_cost import memory_needed
from mnist_sgd_serve.images.errors import ImageError, ImageTooLarge
from mnist_sgd_serve.images.pixels import LONGEST_SIDE, shrink
from mnist_sgd_serve.images.preprocessing import preprocess
from mnist_sgd_serve.protocol import Kind, RequestError
from mnist_sgd_serve.settings import Settings
from picture_bombs import BOMBS, MIB, bmp, chunk, drawn, png, rows, saved, segments
from processes import in_child

DEFAULTS = Settings(model=Path("model.onnx"))
LIMITS = PictureLimits(
    DEFAULTS.max_body, DEFAULTS.max_pixels, DEFAULTS.decode_memory, DEFAULTS.decode_seconds
)

SEGMENTS = "the JPEG image has more than 1000 segments, the most allowed: save it again"
REFUSED = {
    "JPEG, empty APP1": SEGMENTS,
    "JPEG, comments": SEGMENTS,
    "JPEG, tables": SEGMENTS,
    "JPEG, restart markers before the scan": SEGMENTS,
    "JPEG, starts": SEGMENTS,
    "JPEG, ends": SEGMENTS,
    "PNG, empty chunks": "the PNG image of 16776296 bytes has more than 33766 chunks, the most "
    "allowed: save it again",
    "PNG, texts and an animation": "the PNG image of 16776310 bytes has more than 33766 chunks, "
    "the most allowed: save it again",
    "PNG, empty IDAT": "the PNG image of 16776296 bytes has more than 33766 chunks, the most "
    "allowed: save it again",
    "PNG, 25,000,000 x 1": "the PNG image of 25000000 x 1 pixels takes 426 MB of memory to read, "
    "at most 117 MB are allowed: make it smaller",
    "GIF, a frame of 88 MP behind other bytes": "the image is 9400 x 9400 pixels, at most "
    "25000000 in all are allowed: make it smaller",
    "GIF, comment of 1-byte blocks": "the GIF image has more than 100000 blocks before its pixels, "
    "the most allowed: save it again",
    "GIF, empty comments": "the GIF image has more than 100000 blocks before its pixels, "
    "the most allowed: save it again",
    "BMP, runs of one pixel": "the run-length encoded BMP image is 4000 x 4000 pixels in 16776296 "
    "bytes, at most 3125000 pixels in 1562500 bytes are allowed: save it as PNG",
    "BMP, runs of 250 pixels, 16 MP": "the run-length encoded BMP image is 4000 x 4000 pixels in "
    "137080 bytes, at most 3125000 pixels in 1562500 bytes are allowed: save it as PNG",
}


def test_a_picture_is_refused_by_headers_that_ask_for_too_much() -> None:
    for name, text in REFUSED.items():
        bomb = BOMBS[name]()
        with pytest.raises(RequestError) as raised:
            read_picture(bomb.body, bomb.headers.get("Content-Encoding"), "", "mnist", LIMITS)
        assert (raised.value.kind, str(raised.value)) == (Kind.TOO_LARGE, text), name


HARMLESS = ["JPEG, padding", "JPEG, APP1 of 64 KB", "PNG, zTXt", "PNG, iCCP", "PNG, iTXt"]


@pytest.mark.parametrize("name", HARMLESS)
def test_what_a_picture_has_besides_its_pixels_does_not_matter(name: str) -> None:
    """Padding, large segments, and megabytes of text or of a colour profile."""
    bomb = BOMBS[name]()
    found = read_picture(bomb.body, bomb.headers.get("Content-Encoding"), "", "mnist", LIMITS)
    assert found.image.any()


def jpeg(**options: Any) -> bytes:
    return saved(Image.fromarray(drawn(60, 40)), "JPEG", progressive=True, **options)


def with_scans(count: int) -> bytes:
    """A progressive JPEG with so many scans in all, the last of them again and again."""
    content = jpeg()
    parts = segments(content)
    own = sum(marker == 0xDA for marker, _ in parts)
    return content[:-2] + parts[-1][1] * (count - own) + b"\xff\xd9"


def test_a_jpeg_may_have_64_scans() -> None:
    assert decode(with_scans(64)).shape == (60, 40)
    with pytest.raises(ImageTooLarge, match=r"^the JPEG image has more than 64 scans, the most al"):
        decode(with_scans(65))


def test_scans_of_thumbnails_and_of_pictures_behind_the_first_do_not_count() -> None:
    many = with_scans(64)
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0" + with_scans(70)
    thumbnail = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    content = many[:2] + thumbnail + many[2:] + with_scans(70)
    np.testing.assert_array_equal(decode(content), decode(many))


def test_a_jpeg_may_have_a_colour_profile_of_255_segments_and_any_number_of_restarts() -> None:
    profile = b"".join(
        b"\xff\xe2" + struct.pack(">H", 16 + 9) + b"ICC_PROFILE\0" + bytes([number, 255]) + bytes(9)
        for number in range(1, 256)
    )
    image = Image.fromarray(drawn(600, 400))
    content = saved(image, "JPEG", restart_marker_blocks=1)
    assert content.count(b"\xff\xd0") > 400
    expected = decode(saved(image, "JPEG"))
    np.testing.assert_array_equal(decode(content[:2] + profile + content[2:]), expected)


def test_a_png_of_many_small_pieces_is_read() -> None:
    rng = np.random.default_rng(3)
    grey = rng.integers(0, 256, (400, 300), np.uint8)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in grey))
    pieces = [chunk(b"IDAT", data[at : at + 600]) for at in range(0, len(data), 600)]
    content = png(*pieces, size=(300, 400))
    np.testing.assert_array_equal(decode(content), grey)
    np.testing.assert_array_equal(decode(content, reduce=True), grey)


def run_lengths(width: int, height: int) -> bytes:
    """A BMP of a white row, a black one, and so on; the first in the file is the lowest."""
    rows = [b"\xff" + bytes([255 * (row % 2)]) for row in range(height)]
    return gzip.decompress(
        bmp(b"".join((row * (width // 255)) + b"\0\0" for row in rows), width, height).body
    )


def test_a_run_length_encoded_bmp_may_have_an_eighth_of_the_pixels_of_others() -> None:
    expected = np.repeat([[255], [0]], 1020, 1).tolist() * 40
    assert decode(run_lengths(1020, 80), max_pixels=8 * 1020 * 80).tolist() == expected
    with pytest.raises(ImageTooLarge, match=r"1020 x 80 pixels in \d+ bytes, at most 81599 pixels"):
        decode(run_lengths(1020, 80), max_pixels=8 * 1020 * 80 - 1)
    small = run_lengths(255, 4)
    size = len(small)
    assert decode(small, max_pixels=16 * size).shape == (4, 255)
    with pytest.raises(ImageTooLarge, match=f"255 x 4 pixels in {size} bytes, .* {size - 1} bytes"):
        decode(small, max_pixels=16 * size - 1)


def test_what_tells_the_orientation_of_a_png_is_kept_up_to_a_mebibyte() -> None:
    content = b"XML:com.adobe.xmp\0\0\0\0\0" + b'<x tiff:Orientation="6"/>'
    pixels = chunk(b"IDAT", rows(b"\0" + bytes(20), 30))
    for length, shape in ((MIB - 12, (20, 30)), (MIB - 11, (30, 20))):
        text = chunk(b"iTXt", content.ljust(length))
        assert decode(png(text, pixels, size=(20, 30))).shape == shape
        exif = chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0".ljust(length))
        assert decode(png(exif, pixels, size=(20, 30))).shape == shape


KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "PNG 1": ("PNG", "1", {}),
    "PNG L": ("PNG", "L", {}),
    "PNG P": ("PNG", "P", {}),
    "PNG RGB": ("PNG", "RGB", {}),
    "PNG RGBA": ("PNG", "RGBA", {}),
    "PNG I;16": ("PNG", "I;16", {}),
    "BMP": ("BMP", "RGB", {}),
    "GIF": ("GIF", "P", {}),
    "GIF, disposal": ("GIF", "P", {"transparency": 0, "disposal": 2}),
    "WebP": ("WebP", "RGB", {}),
    "WebP lossless": ("WebP", "RGBA", {"lossless": True}),
    "JPEG": ("JPEG", "RGB", {}),
    "JPEG CMYK": ("JPEG", "CMYK", {}),
    "TIFF": ("TIFF", "RGB", {}),
    "TIFF I;16": ("TIFF", "I;16", {}),
    "TIFF F": ("TIFF", "F", {"compression": "tiff_deflate"}),
    "TIFF I": ("TIFF", "I", {"compression": "tiff_deflate"}),
    "TIFF of one strip": ("TIFF", "RGB", {"compression": "tiff_lzw", "tiffinfo": {278: 2400}}),
    "TIFF, group 4": ("TIFF", "1", {"compression": "group4", "tiffinfo": {278: 2400}}),
    "TIFF, JPEG": ("TIFF", "RGB", {"compression": "jpeg", "tiffinfo": {278: 2400}}),
}


def peak(content: bytes, *refusals: type[ImageError]) -> int:
    """By how many bytes a decoding, or one of these refusals, raises the memory of a process."""

    def hwm() -> int:
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])

    for kind in ("JPEG", "GIF", "TIFF"):
        decode(saved(Image.fromarray(drawn(60, 40)), kind), tiff=True, reduce=True)
    Path("/proc/self/clear_refs").write_text("5")
    before = hwm()
    with suppress(*refusals):
        decode(content, tiff=True, reduce=True)
    return hwm() - before


@pytest.mark.parametrize("name", KINDS)
def test_decoding_takes_no_more_memory_than_is_said_beforehand(name: str) -> None:
    kind, mode, options = KINDS[name]
    side = 2400
    grey = drawn(side, side)
    deep = mode == "I;16"
    image = Image.fromarray(grey.astype(np.uint16) * 257 if deep else grey)
    content = saved(image if deep else image.convert(mode), kind, **options)
    with Image.open(BytesIO(content)) as opened:
        said = memory_needed(kind, opened) + 3 * len(content)
    # The bands of the reduction, and the interpreter's own.
    assert in_child(lambda: peak(content)) < said + 12 * MIB


CLEAR: dict[str, tuple[tuple[int, int], bytes]] = {
    "grey, 16 bits": ((16, 0), b"\xff\xfe"),
    "RGB, 16 bits": ((16, 2), b"\xff\xfe" * 3),
    "grey, 4 bits": ((4, 0), b"\0\7"),
}


@pytest.mark.parametrize("name", CLEAR)
def test_a_transparent_colour_of_a_png_counts_as_memory_too(name: str) -> None:
    kind, key = CLEAR[name]
    side, samples = 2400, 3 if kind[1] == 2 else 1
    line = b"\0" + bytes(side * samples * kind[0] // 8)
    content = png(
        chunk(b"tRNS", key), chunk(b"IDAT", rows(line, side)), size=(side, side), kind=kind
    )
    with Image.open(BytesIO(content)) as opened:
        said = memory_needed("PNG", opened) + 3 * len(content)
    assert in_child(lambda: peak(content)) < said + 12 * MIB


def test_a_progressive_jpeg_needs_room_for_its_coefficients() -> None:
    """Of 3 x 4 megapixels, two bytes each; and it is read at a quarter of its size.

    Where its end is mid-grey it is read twice, see `mnist_sgd_serve.images.truncation`.
    """
    for end in (255, 128):
        values = drawn(2000, 2000)
        values[1000:] = end
        image = Image.fromarray(values).convert("RGB")
        content = saved(image, "JPEG", progressive=True, subsampling=0)
        with pytest.raises(ImageTooLarge, match=r"2000 x 2000 pixels takes 27 MB of memory"):
            decode(content, reduce=True, max_memory=26_000_000)
        assert decode(content, reduce=True, max_memory=27_000_000).shape == (500, 500)
        assert in_child(partial(peak, content)) < 27_000_000 + 12 * MIB


def test_a_form_and_a_packed_body_count_as_memory_too() -> None:
    bomb = BOMBS["form, PNG, half noise, 14 MP"]()
    kind, encoding = bomb.headers["Content-Type"], bomb.headers["Content-Encoding"]
    roomy = dataclasses.replace(LIMITS, memory=LIMITS.memory + len(bomb.body))
    assert read_picture(bomb.body, encoding, kind, "mnist", roomy).image.any()
    with pytest.raises(RequestError, match="3740 x 3740 pixels takes 107 MB of memory to read, at"):
        read_picture(bomb.body, encoding, kind, "mnist", LIMITS)


def test_a_webp_is_refused_before_its_canvas_is_made() -> None:
    header = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + struct.pack("<HBHB", 4999, 0, 4999, 0)

    def refused() -> int:
        Path("/proc/self/clear_refs").write_text("5")
        status = Path("/proc/self/status")
        before = int(status.read_text().partition("VmHWM:")[2].split()[0])
        with pytest.raises(ImageTooLarge, match="WebP image of 5000 x 5000 pixels takes 301 MB"):
            decode(header, max_memory=100 * MIB)
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) - before

    assert in_child(refused) < 4 * 1024


FAR = [name for name in BOMBS if name.startswith("GIF, a frame")]


@pytest.mark.parametrize("name", FAR)
def test_no_canvas_is_made_for_the_frame_of_a_gif(name: str) -> None:
    """Pillow makes one as soon as it has seen the frame, wherever that is."""
    assert in_child(lambda: peak(BOMBS[name]().body, ImageError)) < 4 * MIB


def test_what_precedes_the_frame_of_a_gif_does_not_matter() -> None:
    image = Image.fromarray(drawn(60, 40))
    content = saved(image, "GIF", transparency=255)
    at = content.index(b"!\xf9")
    for before in (b"", b"!\xfe\3abc\2de\0", b"!\xff\x0bXMP DataXMP\1x\0", b"!\1\0", bytes(3)):
        for again in (b"", b"!\xf9\4\0\0\0\0\0"):
            changed = (
                content[:at] + before + content[at : at + 8] + before + again + content[at + 8 :]
            )
            np.testing.assert_array_equal(decode(changed), decode(content))


# Large pictures.


def large(mode: str, size: tuple[int, int] = (1500, 2100)) -> Image.Image:
    """A drawing on coloured, uneven paper."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    paper = np.stack([200 + 30 * np.sin(x / 300), 190 + y / 60, 170 + 0 * x], -1).astype(np.uint8)
    image = Image.fromarray(paper)
    points = [
        (width // 4, height // 4),
        (3 * width // 4, height // 4),
        (width // 2, 3 * height // 4),
    ]
    ImageDraw.Draw(image).line(points, fill=(30, 40, 60), width=width // 12)
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)
    if mode in ("LA", "RGBA"):
        image.putalpha(
            Image.linear_gradient("L").resize(size).point(lambda value: 128 + value // 2)
        )
        return image.convert(mode)
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "LA", "RGBA", "I;16", "CMYK", "I", "HSV"])
def test_a_large_picture_that_is_read_small_is_the_small_version_of_itself(mode: str) -> None:
    image = large(mode)
    whole, small = shrink(decode(image)), decode(image, reduce=True)
    assert small.shape == whole.shape == (420, 300)
    np.testing.assert_allclose(small.astype(int), whole.astype(int), atol=2)
    if mode in ("L", "1"):
        np.testing.assert_array_equal(small, whole)


@pytest.mark.parametrize("size", [(65_535, 20), (20, 65_535), (1_200_000, 1), (1, 1_200_000)])
def test_a_long_picture_is_read_small_in_little_memory(size: tuple[int, int]) -> None:
    values = np.random.default_rng(5).integers(0, 256, size[::-1], np.uint8)
    image = Image.fromarray(values)
    np.testing.assert_array_equal(decode(image, reduce=True), shrink(values))
    content = saved(image.resize((size[0], 300)) if size[0] == 65_535 else image, "PNG")
    with Image.open(BytesIO(content)) as opened:
        said = memory_needed("PNG", opened) + 3 * len(content)
    assert in_child(lambda: peak(content)) < said + 12 * MIB


def test_transparency_by_a_colour_is_kept_in_a_large_picture() -> None:
    image = Image.new("RGB", (1500, 2100), (255, 0, 255))
    ImageDraw.Draw(image).line([(400, 400), (1100, 400), (700, 1700)], fill=(20, 20, 20), width=120)
    content = saved(image, "PNG", transparency=(255, 0, 255))
    small, whole = decode(content, reduce=True), shrink(decode(content))
    np.testing.assert_allclose(small.astype(int), whole.astype(int), atol=3)


@pytest.mark.parametrize(
    ("size", "progressive"),
    [
        ((1600, 1200), False),  # read at a quarter of its size
        ((1600, 1200), True),
        ((1800, 2300), False),  # at a half
        ((4624, 300), False),  # at a quarter, then averaged
        ((300, 8000), False),  # at an eighth, then averaged
        ((513, 40), False),  # whole
    ],
)
def test_a_large_jpeg_that_is_read_small_looks_like_itself(
    size: tuple[int, int], progressive: bool
) -> None:
    image = large("RGB", size).filter(ImageFilter.BoxBlur(2))
    content = saved(image, "JPEG", quality=90, progressive=progressive)
    small, whole = decode(content, reduce=True), shrink(decode(content))
    assert 0.8 * max(whole.shape) <= max(small.shape) <= LONGEST_SIDE
    expected = np.asarray(image.convert("L").resize(small.shape[::-1], Image.Resampling.BOX))
    # Not at the stroke's edge, where the two may be half a pixel apart.
    assert np.mean(np.abs(small.astype(int) - expected)) < 1.5


def test_a_large_picture_is_turned_as_its_exif_data_say() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = large("RGB", (1600, 1200))
    upright = decode(saved(image.transpose(Image.Transpose.ROTATE_270), "JPEG"), reduce=True)
    turned = decode(saved(image, "JPEG", exif=exif), reduce=True)
    assert turned.shape == upright.shape == (400, 300)
    assert np.mean(np.abs(turned.astype(int) - upright)) < 1


def test_a_pillow_image_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    large("RGB", (1600, 1200)).save(path)
    with Image.open(path) as image:
        small = decode(image, reduce=True)
        assert image.size == (1600, 1200)
    assert small.shape == (300, 400)


OWN: dict[str, tuple[tuple[int, int], str, str, dict[str, Any]]] = {
    "48 megapixels": ((8064, 6048), "L", "JPEG", {"quality": 60}),
    "50 megapixels, progressive": ((8160, 6144), "L", "JPEG", {"progressive": True}),
    "600 dpi": ((4960, 7016), "L", "PNG", {"compress_level": 1}),
    "600 dpi, one bit, TIFF": ((4960, 7016), "1", "TIFF", {"compression": "group4"}),
}


def page(size: tuple[int, int]) -> Image.Image:
    """A seven on a large sheet."""
    width, height = size
    image = Image.new("L", size, 250)
    points = [
        (width // 3, height // 4),
        (2 * width // 3, height // 4),
        (width // 2, 3 * height // 4),
    ]
    ImageDraw.Draw(image).line(points, fill=20, width=width // 12)
    return image


@pytest.mark.parametrize("name", OWN)
def test_phone_pictures_and_scans_are_read_from_the_users_own_disk(
    name: str, tmp_path: Path
) -> None:
    (width, height), mode, kind, options = OWN[name]
    path = tmp_path / "photo"
    page((width, height)).convert(mode).save(path, kind, **options)
    grey = decode_own(path)
    assert LONGEST_SIDE / 2 < max(grey.shape) <= LONGEST_SIDE
    small = page((width // 8, height // 8)).resize(grey.shape[::-1], Image.Resampling.BOX)
    assert np.mean(np.abs(grey.astype(int) - np.asarray(small))) < 1.5
    ((records, images),) = read_pictures(
        os.fspath(tmp_path), [FileEntry("photo", 0, 0)], "mnist", 1
    )
    assert [record.why for record in records] == [""]
    np.testing.assert_array_equal(images[0], preprocess(grey).image)
    with pytest.raises(ImageTooLarge) as raised:
        decode(path, tiff=True, reduce=True)
    assert str(raised.value) == (
        f"{path}: the image is {width} x {height} pixels, at most 25000000 in all are allowed: "
        "make it smaller"
    )


def test_predict_reads_a_scan_at_600_dpi_from_a_file_and_from_standard_input(
    tmp_path: Path,
) -> None:
    page((4960, 7016)).save(tmp_path / "scan.png", compress_level=1)
    (tmp_path / "model.onnx").write_bytes(onnx_models.content(onnx_models.linear()))
    line = [sys.executable, "-m", "mnist_sgd", "predict", "--json", "--model", "model.onnx"]
    content = (tmp_path / "scan.png").read_bytes()
    by_name = subprocess.run([*line, "scan.png"], cwd=tmp_path, capture_output=True, check=True)
    piped = subprocess.run(
        [*line, "-"], cwd=tmp_path, input=content, capture_output=True, check=True
    )
    one, other = (json.loads(done.stdout) for done in (by_name, piped))
    assert (one.pop("file"), other.pop("file")) == ("scan.png", "-")
    assert one == other
    assert one["inverted"] is True
