"""Colours, deep samples and transparent pixels become grey so that what is drawn can be seen."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image, ImageDraw

from mnist_sgd_serve.images.bit_depth import LEAST_LEVELS, find_scale
from mnist_sgd_serve.images.decode import decode
from mnist_sgd_serve.images.errors import BlankImage, UnsupportedFormat
from mnist_sgd_serve.images.preprocessing import preprocess
from picture_files import DRAWING, GREY, Pixels, chunk, png, tiff
from pictures import encode

DARK = 255 - GREY
SHEET = Image.fromarray(DARK)
SOLID = GREY > 0


def png_of(grey: Pixels, alpha: Pixels) -> bytes:
    layers = (Image.fromarray(layer.astype(np.uint8)) for layer in (grey, alpha))
    return encode(Image.merge("LA", list(layers)), "PNG")


def card(paper: int, ink: int, edge: int = 0) -> bytes:
    """The drawing on a card in the middle of a transparent canvas, most of which is empty."""
    grey = np.full((200, 200), 77, np.uint8)
    grey[70:130, 80:120] = paper + GREY / 255 * (ink - paper)
    alpha = np.zeros_like(grey)
    alpha[70 - edge : 130 + edge, 80 - edge : 120 + edge] = 255
    grey[(grey == 77) & (alpha == 255)] = paper
    return png_of(grey, alpha)


@pytest.mark.parametrize(("paper", "ink"), [(255, 0), (0, 255), (230, 40), (60, 220), (180, 20)])
@pytest.mark.parametrize("edge", [0, 30])
def test_a_small_card_on_nothing_goes_on_in_its_colour(paper: int, ink: int, edge: int) -> None:
    grey = decode(card(paper, ink, edge))
    assert grey[0, 0] == paper
    np.testing.assert_array_equal(
        grey[70:130, 80:120], np.uint8(paper + GREY / 255 * (ink - paper))
    )
    image = preprocess(grey)
    assert image.inverted == (paper > ink)
    expected = preprocess(decode(card(0, 255, edge))).image.astype(int)
    assert np.abs(image.image - expected).max() <= 3  # of rounding


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
@pytest.mark.parametrize("paper", [0, 255])
def test_ink_whose_paper_was_made_transparent_lies_on_that_paper(form: str, paper: int) -> None:
    """All greys of its soft edge are there, in which they are most of what is left."""
    grey = np.asarray((SHEET if paper else DRAWING).resize((160, 240), Image.Resampling.BICUBIC))
    alpha = np.where(grey == paper, 0, 255).astype(np.uint8)
    if form == "GIF":
        content = encode(Image.fromarray(grey), "GIF", transparency=paper)
    else:
        pixels = Image.fromarray(np.dstack([np.where(alpha > 0, grey, 128)] * 3 + [alpha]))
        content = encode(pixels, form, lossless=True)
    read = decode(content).astype(int)
    assert np.abs(read - grey).max() <= 2
    assert preprocess(read.astype(np.uint8)).inverted == (paper == 255)


def outlined(ink: int, outline: int) -> bytes:
    grey = np.full((120, 90), outline, np.uint8)
    shape = Image.new("L", (90, 120))
    ImageDraw.Draw(shape).line([(20, 25), (70, 25), (35, 100)], fill=255, width=22)
    core = Image.new("L", (90, 120))
    ImageDraw.Draw(core).line([(22, 25), (66, 25), (35, 98)], fill=255, width=12)
    grey[np.asarray(core) > 0] = ink
    return png_of(grey, np.asarray(shape))


@pytest.mark.parametrize(("ink", "outline"), [(0, 255), (255, 0), (30, 230), (240, 10)])
def test_the_outline_of_a_sticker_is_a_part_of_its_paper(ink: int, outline: int) -> None:
    grey = decode(outlined(ink, outline))
    assert abs(int(grey[0, 0]) - outline) <= 30
    assert preprocess(grey).inverted == (outline > ink)


@pytest.mark.parametrize("ink", [0, 60, 110, 140, 200, 255])
def test_ink_of_one_colour_on_nothing_lies_on_paper_of_the_other_end(ink: int) -> None:
    grey = decode(png_of(np.full_like(GREY, ink), GREY))
    assert grey[0, 0] == (255 if ink < 128 else 0)
    assert grey[SOLID].max() == max(ink, grey[SOLID].max() if ink < 128 else ink)


def test_ink_that_fades_along_its_way_is_one_colour() -> None:
    fading = np.linspace(90, 20, len(GREY))[:, None] + 0 * GREY
    assert decode(png_of(fading, GREY))[0, 0] == 255


def test_what_transparent_pixels_hide_does_not_count() -> None:
    hidden = np.random.default_rng(0).integers(0, 256, GREY.shape, np.uint8)
    for ink, expected in ((0, DARK), (255, GREY)):
        grey = np.where(SOLID, ink, hidden)
        np.testing.assert_array_equal(decode(png_of(grey, GREY)), expected)


@pytest.mark.parametrize("bits", [2, 4])
def test_a_transparent_grey_is_meant_in_the_bits_of_its_file(bits: int) -> None:
    """Beneath it, writing in another grey than the paper's is hidden."""
    levels = 2**bits - 1
    shape = np.where(GREY > 127, levels, 0).astype(np.uint8)
    shape[:5, :5] = 1
    hidden = chunk(b"tRNS", struct.pack(">H", 1))
    grey = decode(png(shape, 0, hidden, bits=bits))
    assert (grey[:5, :5] == grey[30, 0]).all()
    np.testing.assert_array_equal(grey, np.where(GREY > 127, 255, 0))


