"""The ink on a picture, as shares of full ink.

The paper is found first, then what departs from it by more than its noise. What lies next to the
drawn thing is left out; see `strays`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.digits.background import Background, find_background, rim
from mnist_sgd_serve.images.digits.clutter import find_clutter, remove_specks
from mnist_sgd_serve.images.digits.connected_components import bounding_box, dilate
from mnist_sgd_serve.images.digits.sheet import LEAST_SIDE
from mnist_sgd_serve.images.errors import BlankImage

Mask = NDArray[np.bool_]
Plane = NDArray[np.float64]

# The cuts are shares of the ink's strength. They were chosen on MNIST's threes and sevens,
# enlarged with several filters, as JPEG files, and as simulated photographs with slanting light,
# noise and shadows. A drawing's soft edge is ink; a photograph's is blur and shadow.
DRAWN_CUT, PHOTOGRAPHED_CUT = 0.12, 0.45
FULL_INK = 0.9
"""In a photograph, this share of the ink's strength and all above it is full ink."""
LEAST_INK, LEAST_CONTRAST = 0.02, 0.06
"""No pixel below the first is ink, and no picture whose ink is weaker than the second has any."""
LEAST_PIXELS = 8
"""A picture with fewer pixels of ink shows specks."""
MOST_INK = 0.85
"""A picture with a larger share of ink shows no shape."""
NEAR = 0.02
"""What is so near to the border, as a share of the shorter side, runs along it."""


@dataclass(frozen=True)
class Foreground:
    """The ink on a picture.

    Attributes:
        mask: bool `[height, width]`, where it is.
        shares: float64 `[h, w]`, the tight box around it: 0 paper, 1 full ink.
        inverted: it is dark on light paper.
        paper: what it is on.
    """

    mask: Mask
    shares: Plane
    inverted: bool
    paper: Background


def find_foreground(
    grey: NDArray[np.uint8], sheet: Mask | None = None, *, cropped: bool = False
) -> Foreground:
    """Find the ink on a picture.

    Args:
        grey: uint8 `[height, width]`, ink of either polarity.
        sheet: bool `[height, width]`, the pixels to look at, with paper at their border; all, if
            there is none.
        cropped: much of the border may be ink.

    Raises:
        BlankImage: it is blank, or nothing but ink.
    """
    paper = find_background(grey, sheet, cropped=cropped)
    # What departs most from the paper is the ink, whichever side of it.
    departure = grey.astype(np.float64) - paper.level
    if sheet is not None:
        departure[~sheet] = 0
    inverted = bool(np.sum(departure * np.abs(departure)) < 0)
    room = np.maximum(paper.level if inverted else 255 - paper.level, 1)
    ink = np.clip((-departure if inverted else departure) / room, 0, 1)
    evidence = _Evidence.of(ink, room, paper)
    large = min(grey.shape) >= LEAST_SIDE
    if large:
        strays = find_clutter(
            evidence.mask(least=True),
            evidence.values,
            *_near_border(grey, sheet),
            sheet=sheet is not None,
        )
        if strays.any():
            ink[dilate(strays, 2)] = 0
            evidence = _Evidence.of(ink, room, paper)
    mask = evidence.mask()
    if np.mean(mask) > MOST_INK:
        raise BlankImage("the image is nothing but ink: leave some paper around what is drawn")
    mask = remove_specks(mask, evidence.values, lines=large)
    if np.count_nonzero(mask) < LEAST_PIXELS:
        raise BlankImage("nothing is drawn on the image but specks")
    if paper.photographed:
        ink = np.minimum(ink / (FULL_INK * evidence.strength), 1)
    return Foreground(mask, (ink * mask)[bounding_box(mask)], inverted, paper)


@dataclass(frozen=True)
class _Evidence:
    """How sure it is of each pixel that there is ink.

    Attributes:
        values: float64 `[height, width]`, ink as shares; in a photograph means of 3 x 3 pixels.
        stands_out: bool `[height, width]`, where they are above the paper's noise.
        strength: of the ink, in the mean.
        cut: what is above this share of the strength is ink.
    """

    values: Plane
    stands_out: Mask
    strength: float
    cut: float

    @classmethod
    def of(cls, ink: Plane, room: Plane | float, paper: Background) -> "_Evidence":
        # A mean over 3x3 pixels has a third of the noise: 1.75 deviations of one are 5 of it.
        values, deviations = (_blur(ink), 1.75) if paper.photographed else (ink, 5)
        floor = np.broadcast_to(np.maximum(deviations * paper.noise / room, LEAST_INK), ink.shape)
        stands_out = values > floor
        candidates = values[stands_out]
        if candidates.size == 0:
            raise BlankImage("nothing is drawn on the image: it is blank")
        strength = float(np.mean(candidates[candidates >= _otsu(candidates)]))
        if strength < max(LEAST_CONTRAST, 1.5 * float(np.mean(floor[stands_out]))):
            raise BlankImage("nothing is drawn on the image that stands out from the paper")
        cut = PHOTOGRAPHED_CUT if paper.photographed else DRAWN_CUT
        return cls(values, stands_out, strength, cut)

    def mask(self, *, least: bool = False) -> Mask:
        """Where there is ink; or, where, next to darker ink, there may be some."""
        cut = self.cut / 2 if least else self.cut
        return np.asarray(self.stands_out & (self.values > cut * self.strength))


def _near_border(grey: NDArray[np.uint8], sheet: Mask | None) -> tuple[Mask, Mask]:
    """What is near the border of the picture or sheet, and the pixels at it."""
    near = max(2, round(NEAR * min(grey.shape)))
    if sheet is not None:
        return rim(sheet, near), rim(sheet)
    masks = np.ones((2, *grey.shape), np.bool_)
    masks[0, near:-near, near:-near] = False
    masks[1, 1:-1, 1:-1] = False
    return masks[0], masks[1]


def _otsu(values: Plane) -> float:
    """Split values in 0 to 1 in two classes, as far apart as they can be: Otsu, 1979."""
    counts = np.bincount(np.minimum(values * 64, 63).astype(np.intp), minlength=64)
    below = np.cumsum(counts)[:-1]
    above = len(values) - below
    sums = np.cumsum(counts * np.arange(64))
    distance = sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return float(1 + np.argmax(below * above * distance**2)) / 64


def _blur(values: Plane) -> Plane:
    """Average the 3x3 pixels around each."""
    padded = np.pad(values, 1, mode="edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    blurred: Plane = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9
    return blurred
