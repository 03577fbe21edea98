"""Only strokes on paper are ink: areas, edges, patterns and specks are refused, and so said."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from mnist_sgd_serve import BlankImage, preprocess
from threes import Picture, classified_correctly, sample

Plane = NDArray[np.float64]

HEIGHT, WIDTH = 400, 300
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)

AREA = "nothing is drawn on the image but an area without strokes, as a blank sheet is"
LINES = "nothing is drawn on the image but lines along its border"
SCATTERED = "nothing is drawn on the image but specks that lie far apart"
PATTERN = "the image is a pattern all over: leave some paper around what is drawn"
UNCLEAR = (
    "what touches the border of the image may be a part of what is drawn, or not: leave paper "
    "around all that is drawn, or crop the image to the sheet"
)


def photographed(seen: Plane, seed: int = 0) -> Picture:
    """A scene with noise, a little blurred."""
    noisy = seen + np.random.default_rng(seed).normal(0, 3, seen.shape)
    image = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(1)))


def on_desk(sheet: Plane, desk: float) -> Plane:
    """A desk of 40 to 70 pixels all round."""
    return np.pad(sheet, ((40, 50), (70, 45)), constant_values=desk)


def refusal(picture: Picture) -> str:
    with pytest.raises(BlankImage) as refused:
        preprocess(picture)
    return str(refused.value)


@pytest.mark.parametrize(
    ("paper", "desk"), [(230, 60), (230, 140), (200, 245), (240, 200), (60, 200)]
)
def test_a_blank_sheet_on_a_desk_is_refused(paper: float, desk: float) -> None:
    blank = np.full((HEIGHT, WIDTH), paper)
    assert refusal(photographed(on_desk(blank, desk))) == AREA
    turned = Image.fromarray(on_desk(blank, desk).astype(np.uint8)).rotate(
        20, expand=True, fillcolor=desk
    )
    assert refusal(photographed(np.asarray(turned, np.float64))) == AREA


EDGES: dict[str, Plane] = {
    "a desk at the left": np.where(X < 60, 90.0, 230),
    "a wide desk below": np.where(Y > 260, 90.0, 230),
    "a desk on two sides": np.where((X < 50) | (Y < 70), 90.0, 230),
    "a desk at a corner": np.where(X / 120 + Y / 160 < 1, 80.0, 230),
    "a finger": np.where(((X - 120) / 40) ** 2 + ((Y - 400) / 70) ** 2 < 1, 140.0, 230),
    "a fold": 225 * np.where(X < 130, 1, 0.85) * np.where(np.abs(X - 130) < 2, 0.8, 1),
    "the edge of a shadow": 225 * (1 - 0.4 / (1 + np.exp((170 - X - 0.4 * Y) / 6))),
}


@pytest.mark.parametrize("name", EDGES)
def test_the_edge_of_something_on_a_blank_page_is_refused(name: str) -> None:
    assert refusal(photographed(EDGES[name])) == UNCLEAR


def test_punch_holes_alone_are_refused() -> None:
    rows = (80, 160, 240, 320)
    holes = [(X - 20) ** 2 + (Y - row) ** 2 < 64 for row in rows]
    assert refusal(photographed(230 - 150.0 * np.any(holes, 0))) == SCATTERED
    assert refusal(photographed(230 - 150.0 * holes[1])) == AREA


def test_a_scanners_line_alone_is_refused() -> None:
    page = np.full((HEIGHT, WIDTH), 230, np.uint8)
    page[100:, 2:5] = 20
    assert refusal(page) == LINES


PATTERNS: dict[str, Plane] = {
    "a chess board": np.sign(np.sin(np.pi * (X + 9) / 70) * np.sin(np.pi * (Y + 9) / 70)),
    "dots": 2.0 * ((X % 50 - 25) ** 2 + (Y % 50 - 25) ** 2 < 150) - 1,
    "narrow stripes": np.sign(np.sin(X / 4)),
}


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_is_refused(name: str, noise: bool) -> None:
    seen = 140 - 90 * PATTERNS[name]
    assert refusal(photographed(seen) if noise else seen.astype(np.uint8)) == PATTERN


def test_wide_waves_are_refused() -> None:
    assert refusal(photographed(140 + 90 * np.sin((X + 0.6 * Y) / 30))) == UNCLEAR


# What stays: digits next to such things, and what is bold, dotted or in pieces.


def digits(count: int) -> tuple[Picture, NDArray[np.bool_]]:
    images, threes = sample("valid")
    return images[7 :: len(images) // count], threes[7 :: len(images) // count]


def page(digit: Picture, share: float, paper: float, ink: float) -> Plane:
    """A digit of a share of the shorter side on a sheet."""
    side = round(share * WIDTH)
    large = np.asarray(Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC))
    strokes = np.pad(large / 255.0, ((120, HEIGHT - 120 - side), (90, WIDTH - 90 - side)))
    return paper + (ink - paper) * np.clip(2 * strokes - 0.5, 0, 1)


Scene = Callable[[Picture], Plane]

SCENES: dict[str, Scene] = {
    "a small digit on a sheet on a desk": lambda digit: on_desk(page(digit, 0.1, 230, 40), 90),
    "a fold next to a digit": lambda digit: page(digit, 0.5, 225, 40) * np.where(X < 270, 1, 0.85),
    "a reflection next to a digit": lambda digit: (
        page(digit, 0.4, 30, 200) + 200 * np.exp(-((Y - 300) ** 2 + (X - 230) ** 2) / 1800)
    ),
}


@pytest.mark.parametrize("name", SCENES)
def test_a_digit_next_to_what_is_no_stroke_is_read(name: str) -> None:
    images, threes = digits(40)
    preprocessed = [preprocess(photographed(SCENES[name](digit))).image for digit in images]
    assert classified_correctly(np.stack(preprocessed), threes) >= len(images) - 2


def test_a_digit_of_dots_is_read() -> None:
    """As on a display: its pieces are compact, and near to each other."""
    rows = ("01110", "10001", "00001", "00110", "00001", "10001", "01110")
    lit = np.array([[int(dot) for dot in row] for row in rows], np.float64)
    disc = np.hypot(*(np.mgrid[0:14, 0:14] - 6.5)) < 5
    dots = np.pad(np.kron(lit, disc), 60)
    assert preprocess(photographed(230 - 190 * dots)).image.any()
