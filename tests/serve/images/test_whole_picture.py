"""`fit` and `stretch` show the whole picture, each pixel the exact mean over its area."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from mnist_sgd_serve import PREPROCESSING_KINDS, BlankImage, preprocess

Picture = NDArray[np.uint8]

pictures = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=60)).filter(
    lambda picture: picture.min() != picture.max()
)


def averaged(picture: Picture) -> Picture:
    """The mean over each 28th by 28th of a picture, in exact fractions, halves rounded up."""

    def shares(side: int) -> list[list[Fraction]]:
        bounds = [Fraction(side * i, 28) for i in range(29)]
        whole = [Fraction(j) for j in range(side + 1)]
        none = Fraction(0)
        return [
            [
                max(none, min(bounds[i + 1], whole[j + 1]) - max(bounds[i], whole[j]))
                for j in range(side)
            ]
            for i in range(28)
        ]

    rows, columns = shares(picture.shape[0]), shares(picture.shape[1])
    values = picture.tolist()
    across = [
        [
            sum((w * v for w, v in zip(weights, line, strict=True) if w), Fraction(0))
            for weights in columns
        ]
        for line in values
    ]
    area = Fraction(picture.size, 28 * 28)
    image = np.empty((28, 28), np.uint8)
    for i, weights in enumerate(rows):
        for j in range(28):
            total = sum(
                (w * line[j] for w, line in zip(weights, across, strict=True) if w), Fraction(0)
            )
            image[i, j] = int(total / area + Fraction(1, 2))
    return image


@settings(max_examples=15, deadline=None)
@given(picture=pictures)
def test_stretch_is_the_mean_over_each_area(picture: Picture) -> None:
    preprocessed = preprocess(picture, "stretch")
    np.testing.assert_array_equal(preprocessed.image, averaged(picture))
    assert preprocessed.image.dtype == np.uint8
    assert preprocessed.image.flags.c_contiguous
    assert not preprocessed.inverted


@settings(max_examples=60, deadline=None)
@given(picture=pictures)
def test_fit_is_stretch_of_the_picture_on_a_square_of_its_paper(picture: Picture) -> None:
    height, width = picture.shape
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    side = max(height, width)
    sheet = np.full((side, side), int(np.median(border) + 0.5), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    sheet[top : top + height, left : left + width] = picture
    expected = preprocess(sheet, "stretch").image
    np.testing.assert_array_equal(preprocess(picture, "fit").image, expected)


@settings(max_examples=60, deadline=None)
@given(picture=pictures)
@pytest.mark.parametrize("way", ["fit", "stretch"])
def test_a_picture_turned_over_gives_the_image_turned_over(way: str, picture: Picture) -> None:
    side = 2 * max(picture.shape)
    sheet = np.full((side, side), picture[0, 0], np.uint8)
    sheet[: picture.shape[0], : picture.shape[1]] = picture
    image = preprocess(sheet, way).image
    np.testing.assert_array_equal(preprocess(sheet[:, ::-1], way).image, image[:, ::-1])
    np.testing.assert_array_equal(preprocess(sheet.T, way).image, image.T)


@settings(max_examples=60, deadline=None)
@given(
    picture=hnp.arrays(np.uint8, (28, 28)).filter(lambda picture: picture.min() != picture.max())
)
@pytest.mark.parametrize("way", ["fit", "stretch"])
def test_a_picture_of_28x28_stays_as_it_is(way: str, picture: Picture) -> None:
    preprocessed = preprocess(picture, way)
    np.testing.assert_array_equal(preprocessed.image, picture)
    assert preprocessed.unchanged
    assert not np.shares_memory(preprocessed.image, picture)


@pytest.mark.parametrize("factor", [2, 5, 18])
@pytest.mark.parametrize("way", ["fit", "stretch"])
def test_larger_pixels_give_the_same_image(way: str, factor: int) -> None:
    picture = np.random.default_rng(factor).integers(0, 256, (28, 28), np.uint8)
    larger = np.kron(picture, np.ones((factor, factor), np.uint8))
    preprocessed = preprocess(larger, way)
    np.testing.assert_array_equal(preprocessed.image, picture)
    assert not preprocessed.unchanged


def test_fit_keeps_the_proportions_and_stretch_does_not() -> None:
    """A ring on a wide sheet of grey paper: a ring, or an ellipse."""
    y, x = np.mgrid[-50:50, -100:100]
    wide = np.where(np.abs(np.hypot(y, x) - 30) < 8, 250, 90).astype(np.uint8)
    fitted, stretched = preprocess(wide, "fit").image, preprocess(wide, "stretch").image
    for image, height in ((fitted, 11), (stretched, 22)):
        drawn = image > 100
        assert abs(np.count_nonzero(drawn.any(1)) - height) <= 1
        assert abs(np.count_nonzero(drawn.any(0)) - 11) <= 1
    assert (fitted[:7] == 90).all()
    assert (fitted[-7:] == 90).all()


def test_the_paper_of_fit_is_the_median_of_the_border() -> None:
    """What touches less than half of the border does not change it."""
    picture = np.full((60, 20), 200, np.uint8)
    picture[20:45, :14] = 10
    image = preprocess(picture, "fit").image
    assert (image[:, :9] == 200).all()
    assert (image[:, -9:] == 200).all()


@pytest.mark.parametrize("shape", [(3, 20_000), (20_000, 3), (1, 100_000), (4000, 3000)])
@pytest.mark.parametrize("way", ["fit", "stretch"])
def test_a_picture_may_be_large_or_a_line(way: str, shape: tuple[int, int]) -> None:
    picture = np.zeros(shape, np.uint8)
    picture[shape[0] // 2 :, shape[1] // 2 :] = 200
    image = preprocess(picture, way).image
    assert image.shape == (28, 28)
    assert image.max() > 0


@pytest.mark.parametrize("size", [(1, 1), (28, 28), (5, 900)])
@pytest.mark.parametrize("way", ["fit", "stretch"])
def test_a_picture_of_one_colour_is_refused(way: str, size: tuple[int, int]) -> None:
    with pytest.raises(BlankImage, match="the image is blank: all its pixels are equal"):
        preprocess(np.full(size, 77, np.uint8), way)


def test_another_preprocessing_is_refused_by_name() -> None:
    assert PREPROCESSING_KINDS == ("mnist", "fit", "stretch")
    with pytest.raises(
        ValueError, match=r"^preprocessing must be mnist, fit or stretch, got 'crop'$"
    ):
        preprocess(np.zeros((9, 9), np.uint8), "crop")