def test_a_transparent_grey_of_16_bits_counts() -> None:
    pixels = np.where(GREY > 127, 65535, 0).astype(np.uint16)
    pixels[:5, :5] = 40_000
    np.testing.assert_array_equal(
        decode(png(pixels, 0, chunk(b"tRNS", struct.pack(">H", 40_000)))),
        np.where(GREY > 127, 255, 0),
    )
    everywhere = chunk(b"tRNS", struct.pack(">H", 5))
    with pytest.raises(BlankImage, match="transparent everywhere"):
        decode(png(np.full(GREY.shape, 5, np.uint16), 0, everywhere))


@pytest.mark.parametrize(("ink", "paper"), [(50_000, 0), (1_000, 255)])
def test_deep_ink_between_the_pixels_that_are_looked_at_is_found(ink: int, paper: int) -> None:
    """Of 3000 rows every third is looked at, and every third column: none of them has ink."""
    pixels = np.full((3000, 3000), 40_000, np.uint16)
    pixels[1000:2000, 1501] = ink
    pixels[1000:2000, 1502] = ink + 10_000
    pixels[999:2001:3] = 40_000
    grey = decode(encode(Image.fromarray(pixels), "PNG", transparency=40_000))
    assert (grey[0, 0], grey[1501, 1501], grey[1501, 1502]) == (paper, ink >> 8, ink + 10_000 >> 8)


def test_an_image_that_is_all_solid_stays_as_it_is() -> None:
    np.testing.assert_array_equal(decode(png_of(DARK, 0 * GREY + 255)), DARK)


ON_PAPER = {
    "yellow on white": ((255, 255, 255), (255, 240, 60)),
    "pale yellow on white": ((250, 250, 245), (255, 255, 140)),
    "blue on black": ((0, 0, 0), (0, 0, 255)),
    "red on green": ((0, 130, 0), (255, 0, 0)),
    "orange on blue": ((60, 110, 255), (200, 100, 0)),
    "pink on turquoise": ((40, 190, 180), (255, 110, 190)),
    "green on magenta": ((200, 60, 200), (30, 160, 20)),
}


def coloured(name: str, size: tuple[int, int] = (40, 60)) -> Image.Image:
    paper, ink = ON_PAPER[name]
    share = np.asarray(DRAWING.resize(size, Image.Resampling.BICUBIC))[..., None] / 255
    return Image.fromarray((np.array(paper) * (1 - share) + np.array(ink) * share).astype(np.uint8))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
@pytest.mark.parametrize("name", ON_PAPER)
def test_ink_that_only_its_colour_tells_from_the_paper_is_seen(name: str, mode: str) -> None:
    image = coloured(name)
    content = encode(image.quantize(64) if mode == "P" else image.convert(mode), "PNG")
    grey = decode(content).astype(int)
    assert np.ptp(grey) >= 100
    correlation = np.corrcoef(grey.ravel(), GREY.ravel())[0, 1]
    assert abs(correlation) > 0.98


