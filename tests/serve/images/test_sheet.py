"""What is around a sheet, or runs along a picture's border, is not ink."""

import warnings
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mnist_sgd_serve import BlankImage, preprocess
from mnist_sgd_serve.images.digits.sheet import find_sheet
from photographs import photograph
from surroundings import SURROUNDINGS, drawing
from threes import Picture, classified_correctly, sample

COUNT = 40


@cache
def digits() -> tuple[Picture, NDArray[np.bool_]]:
    """Digits of the sample's validation set, and whether each is a three."""
    images, threes = sample("valid")
    rows = np.linspace(0, len(images) - 1, COUNT).astype(int)
    return images[rows], threes[rows]


@cache
def pictures(kind: str) -> list[Picture]:
    """As many photographs, or drawings, of these digits."""
    random = np.random.default_rng(3)
    if kind == "photograph":
        return [np.asarray(photograph(digit, random)) for digit in digits()[0]]
    return [drawing(digit, random) for digit in digits()[0]]


def right(images: list[Picture]) -> int:
    """How many of these images the linear model classifies correctly."""
    return classified_correctly(np.stack(images), digits()[1])


def differ(image: Picture, other: Picture) -> float:
    """By how many grey levels on average; a pixel of displacement is none."""
    shifts = [np.roll(image, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    return float(min(np.abs(shift.astype(int) - other).mean() for shift in shifts))


@pytest.mark.parametrize("kind", ["photograph", "drawing"])
@pytest.mark.parametrize("name", SURROUNDINGS)
def test_what_is_around_the_sheet_changes_no_answer(name: str, kind: str) -> None:
    random = np.random.default_rng(5)
    plain = [preprocess(picture) for picture in pictures(kind)]
    around = [preprocess(SURROUNDINGS[name](picture, random)) for picture in pictures(kind)]
    assert right([one.image for one in plain]) >= 0.9 * COUNT
    assert right([one.image for one in around]) >= right([one.image for one in plain]) - 1
    assert [one.inverted for one in around] == [one.inverted for one in plain]
    if "turned" not in name:
        pairs = zip(around, plain, strict=True)
        assert np.count_nonzero([differ(one.image, other.image) > 8 for one, other in pairs]) <= 1


@pytest.mark.parametrize("kind", ["photograph", "drawing"])
def test_a_picture_with_paper_all_round_is_all_sheet(kind: str) -> None:
    """So it is read as if nothing were looked for."""
    assert [find_sheet(picture) for picture in pictures(kind)] == [None] * COUNT


def cropped(picture: Picture, margin: int) -> Picture:
    """The tight box of the dark half of the greys, with a margin."""
    rows, columns = np.nonzero(picture < 128)
    tight = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return np.pad(tight, margin, constant_values=255)


@pytest.mark.parametrize("inverted", [False, True])
def test_a_digit_that_is_cropped_tight_is_read_whole(inverted: bool) -> None:
    """But for one whose sides are ink in the main, so that nobody can tell what is paper."""
    misread = 0
    for picture in pictures("drawing"):
        tight, wide = cropped(picture, 0), cropped(picture, 30)
        expected = preprocess(255 - wide if inverted else wide).image
        try:
            misread += differ(preprocess(255 - tight if inverted else tight).image, expected) > 4
        except BlankImage:
            misread += 1
    assert misread <= 1


def test_a_drawing_that_touches_one_side_is_read_whole() -> None:
    for picture in pictures("drawing"):
        wide = cropped(picture, 30)
        expected = preprocess(wide).image
        for cut in (wide[30:], wide[:-30], wide[:, 30:], wide[:, :-30]):
            np.testing.assert_array_equal(preprocess(np.ascontiguousarray(cut)).image, expected)


@pytest.mark.parametrize("margin", [4, 12])
def test_paper_around_a_bold_character_is_no_table_and_its_counters_are_no_ink(
    margin: int,
) -> None:
    for character in "0123456789ABDOPQR#@%&":
        page = Image.new("L", (300, 300), 255)
        font = ImageFont.load_default(160)
        ImageDraw.Draw(page).text((60, 60), character, 0, font, stroke_width=10)
        drawn = np.asarray(page)
        near, far = (preprocess(cropped(drawn, one)).image for one in (margin, 60))
        np.testing.assert_array_equal(near, far, err_msg=character)


@pytest.mark.parametrize("character", "ij!:;%=?")
def test_the_dot_of_a_character_is_no_punch_hole(character: str) -> None:
    """At the edge of the sheet as in the middle."""
    font = ImageFont.load_default(60)
    images = []
    for place in ((20, 6), (180, 120), (300, 210)):
        page = Image.new("L", (400, 300), 255)
        ImageDraw.Draw(page).text(place, character, 0, font)
        images.append(preprocess(np.asarray(page)).image)
    tight = preprocess(cropped(np.asarray(page), 30)).image
    for image in images:
        np.testing.assert_array_equal(image, tight)


def test_a_stroke_at_the_border_next_to_another_is_refused() -> None:
    """In a photograph: it may be the end of a pen, or a part of the character."""
    picture = np.random.default_rng(0).normal(210, 3, (120, 120))
    picture[40:50, 30:90] = 40
    picture[60:70, :60] = 40
    with pytest.raises(BlankImage) as refused:
        preprocess(picture.astype(np.uint8))
    assert str(refused.value) == (
        "what touches the border of the image may be a part of what is drawn, or not: leave paper "
        "around all that is drawn, or crop the image to the sheet"
    )


def test_a_stroke_along_the_border_alone_is_ink() -> None:
    """There is nothing else that could be meant."""
    page = np.full((100, 80), 255, np.uint8)
    page[:, :12] = 0
    image = preprocess(page).image
    assert np.count_nonzero(image.any(0)) <= 4
    assert np.count_nonzero(image.any(1)) == 20


def test_a_speck_in_a_frame_is_no_drawing() -> None:
    page = np.full((120, 120), 230, np.uint8)
    page[60:64, 60:64] = 20
    page[[0, -1]] = page[:, [0, -1]] = 20
    with pytest.raises(BlankImage, match="the image is nothing but ink"):
        preprocess(page)


@settings(max_examples=100, deadline=None)
@given(
    side=st.integers(40, 90),
    bands=st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 60), st.integers(0, 255)), max_size=5
    ),
    noise=st.sampled_from([0, 0, 3, 60]),
)
def test_any_bands_along_the_border_give_an_image_or_have_no_ink(
    side: int, bands: list[tuple[int, int, int]], noise: int
) -> None:
    picture = np.random.default_rng(side).normal(200, noise, (side, side + 7)).clip(0, 255)
    for turn, width, grey in bands:
        np.rot90(picture, turn)[:width] = grey
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            preprocessed = preprocess(picture.astype(np.uint8))
        except BlankImage as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert preprocessed.image.any()
