import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from mnist_sgd_serve.images.decode import MAX_BYTES, MAX_PIXELS, decode
from mnist_sgd_serve.images.errors import (
    BlankImage,
    ImageError,
    ImageTooLarge,
    NotAnImage,
    UnsupportedFormat,
)
from mnist_sgd_serve.images.orientation import orientation
from picture_files import DRAWING, GREY, tiff
from pictures import encode


def orientation_exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


WIDE = Image.fromarray(GREY.astype(np.uint16) * 257)
LOSSLESS = {
    "PNG L": encode(DRAWING, "PNG"),
    "PNG L interlaced": encode(DRAWING, "PNG", interlace=1),
    "PNG LA": encode(DRAWING.convert("LA"), "PNG"),
    "PNG P": encode(DRAWING.convert("P"), "PNG"),
    "PNG P 4 bits": encode(DRAWING.quantize(16), "PNG", bits=4),
    "PNG RGB": encode(DRAWING.convert("RGB"), "PNG"),
    "PNG RGBA": encode(DRAWING.convert("RGBA"), "PNG"),
    "PNG 16 bits": encode(WIDE, "PNG"),
    "PNG bytes in 16 bits": encode(Image.fromarray(GREY.astype(np.uint16)), "PNG"),
    "BMP L": encode(DRAWING, "BMP"),
    "BMP P": encode(DRAWING.quantize(16), "BMP"),
    "BMP RGB": encode(DRAWING.convert("RGB"), "BMP"),
    "GIF L": encode(DRAWING, "GIF"),
    "GIF P": encode(DRAWING.quantize(16), "GIF"),
    "WebP lossless": encode(DRAWING, "WEBP", lossless=True),
    "WebP lossless RGBA": encode(DRAWING.convert("RGBA"), "WEBP", lossless=True),
}
LOSSY = {
    "JPEG L": encode(DRAWING, "JPEG", quality=95),
    "JPEG RGB": encode(DRAWING.convert("RGB"), "JPEG", quality=95),
    "JPEG CMYK": encode(DRAWING.convert("CMYK"), "JPEG", quality=95),
    "JPEG progressive": encode(DRAWING, "JPEG", quality=95, progressive=True),
    "WebP": encode(DRAWING, "WEBP", quality=95),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_every_mode_of_a_lossless_file_gives_the_grey_bytes(name: str) -> None:
    grey = decode(LOSSLESS[name])
    assert grey.dtype == np.uint8
    assert grey.flags.c_contiguous
    np.testing.assert_array_equal(grey, GREY)


@pytest.mark.parametrize("name", LOSSY)
def test_every_mode_of_a_lossy_file_gives_nearly_the_grey_bytes(name: str) -> None:
    difference = np.abs(decode(LOSSY[name]).astype(int) - GREY)
    assert difference.mean() < 2


@pytest.mark.parametrize("form", ["PNG", "BMP", "GIF"])
def test_black_and_white_files_are_read(form: str) -> None:
    image = DRAWING.convert("1", dither=Image.Dither.NONE)
    np.testing.assert_array_equal(decode(encode(image, form)), np.where(GREY > 127, 255, 0))


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "I;16", "F"]
)
def test_pillow_images_of_every_usual_mode_are_read(mode: str) -> None:
    image = Image.fromarray(np.where(GREY > 127, 255, 0).astype(np.uint8)).convert(mode)
    np.testing.assert_array_equal(decode(image), np.where(GREY > 127, 255, 0))


def test_an_array_that_pillow_wrapped_may_be_wide() -> None:
    np.testing.assert_array_equal(decode(WIDE), GREY)
    np.testing.assert_array_equal(decode(Image.fromarray(GREY.astype(np.int32) * 257)), GREY)


def test_a_rare_mode_is_refused_by_its_name() -> None:
    with pytest.raises(UnsupportedFormat, match="of mode LAB cannot be read: convert it to RGB"):
        decode(Image.new("LAB", (4, 4)))


@pytest.mark.parametrize("turned", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_exif_orientations_are_undone_as_pillow_undoes_them(form: str, turned: int) -> None:
    content = encode(DRAWING, form, exif=orientation_exif(turned), quality=90)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("L")
    np.testing.assert_array_equal(decode(content), np.asarray(upright))
    np.testing.assert_array_equal(decode(Image.open(io.BytesIO(content))), np.asarray(upright))


def test_big_endian_exif_is_read_and_damaged_exif_is_ignored() -> None:
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, 3, 0)
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    np.testing.assert_array_equal(decode(encode(DRAWING, "PNG", exif=exif)), GREY[::-1, ::-1])
    for damaged in (exif[:20], exif[:8], b"", b"Exif\0\0XX" + exif[8:], exif[:10] + b"\xff" * 30):
        np.testing.assert_array_equal(decode(encode(DRAWING, "PNG", exif=damaged)), GREY)
        assert decode(encode(DRAWING, "JPEG", exif=damaged)).shape == GREY.shape


