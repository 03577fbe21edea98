"""What people photograph, scan and cut out around a digit, put around a grey picture of one."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

__all__ = ["SURROUNDINGS", "drawing"]

Picture = NDArray[np.uint8]
Surround = Callable[[Picture, np.random.Generator], Picture]

SURROUNDINGS: dict[str, Surround] = {}
"""How to put each around a picture of 60 pixels a side or more."""


def _named(surround: Surround) -> Surround:
    SURROUNDINGS[surround.__name__.replace("_", " ")] = surround
    return surround


def drawing(digit: Picture, random: np.random.Generator) -> Picture:
    """A digit in black on white, without noise, of 110 pixels a side or more."""
    side, margin = int(random.integers(100, 240)), int(random.integers(5, 50))
    large = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    return 255 - np.pad(np.asarray(large), margin)


def _contrast(picture: Picture, by: int) -> int:
    """A grey that differs from the paper by so much."""
    paper = int(np.median(picture))
    return paper - by if paper > 127 else paper + by


def _table(
    picture: Picture,
    random: np.random.Generator,
    left: int = 0,
    right: int = 0,
    top: int = 0,
    bottom: int = 0,
) -> Picture:
    """A table with a grain, seen beside the sheet, and a little blur over all."""
    wide = np.pad(picture, ((top, bottom), (left, right)), mode="edge")
    sheet = np.zeros(wide.shape, np.bool_)
    sheet[top : wide.shape[0] - bottom, left : wide.shape[1] - right] = True
    return _on_table(wide, sheet, random, int(random.integers(60, 140)))


def _on_table(
    picture: Picture, sheet: NDArray[np.bool_], random: np.random.Generator, grey: float
) -> Picture:
    grain = 6 * np.sin(np.arange(picture.shape[1]) / 3) + random.normal(0, 8, picture.shape)
    seen = np.clip(np.where(sheet, picture, grey + grain), 0, 255).astype(np.uint8)
    return np.asarray(Image.fromarray(seen).filter(ImageFilter.GaussianBlur(0.7)))


def _coordinates(picture: Picture) -> NDArray[np.intp]:
    return np.indices(picture.shape)


@_named
def a_strip_of_table(picture: Picture, random: np.random.Generator) -> Picture:
    return _table(picture, random, left=8)


@_named
def a_table_below(picture: Picture, random: np.random.Generator) -> Picture:
    return _table(picture, random, bottom=30)


@_named
def a_table_on_two_sides(picture: Picture, random: np.random.Generator) -> Picture:
    return _table(picture, random, left=20, top=16)


@_named
def a_table_all_round(picture: Picture, random: np.random.Generator) -> Picture:
    return _table(picture, random, 20, 20, 20, 20)


@_named
def a_slanted_edge(picture: Picture, random: np.random.Generator) -> Picture:
    wide = np.pad(picture, ((0, 0), (34, 0)), mode="edge")
    down, right = _coordinates(wide)
    sheet = right >= 6 + np.tan(np.radians(random.uniform(3, 7))) * down
    return _on_table(wide, sheet, random, random.uniform(60, 140))


@_named
def a_turned_sheet_on_a_wide_table(picture: Picture, random: np.random.Generator) -> Picture:
    angle = random.uniform(-10, 10)
    wide, inside = (
        np.asarray(Image.fromarray(np.pad(one, 40)).rotate(angle, Image.Resampling.BICUBIC))
        for one in (picture, np.full_like(picture, 255))
    )
    return _on_table(wide, inside > 127, random, random.uniform(60, 140))


@_named
def a_corner_of_table(picture: Picture, random: np.random.Generator) -> Picture:
    wide = np.pad(picture, ((20, 0), (20, 0)), mode="edge")
    return _on_table(wide, _coordinates(wide).sum(0) >= 36, random, random.uniform(60, 140))


@_named
def a_thumb(picture: Picture, random: np.random.Generator) -> Picture:
    wide = np.pad(picture, ((0, 25), (0, 25)), mode="edge")
    down, right = _coordinates(wide)
    far = (down - wide.shape[0]) ** 2 + (right - wide.shape[1]) ** 2 > 34**2
    return _on_table(wide, far, random, _contrast(picture, 80))


@_named
def a_scanners_line(picture: Picture, random: np.random.Generator) -> Picture:
    return _painted(picture, np.s_[:, :2], _contrast(picture, 150))


@_named
def a_line_of_one_pixel(picture: Picture, random: np.random.Generator) -> Picture:
    return _painted(picture, np.s_[:1], _contrast(picture, 150))


@_named
def a_bar_of_a_screenshot(picture: Picture, random: np.random.Generator) -> Picture:
    return np.pad(picture, ((30, 0), (0, 0)), constant_values=_contrast(picture, 120))


@_named
def a_frame_of_one_pixel(picture: Picture, random: np.random.Generator) -> Picture:
    grey = _contrast(picture, 150)
    return np.pad(picture[1:-1, 1:-1], 1, constant_values=grey)


@_named
def a_frame_of_six_pixels(picture: Picture, random: np.random.Generator) -> Picture:
    return np.pad(picture, 6, constant_values=_contrast(picture, 120))


@_named
def a_frame_drawn_within_the_border(picture: Picture, random: np.random.Generator) -> Picture:
    wide = Image.fromarray(np.pad(picture, 24, mode="edge"))
    line = Image.new("L", wide.size)
    box = (12, 12, wide.width - 13, wide.height - 13)
    ImageDraw.Draw(line).rectangle(box, outline=255, width=3)
    turned = line.rotate(random.uniform(-2, 2), Image.Resampling.BICUBIC)
    ink = Image.new("L", wide.size, _contrast(picture, 150))
    return np.asarray(Image.composite(ink, wide, turned))


def _painted(picture: Picture, part: tuple[slice, ...] | slice, grey: int) -> Picture:
    painted = picture.copy()
    painted[part] = grey
    return painted