@pytest.mark.parametrize("name", ON_PAPER)
def test_a_photograph_of_such_ink_under_slanting_light_is_read(name: str) -> None:
    random = np.random.default_rng(3)
    image = coloured(name, (400, 600))
    light = np.linspace(0.75, 1, 400)[None, :, None]
    noisy = np.asarray(image) * light + random.normal(0, 4, (600, 400, 3))
    taken = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
    found = preprocess(decode(encode(taken, "JPEG", quality=85))).image
    expected = preprocess(GREY).image
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("ink", [(20, 20, 120), (160, 20, 30), (0, 90, 40), (90, 90, 90)])
def test_where_luma_shows_the_ink_it_is_the_grey(ink: tuple[int, int, int]) -> None:
    share = GREY[..., None] / 255
    image = Image.fromarray(
        (np.array([250, 248, 240]) * (1 - share) + ink * share).astype(np.uint8)
    )
    np.testing.assert_array_equal(decode(encode(image, "PNG")), np.asarray(image.convert("L")))


@pytest.mark.parametrize("noise", [0, 3, 8])
def test_a_blank_page_is_blank_in_every_colour(noise: float) -> None:
    random = np.random.default_rng(4)
    shade = np.array([240, 230, 200]) * np.linspace(0.8, 1, 300)[:, None, None]
    page = np.clip(shade + random.normal(0, noise, (300, 200, 3)), 0, 255).astype(np.uint8)
    for content in (encode(Image.fromarray(page), form) for form in ("PNG", "JPEG")):
        with pytest.raises(BlankImage):
            preprocess(decode(content))


def to_bytes(values: Pixels) -> Pixels:
    halves = np.array_split(values.ravel(), 2)
    return find_scale(lambda: halves)(values)


@given(
    low=st.integers(0, 60_000),
    width=st.integers(16, 60_000),
    kind=st.sampled_from([np.uint16, np.int32, np.float32]),
)
def test_a_small_part_of_the_range_keeps_the_drawing(low: int, width: int, kind: type) -> None:
    """Whatever part the values take up, what is lighter stays so, and their levels are left."""
    values: Pixels = (low + np.rint(GREY / 255 * width)).astype(kind)
    values = np.minimum(values, 65_535) if kind is np.uint16 else values
    grey = to_bytes(values).astype(int)
    if np.ptp(values) >= 16:
        assert len(np.unique(grey)) >= min(8, len(np.unique(values)))
        assert np.ptp(grey) >= min(LEAST_LEVELS, np.ptp(values))
        order = np.argsort(values.ravel(), kind="stable")
        assert (np.diff(grey.ravel()[order]) >= 0).all()


@given(data=st.data())
def test_bytes_that_were_widened_come_back_whatever_their_contrast(data: st.DataObject) -> None:
    low = data.draw(st.integers(0, 250))
    high = data.draw(st.integers(low, 255))
    grey = np.array([[low, high, (low + high) // 2]], np.uint8)
    for factor in (np.uint16(257), np.uint16(256), np.uint32(0x1010101)):
        np.testing.assert_array_equal(to_bytes(grey * factor), grey)
    np.testing.assert_array_equal(to_bytes(grey.astype(np.int32)), grey)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(value: float) -> None:
    pixels = (GREY / 255).astype(np.float32)
    pixels[3, 4] = value
    with pytest.raises(UnsupportedFormat) as refused:
        decode(tiff(pixels), tiff=True)
    assert str(refused.value) == ("the image contains NaN or infinite values: replace them")


@pytest.mark.parametrize("colour", [2, 4, 6])
def test_deep_colours_of_which_the_upper_bits_show_nothing_are_refused(colour: int) -> None:
    samples = {2: 3, 4: 2, 6: 4}[colour]
    pixels = np.dstack([1000 + GREY.astype(np.uint16)] * samples)
    if colour > 2:
        pixels[..., -1] = 65_535
    with pytest.raises(UnsupportedFormat) as refused:
        decode(png(pixels, colour))
    assert str(refused.value) == (
        "the image has 16 bits a channel and uses 2 of their 256 upper levels: stretch its "
        "contrast, or save it in grey"
    )


@pytest.mark.parametrize("side", [28, 100, 400])
def test_the_noise_of_a_blank_16_bit_page_is_no_drawing(side: int) -> None:
    random = np.random.default_rng(5)
    page = (50_000 + random.normal(0, 90, (side, side))).astype(np.uint16)
    with pytest.raises(BlankImage):
        preprocess(decode(encode(Image.fromarray(page), "PNG")))


def test_a_given_image_is_not_changed() -> None:
    content = png(np.where(GREY > 127, 3, 0).astype(np.uint8), 0, chunk(b"tRNS", b"\0\1"), bits=2)
    image = Image.open(io.BytesIO(content))
    first = decode(image)
    assert image.info["transparency"] == 1
    np.testing.assert_array_equal(decode(image), first)