def exif_entry(value: int, kind: int = 3, order: str = "<", tag: int = 0x0112) -> bytes:
    """EXIF data with one entry, as a file holds it after its header."""
    letter = {1: "B", 2: "B", 3: "H", 4: "I", 8: "h", 9: "i"}[kind]
    number = struct.pack(order + letter, value).ljust(4, b"\0")
    start = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return start + struct.pack(order + "HHHI", 1, tag, kind, 1) + number + bytes(4)


def with_segment(data: bytes) -> bytes:
    """A JPEG with data of an application."""
    jpeg = LOSSY["JPEG L"]
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data + jpeg[2:]


def with_chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG with one chunk more."""
    png = LOSSLESS["PNG L"]
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return png[:33] + chunk + png[33:]


def raw_profile(name: str, data: bytes) -> bytes:
    """A PNG as ImageMagick writes it, which keeps a block of data as a text."""
    digits = data.hex().encode()
    lines = b"\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    text = b"\n%b\n%8d\n%b\n" % (name.lower().encode(), len(data), lines)
    return with_chunk(b"zTXt", f"Raw profile type {name}\0\0".encode() + zlib.compress(text))


EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
ATTRIBUTE = b'<x xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
QUARTER_TURNS = {
    "a 32-bit number": with_segment(EXIF + exif_entry(6, 4)),
    "a 32-bit number, big-endian": with_segment(EXIF + exif_entry(6, 4, ">")),
    "a signed number": with_segment(EXIF + exif_entry(6, 8)),
    "a byte": with_segment(EXIF + exif_entry(6, 1)),
    "two headers": with_segment(EXIF * 2 + exif_entry(6)),
    "PNG's chunk": with_chunk(b"eXIf", exif_entry(6, 4)),
    "PNG's chunk with a header": with_chunk(b"eXIf", EXIF + exif_entry(6)),
    "WebP, a 32-bit number": encode(DRAWING, "WEBP", exif=EXIF + exif_entry(6, 4), lossless=True),
    "ImageMagick's exif": raw_profile("exif", EXIF + exif_entry(6)),
    "ImageMagick's APP1": raw_profile("APP1", EXIF + exif_entry(6, 3, ">")),
    "ImageMagick's xmp": raw_profile("xmp", ATTRIBUTE),
    "XMP in a JPEG": with_segment(XMP + ATTRIBUTE),
    "XMP, single quotes": with_segment(XMP + ATTRIBUTE.replace(b'"6"', b"'6'")),
    "XMP, an element": with_segment(XMP + b"<x><tiff:Orientation>6</tiff:Orientation></x>"),
    "XMP in a PNG": with_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + ATTRIBUTE),
    "XMP in a PNG, compressed": with_chunk(
        b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(ATTRIBUTE)
    ),
    "XMP, another prefix": with_segment(
        XMP + ATTRIBUTE.replace(b"tiff:O", b"t:O").replace(b"xmlns:tiff", b"xmlns:t")
    ),
    "XMP in UTF-16": with_segment(XMP + ATTRIBUTE.decode().encode("utf-16")),
    "XMP in a WebP": encode(DRAWING, "WEBP", xmp=ATTRIBUTE, lossless=True),
    "XMP beside EXIF data without it": encode(
        DRAWING, "WEBP", exif=EXIF + exif_entry(2, tag=0x0128), xmp=ATTRIBUTE, lossless=True
    ),
}


@pytest.mark.parametrize("name", QUARTER_TURNS)
def test_a_quarter_turn_is_undone_wherever_a_file_names_it(name: str) -> None:
    turned = decode(QUARTER_TURNS[name]).astype(int)
    assert turned.shape == (40, 60)
    assert np.abs(turned - np.rot90(GREY, -1)).mean() < 2


NOT_TURNED = {
    "0": with_segment(EXIF + exif_entry(0)),
    "9": with_segment(EXIF + exif_entry(9)),
    "2**32 - 1": with_segment(EXIF + exif_entry(2**32 - 1, 4)),
    "-6": with_segment(EXIF + exif_entry(-6, 9)),
    "a text": with_segment(EXIF + exif_entry(6, 2)),
    "headers alone": with_segment(EXIF * 1000),
    "a directory beyond the end": with_segment(EXIF + b"II*\0\xff\xff\xff\xff"),
    "more entries than there are": with_segment(EXIF + b"II*\0\x08\0\0\0\xff\xff" + bytes(60)),
    "not hexadecimal": with_chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 4\nxyz"),
    "half a byte": with_chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 4\n123"),
    "XMP of 9": with_segment(XMP + ATTRIBUTE.replace(b'"6"', b'"9"')),
    "XMP of another namespace": with_segment(XMP + ATTRIBUTE.replace(b" tiff:O", b" exif:O")),
    "XMP of 66": with_segment(XMP + ATTRIBUTE.replace(b'"6"', b'"66"')),
    "XMP that ends early": with_segment(XMP + ATTRIBUTE[:-4]),
}


@pytest.mark.parametrize("name", NOT_TURNED)
def test_a_picture_is_upright_where_its_orientation_is_none(name: str) -> None:
    turned = decode(NOT_TURNED[name]).astype(int)
    assert turned.shape == GREY.shape
    assert np.abs(turned - GREY).mean() < 2


def test_of_exif_data_and_xmp_that_disagree_the_former_count() -> None:
    exif = exif_entry(3)
    content = encode(DRAWING, "WEBP", exif=EXIF + exif, xmp=ATTRIBUTE, lossless=True)
    np.testing.assert_array_equal(decode(content), GREY[::-1, ::-1])


@pytest.mark.parametrize("turned", range(1, 9))
def test_a_tiff_is_turned_once(turned: int) -> None:
    xmp = ATTRIBUTE.replace(b"6", b"%d" % turned)
    for tags in ({274: turned}, {274: turned, 700: xmp}, {700: xmp}):
        content = encode(DRAWING, "TIFF", tiffinfo=tags)
        upright = ImageOps.exif_transpose(
            Image.open(io.BytesIO(encode(DRAWING, "PNG", exif=orientation_exif(turned))))
        )
        np.testing.assert_array_equal(decode(content, tiff=True), np.asarray(upright))


@given(
    info=st.dictionaries(
        st.sampled_from(["exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"]),
        st.binary(max_size=60) | st.text(max_size=60) | st.none() | st.integers() | st.tuples(),
    )
)
def test_whatever_a_file_says_its_orientation_is_one_of_eight(info: dict[str, Any]) -> None:
    assert orientation(info) in range(1, 9)


@pytest.mark.parametrize("form", ["PNG", "GIF", "WEBP"])
def test_the_first_frame_of_an_animation_is_read(form: str) -> None:
    others = [DRAWING.rotate(180), DRAWING.rotate(90)]
    options = {"lossless": True} if form == "WEBP" else {}
    content = encode(DRAWING, form, save_all=True, append_images=others, **options)
    np.testing.assert_array_equal(decode(content), GREY)


def on_transparent(ink: int, alpha: NDArray[np.uint8], under: int | None = None) -> bytes:
    grey = np.where(alpha > 0, ink, ink if under is None else under).astype(np.uint8)
    return encode(Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)]), "PNG")


def test_dark_ink_on_nothing_lies_on_white_paper() -> None:
    np.testing.assert_array_equal(decode(on_transparent(0, GREY)), 255 - GREY)
    np.testing.assert_array_equal(decode(on_transparent(0, GREY, under=255)), 255 - GREY)


def test_light_ink_on_nothing_lies_on_black_paper() -> None:
    np.testing.assert_array_equal(decode(on_transparent(255, GREY)), GREY)
    np.testing.assert_array_equal(decode(on_transparent(255, GREY, under=0)), GREY)


def test_a_sheet_with_transparent_corners_keeps_its_colour() -> None:
    sheet = Image.new("L", (60, 60), 230)
    sheet.paste(ImageOps.invert(DRAWING), (10, 0))
    mask = Image.new("L", (60, 60))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, 59, 59), 12, fill=255)
    content = encode(Image.merge("LA", [sheet, mask]), "PNG")
    expected = np.where(np.asarray(mask) == 255, np.asarray(sheet), 255)
    assert abs(decode(content).astype(int) - expected).max() <= 25
    assert decode(content)[0, 0] >= 230


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_a_transparent_colour_is_paper(mode: str) -> None:
    image = Image.fromarray(np.where(GREY > 127, 255, 100).astype(np.uint8)).convert(mode)
    key = (100, 100, 100) if mode == "RGB" else image.getpixel((0, 0))
    grey = decode(encode(image, "PNG", transparency=key))
    np.testing.assert_array_equal(grey, np.where(GREY > 127, 255, 0))


def test_an_image_that_is_transparent_everywhere_has_no_ink() -> None:
    with pytest.raises(BlankImage, match="transparent everywhere"):
        decode(encode(Image.new("RGBA", (9, 9)), "PNG"))


def test_where_tiff_is_not_read_it_is_not_named() -> None:
    with pytest.raises(UnsupportedFormat) as refused:
        decode(encode(DRAWING, "TIFF"))
    expected = "a TIFF image cannot be read: save it as PNG, JPEG, BMP, GIF or WebP"
    assert str(refused.value) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"the image is empty: it has 0 bytes"),
        (b"not an image at all", r"these 19 bytes are not an image: PNG, JPEG, BMP, GIF and WebP"),
        (b"RIFF\0\0\0\0WAVEfmt ", r"these 16 bytes are not an image"),
        (b"\x89PNG\r\n\x1a\n", r"the PNG image is damaged or cut short"),
        (LOSSLESS["PNG L"][:-60], r"the PNG image is damaged or cut short"),
        (LOSSLESS["BMP L"][:-60], r"the BMP image is damaged or cut short"),
        (LOSSLESS["GIF L"][:-60], r"the GIF image is damaged or cut short"),
        (LOSSLESS["WebP lossless"][:-60], r"the WebP image is damaged or cut short"),
        (LOSSY["JPEG L"][:-60], r"the JPEG image is damaged or cut short"),
    ],
)
def test_what_is_no_image_or_a_part_of_one_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(NotAnImage, match=f"^{message}"):
        decode(content)


def png_header(width: int, height: int) -> bytes:
    """A PNG that ends where its pixels should start."""
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [ihdr, b"IDAT"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks
    )


def gif_header(screen: tuple[int, int], frame: tuple[int, int, int, int]) -> bytes:
    start = b"GIF89a" + struct.pack("<HHBBB", *screen, 0, 0, 0)
    comment = b"!\xfe\x05hello\0"
    return start + comment + b"," + struct.pack("<4HB", *frame, 0) + b"\x08\0;"


BOMBS = {
    "PNG": png_header(50_000, 50_000),
    "BMP": LOSSLESS["BMP L"][:18] + struct.pack("<ii", 50_000, 50_000) + LOSSLESS["BMP L"][26:],
    "GIF screen": gif_header((50_000, 50_000), (0, 0, 1, 1)),
    "GIF frame": gif_header((1, 1), (40_000, 40_000, 10_000, 10_000)),
    "GIF frame, Pillow would warn": gif_header((1, 1), (5_000, 5_000, 5_000, 5_000)),
    "JPEG": LOSSY["JPEG L"].replace(struct.pack(">HH", 60, 40), struct.pack(">HH", 50_000, 50_000)),
    "WebP": b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\x7f\x3e\0" * 2,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_pixel_bomb_is_refused_by_its_header(name: str) -> None:
    with pytest.raises(ImageTooLarge, match=f"at most {MAX_PIXELS} in all|far more pixels than"):
        decode(BOMBS[name])


def test_the_limits_are_what_is_given() -> None:
    content = LOSSLESS["PNG L"]
    assert decode(content, max_pixels=2400, max_bytes=len(content)).shape == (60, 40)
    with pytest.raises(ImageTooLarge, match="the image is 40 x 60 pixels, at most 2399 in all"):
        decode(content, max_pixels=2399)
    with pytest.raises(ImageTooLarge, match=f"larger than {len(content) - 1} bytes"):
        decode(content, max_bytes=len(content) - 1)
    with pytest.raises(ImageTooLarge, match="at most 2399 in all"):
        decode(DRAWING, max_pixels=2399)
    with pytest.raises(ImageTooLarge, match=f"larger than {MAX_BYTES} bytes"):
        decode(b"BM" + bytes(MAX_BYTES))


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(NotAnImage, match="the image has no pixels: it is 0 x 5"):
        decode(Image.new("L", (0, 5)))


def test_a_file_is_read_by_its_content_and_named_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "photo.txt"
    path.write_bytes(LOSSLESS["PNG L"])
    np.testing.assert_array_equal(decode(path), GREY)
    np.testing.assert_array_equal(decode(str(path)), GREY)
    path.write_bytes(b"some words")
    with pytest.raises(NotAnImage, match=r"photo\.txt: these 10 bytes are not an image"):
        decode(path)
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        decode(tmp_path / "none.png")


def test_any_bytes_object_is_read_and_nothing_else() -> None:
    content = LOSSLESS["PNG L"]
    for same in (bytearray(content), memoryview(content)):
        np.testing.assert_array_equal(decode(same), GREY)
    with pytest.raises(TypeError, match="expected bytes, a path or a Pillow image, got list"):
        decode([content])  # type: ignore[arg-type]  # the point of the test


def only_an_image_error(content: bytes) -> None:
    """Decode, and see that all that may happen is an answer or an ImageError of one line."""
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        try:
            grey = decode(content)
        except ImageError as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert grey.dtype == np.uint8
            assert grey.ndim == 2
    assert [str(warning.message) for warning in leaked] == []


ANIMATED = [
    encode(DRAWING, form, save_all=True, append_images=[DRAWING.rotate(180)])
    for form in ("PNG", "GIF", "WEBP")
]
TURNED = [encode(DRAWING, form, exif=orientation_exif(6)) for form in ("PNG", "JPEG", "WEBP")]
SEEDS = [*LOSSLESS.values(), *LOSSY.values(), *ANIMATED, *TURNED]


@settings(max_examples=600, deadline=None)
@given(data=st.data())
def test_damaged_files_give_an_image_error_only_and_no_warning(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 99) | st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        _mend_png(content)
    cut = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    only_an_image_error(bytes(content[:cut]))


def _mend_png(content: bytearray) -> None:
    """Give a PNG's chunks right checksums, so that damage gets beyond them."""
    at = 8
    while content.startswith(b"\x89PNG") and at + 12 <= len(content):
        end = at + 8 + int.from_bytes(content[at : at + 4], "big")
        if end + 4 > len(content):
            break
        content[end : end + 4] = zlib.crc32(content[at + 4 : end]).to_bytes(4, "big")
        at = end + 4


