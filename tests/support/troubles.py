"""Photographs of a digit with what people get into the picture: a desk, a finger, punch holes.

The digits are those of the sample's validation set. Sizes, places, greys, textures, light, blur and
noise vary from picture to picture; the same seed gives the same pictures.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from mnist_sgd.data import mnist_sample

__all__ = ["TROUBLES", "photographs"]

Picture = NDArray[np.uint8]
Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]
Rng = np.random.Generator


@dataclass(frozen=True)
class Page:
    """A sheet with a digit on it, before anything else is in the picture.

    Attributes:
        seen: float32 `[height, width]`, greys from 0 to 255.
        digit: bool `[height, width]`, the digit's box with a margin.
        paper: the sheet's grey.
        scanned: there is neither noise nor slanting light.
    """

    seen: Plane
    digit: Mask
    paper: float
    scanned: bool

    @property
    def shorter(self) -> int:
        """The length of the shorter side."""
        height, width = self.seen.shape
        return int(min(height, width))


def photographs(
    trouble: str, count: int, *, seed: int = 0, longest: int = 800, blank: bool = False
) -> Iterator[tuple[Picture, bool]]:
    """Make photographs.

    Args:
        trouble: one of `TROUBLES`.
        count: how many; every second is of a three.
        seed: of all that varies.
        longest: the most pixels of a sheet's shorter side; the least are 160.
        blank: nothing is written on the page.

    Yields:
        uint8 `[height, width]`, and whether it is a three.
    """
    random = np.random.default_rng([seed, *trouble.encode()])
    _, valid = mnist_sample()
    rows = [np.flatnonzero(valid.labels == label) for label in (0, 1)]
    for number in range(count):
        digit = valid.images[random.choice(rows[number % 2])]
        scanned = "scanner" in trouble and random.random() < 0.7
        page = _page(digit, random, longest, scanned)
        if blank:
            page = replace(page, seen=np.full_like(page.seen, page.paper))
        yield _taken(TROUBLES[trouble](page, random), random, scanned), bool(number % 2)


def _log_uniform(low: float, high: float, random: Rng) -> float:
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def _page(digit: Picture, random: Rng, longest: int, scanned: bool) -> Page:
    shorter = _log_uniform(160, longest, random)
    height, width = random.permutation([int(shorter), int(shorter * random.uniform(1, 1.5))])
    side = int(shorter * random.uniform(0.2, 0.6))
    large = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    ink = np.asarray(large.rotate(random.uniform(-12, 12), Image.Resampling.BICUBIC)) / 255
    if random.random() < 0.5:  # a felt pen, whose edges are sharp
        ink = np.clip(2 * ink - 0.5, 0, 1)
    margin = int(shorter) // 16
    top, left = (int(random.integers(margin, n - margin - side)) for n in (height, width))
    shape = np.zeros((height, width), np.float32)
    shape[top : top + side, left : left + side] = ink
    rows, columns = np.nonzero(shape > 0.1)
    box, near = np.zeros(shape.shape, np.bool_), margin // 2
    box[rows.min() - near : rows.max() + near, columns.min() - near : columns.max() + near] = True
    dark, light = random.uniform(10, 70), random.uniform(160, 250)
    paper, pen = (light, dark) if scanned or random.random() < 0.8 else (dark, light)
    return Page(paper + np.float32(pen - paper) * shape, box, paper, scanned)


def _taken(seen: Plane, random: Rng, scanned: bool) -> Picture:
    """The light on the scene, the lens, the sensor and the file."""
    y, x = np.indices(seen.shape, np.float32) / max(seen.shape) - 0.5
    slant = random.uniform(0, 0.35) * (y * random.uniform(-1, 1) + x * random.uniform(-1, 1))
    noise, blur, quality = random.uniform(0.5, 6), random.uniform(0.3, 1.5), random.integers(50, 95)
    if scanned:
        return np.clip(seen, 0, 255).astype(np.uint8)
    lit = np.clip(seen * (1 + slant), 0, 255).astype(np.uint8)
    noisy = _blurred(lit, blur * min(seen.shape) / 300) + random.normal(0, noise, seen.shape)
    file = io.BytesIO()
    image = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
    image.save(file, "JPEG", quality=int(quality))
    return np.asarray(Image.open(file))


def _blurred(picture: Picture, radius: float) -> Plane:
    image = Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(image, np.float32)


def _other_grey(paper: float, low: int, high: int, random: Rng) -> float:
    greys = np.arange(low, high)
    return float(random.choice(greys[np.abs(greys - paper) >= 35]))


def plain(page: Page, random: Rng) -> Plane:
    """The sheet fills the picture."""
    return page.seen


def _on_desk(page: Page, seen: Plane, sheet: Mask, random: Rng) -> Plane:
    """A desk wherever the sheet is not: even, grained or of wood, and perhaps in its shadow."""
    desk = np.full(seen.shape, _other_grey(page.paper, 20, 250, random), np.float32)
    kind = random.integers(3)
    if kind == 1:
        desk += random.normal(0, random.uniform(3, 12), seen.shape).astype(np.float32)
    if kind == 2:
        down, across = random.permutation([1.0, 0.03]) * random.uniform(0.05, 0.4)
        y, x = np.indices(seen.shape, np.float32)
        desk += random.uniform(3, 10) * np.sin(down * y + across * x)
    if random.random() < 0.4:
        shade = _blurred(255 * sheet.astype(np.uint8), page.shorter / 60) / 255
        desk *= 1 - np.float32(random.uniform(0.1, 0.4)) * shade
    return np.where(sheet, seen, desk)


def _desk_beside(page: Page, random: Rng, edges: int) -> Plane:
    """A desk at so many edges of the sheet, each of which may be slanted."""
    first, step = int(random.integers(4)), int(random.integers(1, 4))
    sides = [first, (first + step) % 4] if edges == 2 else [(first + n) % 4 for n in range(edges)]
    room, slopes = [0, 0, 0, 0], [0.0, 0.0, 0.0, 0.0]
    for side in sides:  # top, left, bottom, right
        room[side] = max(2, int(page.seen.shape[side % 2] * _log_uniform(0.012, 0.4, random)))
        slopes[side] = float(np.tan(np.radians(random.choice([0, random.uniform(-5, 5)]))))
    wide = [
        room[side] + int(abs(slopes[side]) * page.seen.shape[1 - side % 2] / 2) for side in range(4)
    ]
    seen = np.pad(page.seen, ((wide[0], wide[2]), (wide[1], wide[3])), mode="edge")
    sheet = np.ones(seen.shape, np.bool_)
    for side in sides:
        down = np.rot90(seen, -side).shape
        edge = room[side] + slopes[side] * (np.arange(down[1]) - down[1] / 2)
        # np.rot90 turns the side that is meant to the top.
        np.rot90(sheet, -side)[np.arange(down[0])[:, None] < edge] = False
    return _on_desk(page, seen, sheet, random)


def desk_at_a_corner(page: Page, random: Rng) -> Plane:
    """A corner of the sheet is cut off, or lies beyond the picture."""
    reach = [int(n * random.uniform(0.06, 0.45)) for n in page.seen.shape]
    seen = np.pad(page.seen, ((reach[0], 0), (reach[1], 0)), mode="edge")
    y, x = np.indices(seen.shape, np.float32)
    sheet = y / (1.9 * reach[0]) + x / (1.9 * reach[1]) >= 1
    turn = int(random.integers(4))
    turned = _on_desk(page, np.rot90(seen, turn), np.rot90(sheet, turn), random)
    return np.rot90(turned, -turn)


def a_finger(page: Page, random: Rng) -> Plane:
    """It comes from a side, with round shading and perhaps a nail, and does not hide the digit."""
    down, across = np.indices(page.seen.shape, np.float32)
    while True:
        thick, long = (page.shorter * random.uniform(*part) for part in ((0.05, 0.13), (0.06, 0.3)))
        start, side = random.uniform(0, 1), int(random.integers(4))
        y, x = [(0, start), (start, 0), (1, start), (start, 1)][side]
        angle = np.radians(90 * side + random.uniform(-50, 50))
        y, x = down - y * page.seen.shape[0], across - x * page.seen.shape[1]
        along = y * np.cos(angle) + x * np.sin(angle)
        within = np.clip(along, -2 * page.shorter, long)
        away = np.hypot(y - within * np.cos(angle), x - within * np.sin(angle))
        finger = away <= thick
        if finger.any() and not np.any(finger & page.digit):
            break
    skin = _other_grey(page.paper, 60, 215, random)
    shaded = skin * (1 - random.uniform(0, 0.3) * (away / thick) ** 2)
    nail = np.hypot(along - 0.75 * long, away) < 0.55 * thick
    shaded = np.where(nail & (random.random() < 0.5), np.minimum(shaded + 20, 255), shaded)
    return np.where(finger, shaded, page.seen).astype(np.float32)


def punch_holes(page: Page, random: Rng) -> Plane:
    """One to four along a side; what is below the sheet is seen through them."""
    seen, turn = page.seen.copy(), int(random.integers(4))
    turned, digit = np.rot90(seen, turn), np.rot90(page.digit, turn)  # the holes are at the left
    radius = max(2.0, page.shorter * random.uniform(0.012, 0.035))
    away = radius + page.shorter * random.uniform(0.01, 0.06)
    count = int(random.integers(1, 5))
    pitch = min(len(turned) / (count + 0.5), page.shorter * random.uniform(0.2, 0.4))
    middle = len(turned) / 2 + random.uniform(-0.1, 0.1) * pitch
    grey = _other_grey(page.paper, 5, 255, random)
    y, x = np.indices(turned.shape)
    for number in range(count):
        centre = middle + pitch * (number - (count - 1) / 2)
        hole = (y - centre) ** 2 + (x - away) ** 2 <= radius**2
        if not np.any(hole & digit):
            turned[hole] = grey
    return seen


def a_scanners_black_line(page: Page, random: Rng) -> Plane:
    """At one side or two, at the border or near it, of the whole length or a part."""
    seen = page.seen.copy()
    for turn in random.permutation(4)[: random.choice([1, 1, 1, 2])]:
        turned = np.rot90(seen, int(turn))
        thick = int(random.integers(1, max(3, page.shorter // 60)))
        offset, share = int(random.choice([0, 0, 0, 1, 3])), random.uniform(0.5, 1.5)
        length = min(len(turned), int(len(turned) * share))
        start = int(random.integers(0, len(turned) - length + 1))
        turned[start : start + length, offset : offset + thick] = random.uniform(0, 90)
    return seen


def the_edge_of_a_shadow(page: Page, random: Rng) -> Plane:
    """It falls anywhere in the middle of the sheet, also across the digit, in any direction."""
    height, width = page.seen.shape
    y, x = np.indices(page.seen.shape, np.float32)
    angle = random.uniform(0, 2 * np.pi)
    down, across = y - height * random.uniform(0.2, 0.8), x - width * random.uniform(0.2, 0.8)
    within = np.cos(angle) * down + np.sin(angle) * across
    softness = page.shorter * _log_uniform(0.003, 0.03, random)
    shadow = 1 / (1 + np.exp(-np.clip(within / softness, -50, 50)))
    return np.asarray(page.seen * (1 - random.uniform(0.2, 0.6) * shadow), np.float32)


TROUBLES: dict[str, Callable[[Page, Rng], Plane]] = {
    "plain": plain,
    "a desk at one edge": partial(_desk_beside, edges=1),
    "a desk at two edges": partial(_desk_beside, edges=2),
    "a desk at three edges": partial(_desk_beside, edges=3),
    "a desk all round": partial(_desk_beside, edges=4),
    "a desk at a corner": desk_at_a_corner,
    "a finger": a_finger,
    "punch holes": punch_holes,
    "a scanner's black line": a_scanners_black_line,
    "the edge of a shadow": the_edge_of_a_shadow,
}
"""How each gets into the picture of a page."""
