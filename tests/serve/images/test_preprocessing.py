import contextlib
import io
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from mnist_sgd_serve.images.errors import BlankImage
from mnist_sgd_serve.images.preprocessing import Preprocessed, preprocess
from small_digits import counted, typed
from threes import Picture, classified_correctly, needs_sample, sample

# Drawings: any connected stroke, any grey above a half, on a dark canvas.


@st.composite
def strokes(draw: st.DrawFn) -> Picture:
    """The tight box of a pen's walk over at least 8 pixels."""
    steps = draw(st.lists(st.sampled_from([(0, 1), (1, 0), (1, 1), (1, -1)]), min_size=16))
    walk = np.cumsum([(0, 0), *steps], axis=0)
    walk -= walk.min(0)
    ink = np.zeros(walk.max(0) + 1, np.uint8)
    greys = hnp.arrays(np.uint8, len(walk), elements=st.integers(128, 255))
    ink[tuple(walk.T)] = draw(greys)
    return ink


def on_canvas(ink: Picture, margin: int = 8) -> Picture:
    return np.pad(ink, margin)


def recipe(ink: Picture) -> Picture:
    """MNIST's recipe on a tight box of any size, step by step, in exact integers."""
    height, width = ink.shape
    side = max(height, width)
    square = np.zeros((side, side), np.int64)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = ink
    while side < 20:
        square, side = np.kron(square, np.ones((2, 2), np.int64)), 2 * side
    fine = np.kron(square, np.ones((20, 20), np.int64))  # each of 20x20 blocks is whole pixels now
    sums = fine.reshape(20, side, 20, side).sum((1, 3))
    block = (2 * 255 * sums + sums.max()) // (2 * sums.max())
    total = int(block.sum())
    odd = 2 * np.arange(20) + 1
    y0, x0 = (int(30 * total - block.sum(axis) @ odd) // (2 * total) for axis in (1, 0))
    image = np.zeros((28, 28), np.uint8)
    for y in range(20):
        for x in range(20):
            if 0 <= y + y0 < 28 and 0 <= x + x0 < 28:
                image[y + y0, x + x0] = block[y, x]
    return image


@settings(max_examples=200, deadline=None)
@given(ink=strokes())
def test_a_drawing_goes_through_the_recipe_of_mnist(ink: Picture) -> None:
    preprocessed = preprocess(on_canvas(ink))
    assert (preprocessed.inverted, preprocessed.unchanged) == (False, False)
    assert preprocessed.image.flags.c_contiguous
    np.testing.assert_array_equal(preprocessed.image, recipe(ink))


@settings(max_examples=100, deadline=None)
@given(ink=strokes())
def test_a_drawing_in_dark_ink_gives_the_same_image_and_says_so(ink: Picture) -> None:
    light, dark = preprocess(on_canvas(ink)), preprocess(255 - on_canvas(ink))
    np.testing.assert_array_equal(light.image, dark.image)
    assert (light.inverted, dark.inverted) == (False, True)


@settings(max_examples=100, deadline=None)
@given(ink=strokes(), sides=st.tuples(*[st.integers(8, 60)] * 4))
def test_where_a_drawing_lies_on_its_canvas_changes_nothing(
    ink: Picture, sides: tuple[int, int, int, int]
) -> None:
    top, bottom, left, right = sides
    moved = np.pad(ink, ((top, bottom), (left, right)))
    np.testing.assert_array_equal(preprocess(moved).image, preprocess(on_canvas(ink)).image)


@settings(max_examples=50, deadline=None)
@given(ink=strokes(), factor=st.integers(2, 4))
def test_a_drawing_with_larger_pixels_gives_the_same_image(ink: Picture, factor: int) -> None:
    """From double pixels on: the middle of a crop may lie between single ones."""
    double = np.kron(on_canvas(np.pad(ink, 4)), np.ones((2, 2), np.uint8))
    larger = np.kron(double, np.ones((factor, factor), np.uint8))
    if max(larger.shape) <= 512:
        np.testing.assert_array_equal(preprocess(larger).image, preprocess(double).image)


@settings(max_examples=100, deadline=None)
@given(ink=strokes(), paper=st.integers(0, 200), full=st.integers(20, 55))
def test_neither_the_grey_of_the_paper_nor_of_the_ink_matters(
    ink: Picture, paper: int, full: int
) -> None:
    """Where the ink has one grey: the recipe scales the strongest ink to 255."""
    canvas = np.where(on_canvas(ink) > 0, 255, 0).astype(np.uint8)
    faint = np.where(canvas > 0, paper + full, paper).astype(np.uint8)
    np.testing.assert_array_equal(preprocess(faint).image, preprocess(canvas).image)


@settings(max_examples=100, deadline=None)
@given(ink=strokes(), data=st.data())
def test_specks_are_dropped(ink: Picture, data: st.DataObject) -> None:
    ink = np.kron(ink, np.full((6, 6), 1, np.uint8))
    canvas = on_canvas(ink, 20)
    expected = preprocess(canvas).image
    for _ in range(3):
        canvas[
            data.draw(st.sampled_from([3, -4])), data.draw(st.integers(0, len(canvas[0]) - 1))
        ] = 255
    np.testing.assert_array_equal(preprocess(canvas).image, expected)


def test_a_stroke_in_two_parts_is_kept_whole() -> None:
    canvas = np.zeros((60, 60), np.uint8)
    canvas[10:14, 10:40] = 255
    canvas[20:50, 30:34] = 255
    np.testing.assert_array_equal(preprocess(canvas).image, recipe(canvas[10:50, 10:40]))


def test_the_image_is_not_tied_to_the_array_it_came_from() -> None:
    original = preprocess(on_canvas(np.full((20, 5), 255, np.uint8))).image
    again = preprocess(original)
    assert again.unchanged
    original[:] = 0
    assert again.image.any()


# Real digits.


@needs_sample
def test_every_validation_image_passes_byte_for_byte() -> None:
    images, _ = sample("valid")
    assert len(images) == 2038
    for image in images:
        preprocessed = preprocess(image)
        assert (preprocessed.unchanged, preprocessed.inverted) == (True, False)
        np.testing.assert_array_equal(preprocessed.image, image)


@needs_sample
def test_an_image_that_is_not_contiguous_passes_as_one_that_is() -> None:
    image = sample("valid")[0][0]
    preprocessed = preprocess(np.asfortranarray(image))
    assert preprocessed.unchanged
    assert preprocessed.image.flags.c_contiguous
    np.testing.assert_array_equal(preprocessed.image, image)


@needs_sample
def test_mnist_images_moved_inverted_or_padded_come_back() -> None:
    """Nearly: pixels fainter than the cut at the rim of the box are lost."""
    for image in sample("valid")[0][::50]:
        moved = np.roll(image, 2, 1) if not image[:, -2:].any() else np.roll(image, -1, 0)
        expected = preprocess(np.pad(image, 3)).image
        for changed in (moved, 255 - image, 255 - moved):
            if not (image[0].any() or image[-1].any()):
                np.testing.assert_array_equal(preprocess(changed).image, expected)


@needs_sample
def test_what_was_preprocessed_once_passes_unchanged() -> None:
    for image in sample("valid")[0][::20]:
        once = preprocess(np.kron(255 - image, np.ones((5, 5), np.uint8)))
        again = preprocess(once.image)
        assert again.unchanged
        np.testing.assert_array_equal(again.image, once.image)


def enlarge(image: Picture, factor: int, filter_: Image.Resampling) -> Picture:
    size = (28 * factor, 28 * factor)
    return np.asarray(Image.fromarray(image).resize(size, filter_))


def jpeg(image: Picture, quality: int) -> Picture:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def photograph(
    image: Picture, random: np.random.Generator, noise: float = 6, shadow: float = 0.0
) -> Picture:
    """A dark digit on a sheet in slanting light, a shadow across it, noise, a JPEG file."""
    digit = enlarge(image, 6, Image.Resampling.BICUBIC) / 255
    size = 300
    y, x = random.integers(0, size - len(digit), 2)
    ink = np.zeros((size, size))
    ink[y : y + len(digit), x : x + len(digit)] = digit
    down, across = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    angle = random.uniform(0, 2 * np.pi)
    slope = np.cos(angle) * down + np.sin(angle) * across
    light = 170 + 40 * slope - 25 * (down**2 + across**2)
    light *= 1 - shadow / (1 + np.exp(-20 * (across - random.uniform(-0.6, 0.6))))
    seen = light * (1 - 0.6 * ink) + random.normal(0, noise, ink.shape)
    return jpeg(np.clip(seen, 0, 255).astype(np.uint8), 80)


Distortion = Callable[[Picture, np.random.Generator], Picture]
R = Image.Resampling
# The name: how to distort, how many of 120 more may be misread, and by how many grey levels the
# image may differ in the mean.
DISTORTIONS: dict[str, tuple[Distortion, int, float]] = {
    "inverted": (lambda image, _: 255 - image, 0, 2),
    "padded": (lambda image, _: np.pad(image, 6), 0, 2),
    "double pixels": (lambda image, _: enlarge(image, 2, R.NEAREST), 1, 4),
    "tenfold pixels": (lambda image, _: enlarge(image, 10, R.NEAREST), 1, 4),
    "bilinear 4x": (lambda image, _: enlarge(image, 4, R.BILINEAR), 1, 10),
    "bicubic 20x, dark": (lambda image, _: 255 - enlarge(image, 20, R.BICUBIC), 1, 10),
    "Lanczos 5x": (lambda image, _: enlarge(image, 5, R.LANCZOS), 1, 9),
    "black and white": (
        lambda image, _: (enlarge(image, 5, R.BICUBIC) > 127) * np.uint8(255),
        1,
        7,
    ),
    "faint": (lambda image, _: enlarge(image, 5, R.BICUBIC) // 3, 1, 9),
    "JPEG of 28x28": (lambda image, _: jpeg(np.pad(image, 2), 75), 1, 6),
    "JPEG, bad": (lambda image, _: jpeg(255 - enlarge(image, 4, R.BILINEAR), 30), 1, 11),
    "photograph": (photograph, 2, 8),
    "photograph, noisy": (lambda image, random: photograph(image, random, noise=15), 3, 8),
    "photograph, shadow": (lambda image, random: photograph(image, random, shadow=0.35), 3, 10),
}


@needs_sample
@pytest.mark.parametrize("name", DISTORTIONS)
def test_a_distorted_digit_comes_back_and_is_still_recognised(name: str) -> None:
    distort, may_lose, may_differ = DISTORTIONS[name]
    random = np.random.default_rng(7)
    images, threes = sample("valid")
    images, threes = images[5::17], threes[5::17]
    preprocessed = np.stack([preprocess(distort(image, random)).image for image in images])
    assert np.abs(preprocessed.astype(int) - images).mean() < may_differ
    assert (
        classified_correctly(preprocessed, threes)
        >= classified_correctly(images, threes) - may_lose
    )
    assert classified_correctly(images, threes) >= 115


def some(step: int) -> tuple[Picture, NDArray[np.bool_]]:
    """A part of the validation images, and whether each is a three."""
    images, threes = sample("valid")
    return images[5::step], threes[5::step]


def right_answers(pictures: list[Picture], threes: NDArray[np.bool_]) -> int:
    """How many of these pictures the linear model gets right, of which it may refuse some."""
    preprocessed, labels = [], []
    for picture, three in zip(pictures, threes, strict=True):
        with contextlib.suppress(BlankImage):
            preprocessed.append(preprocess(picture).image)
            labels.append(three)
    return classified_correctly(np.stack(preprocessed), np.array(labels))


@needs_sample
def test_a_digit_of_8_by_8_pixels_is_read_as_well_as_ten_times_as_large() -> None:
    """It fills the picture, so that a half of the border is ink, and ink that is half paper."""
    images, threes = some(17)
    for inverted in (0, 255):
        small = [counted(image) ^ np.uint8(inverted) for image in images]
        large = [enlarge(image, 10, R.BICUBIC) for image in small]
        assert right_answers(small, threes) >= 0.93 * len(small)
        assert right_answers(small, threes) >= right_answers(large, threes) - 2


@needs_sample
def test_a_small_picture_that_was_enlarged_by_repeating_pixels_gives_the_same_image() -> None:
    for image in sample("valid")[0][5::102]:
        small = counted(image)
        double = preprocess(np.kron(small, np.ones((2, 2), np.uint8))).image
        for factor in (3, 5, 10, 24):
            larger = np.kron(small, np.ones((factor, factor), np.uint8))
            np.testing.assert_array_equal(preprocess(larger).image, double)


@needs_sample
@pytest.mark.parametrize("side", [8, 12, 20, 100])
def test_a_photograph_of_nothing_but_the_digit_is_read(side: int) -> None:
    random = np.random.default_rng(side)
    images, threes = some(17)
    pictures = []
    for image in images:
        rows, columns = np.nonzero(image > 60)
        tight = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        size = (max(2, round(side * tight.shape[1] / tight.shape[0])), side)
        ink = np.asarray(Image.fromarray(tight).resize(size, R.BOX), np.float32) / 255
        seen = 200 - 150 * ink + random.normal(0, 5, ink.shape)
        pictures.append(np.clip(seen, 0, 255).astype(np.uint8))
    assert right_answers(pictures, threes) >= 0.9 * len(pictures)


@needs_sample
@pytest.mark.parametrize("share", [0.6, 1.0, 1.4])
@pytest.mark.parametrize("angle", [0, 90, 130])
def test_light_that_slants_along_a_side_is_no_ink(share: float, angle: int) -> None:
    """Without noise, so that two of the sides have one grey each."""
    down, across = np.indices((120, 120)) / 120 - 0.5
    slope = np.cos(np.radians(angle)) * down + np.sin(np.radians(angle)) * across
    light = 170 * (1 + 0.7 * share * slope)
    images, threes = some(34)
    pictures = []
    for image in images:
        ink = np.pad(enlarge(image, 3, R.BICUBIC), ((20, 16), (10, 26))) / 255
        pictures.append(np.clip(light * (1 - 0.75 * ink), 0, 255).astype(np.uint8))
    assert right_answers(pictures, threes) >= classified_correctly(images, threes) - 1


@needs_sample
@pytest.mark.parametrize("across", [False, True])
def test_dark_lines_that_run_off_the_picture_are_no_ink(across: bool) -> None:
    """Of ruled paper, but for those that the pen crosses."""
    random = np.random.default_rng(7)
    lines = np.zeros((220, 180))
    lines[[8, 9, 40, 41, 200, 201]] = 150
    if across:
        lines[:, 10:12] = 150
    images, threes = some(51)
    pictures = []
    for image in images:
        ink = np.pad(enlarge(image, 4, R.BICUBIC), ((60, 48), (24, 44))) / 255
        seen = 220 - np.maximum(180 * ink, lines) + random.normal(0, 3, lines.shape)
        pictures.append(np.clip(seen, 0, 255).astype(np.uint8))
    assert right_answers(pictures, threes) >= 0.95 * len(pictures)


@needs_sample
@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("size", [9, 12, 20])
def test_small_type_is_read(size: int, inverted: bool) -> None:
    pictures, threes = zip(*typed(size), strict=True)
    preprocessed = [preprocess(picture ^ np.uint8(255 * inverted)) for picture in pictures]
    assert {one.inverted for one in preprocessed} == {not inverted}
    assert (
        classified_correctly(np.stack([one.image for one in preprocessed]), np.array(threes))
        >= len(threes) - 1
    )


@needs_sample
def test_a_photograph_of_twelve_megapixels_is_read() -> None:
    image = sample("valid")[0][0]
    sheet = np.full((3000, 4000), 200, np.float32)
    sheet += np.linspace(-40, 40, 4000, dtype=np.float32)
    sheet[1000:1840, 600:1440] *= 1 - 0.6 * enlarge(image, 30, R.BICUBIC).astype(np.float32) / 255
    sheet += np.tile(np.random.default_rng(1).normal(0, 8, (300, 400)).astype(np.float32), (10, 10))
    preprocessed = preprocess(np.clip(sheet, 0, 255).astype(np.uint8))
    assert preprocessed.inverted
    assert np.abs(preprocessed.image.astype(int) - image).mean() < 12


# What has no ink, and what is no picture.


@pytest.mark.parametrize("size", [(1, 1), (28, 28), (5, 900), (1200, 1600)])
@pytest.mark.parametrize("level", [0, 1, 100, 254, 255])
def test_a_blank_image_has_no_ink(size: tuple[int, int], level: int) -> None:
    with pytest.raises(BlankImage, match="nothing is drawn on the image: it is blank"):
        preprocess(np.full(size, level, np.uint8))


@pytest.mark.parametrize("noise", [1, 5, 15])
@pytest.mark.parametrize("side", [28, 100, 300, 700])
def test_a_photograph_of_blank_paper_has_no_ink(side: int, noise: int) -> None:
    random = np.random.default_rng(side + noise)
    light = np.linspace(90, 200, side)[:, None] + np.linspace(0, 40, side) ** 1.1 / 2
    seen = np.clip(light + random.normal(0, noise, (side, side)), 0, 255).astype(np.uint8)
    for picture in (seen, jpeg(seen, 80)):
        with pytest.raises(BlankImage, match="nothing is drawn on the image"):
            preprocess(picture)


def test_a_picture_with_a_few_specks_has_no_ink() -> None:
    picture = np.zeros((200, 200), np.uint8)
    picture[[20, 20, 90, 150], [30, 31, 120, 10]] = 255
    with pytest.raises(BlankImage, match="nothing is drawn on the image but specks"):
        preprocess(picture)


def test_an_image_that_is_nothing_but_ink_is_refused() -> None:
    for paper, ink in ((0, 255), (255, 0)):
        picture = np.full((60, 60), ink, np.uint8)
        picture[[0, -1]] = picture[:, [0, -1]] = paper
        with pytest.raises(BlankImage, match="nothing but ink: leave some paper"):
            preprocess(picture)


@settings(max_examples=300, deadline=None)
@given(
    picture=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40))
    | hnp.arrays(np.uint8, (28, 28), elements=st.sampled_from([0, 0, 0, 255]))
)
def test_any_picture_gives_an_image_or_has_no_ink(picture: Picture) -> None:
    try:
        preprocessed = preprocess(picture)
    except BlankImage as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert isinstance(preprocessed, Preprocessed)
        assert preprocessed.image.shape == (28, 28)
        assert preprocessed.image.dtype == np.uint8
        assert preprocessed.image.flags.c_contiguous
        assert preprocessed.image.any()


@pytest.mark.parametrize("shape", [(1, 100_000), (3, 20_000)])
def test_a_picture_may_be_a_line(shape: tuple[int, int]) -> None:
    picture = np.zeros(shape, np.uint8)
    picture[:, shape[1] // 3 : shape[1] // 2] = 255
    dash = preprocess(picture).image
    assert np.count_nonzero(dash.any(0)) == 20
    assert np.count_nonzero(dash.any(1)) <= 2
    np.testing.assert_array_equal(preprocess(picture.T).image, dash.T)


def test_only_an_array_of_bytes_with_two_axes_is_a_picture() -> None:
    for given_value, message in (
        (np.zeros((28, 28)), "dtype uint8, got float64"),
        (np.zeros((28, 28), bool), "dtype uint8, got bool"),
        ([[0, 255]], "dtype uint8, got list"),
    ):
        with pytest.raises(TypeError, match=message):
            preprocess(given_value)  # type: ignore[arg-type]  # the point of the test
    for shape in ((28,), (1, 28, 28), (0, 28)):
        with pytest.raises(ValueError, match=r"shape \[height, width\], got \["):
            preprocess(np.zeros(shape, np.uint8))