@settings(max_examples=200, deadline=None)
@given(
    start=st.sampled_from([b"", b"BM", b"GIF89a", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8 "]),
    rest=st.binary(max_size=120),
)
def test_random_bytes_give_an_image_error_only_and_no_warning(start: bytes, rest: bytes) -> None:
    only_an_image_error(start + rest)


def test_a_damaged_animation_control_warns_of_nothing() -> None:
    chunk = b"acTL" + struct.pack(">II", 0, 0)
    framed = struct.pack(">I", 8) + chunk + struct.pack(">I", zlib.crc32(chunk))
    content = LOSSLESS["PNG L"][:33] + framed * 2 + LOSSLESS["PNG L"][33:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(decode(content), GREY)


@pytest.mark.parametrize("error", [NotAnImage, UnsupportedFormat, ImageTooLarge, BlankImage])
def test_every_image_error_is_a_value_error(error: type[ImageError]) -> None:
    assert issubclass(error, ImageError)
    assert issubclass(error, ValueError)


def test_what_pillow_and_libtiff_think_of_a_tiff_reaches_nobody(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """They write it to standard error, libtiff beneath Python, and read some of these files."""
    fax = encode(DRAWING.convert("1"), "TIFF", compression="group3")
    bad_lines = fax[:40] + b"\x55" * 40 + fax[80:]
    read = [
        tiff(GREY, compression=8, more={65_000: (1,)}),
        tiff(GREY, compression=8, more={34_665: (99,)}),
        tiff(GREY, more={34_665: (99,)}),
    ]
    damaged = [
        tiff(GREY, compression=8)[:-50] + b"\xff" * 50,
        encode(DRAWING, "TIFF", compression="tiff_lzw")[:-200] + b"x" * 200,
        encode(DRAWING, "TIFF", compression="jpeg")[:-300] + b"\xff\xd9" * 150,
        tiff(GREY, compression=50_001),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened = [Image.open(io.BytesIO(content)) for content in read]
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        for content, image in zip(read, opened, strict=True):
            np.testing.assert_array_equal(decode(content, tiff=True), GREY)
            np.testing.assert_array_equal(decode(image), GREY)
        assert decode(bad_lines, tiff=True).shape == GREY.shape
        for content in damaged:
            with pytest.raises(ImageError):
                decode(content, tiff=True)
    assert [str(warning.message) for warning in leaked] == []
    assert capfd.readouterr().err == ""
