"""Binarise a picture: find its ink, and how strong it is at each pixel.

The background is estimated first; ink is what differs from it by more than its noise. Clutter next
to the character is removed; see `clutter`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.digits.background import Background, find_background, rim
from mnist_sgd_serve.images.digits.clutter import find_clutter, remove_specks
from mnist_sgd_serve.images.digits.connected_components import bounding_box, dilate
from mnist_sgd_serve.images.digits.sheet import LEAST_SIDE
from mnist_sgd_serve.images.errors import BlankImage
from mnist_sgd_serve.images.pixels import over_3x3

Mask = NDArray[np.bool_]
Plane = NDArray[np.float64]

# Thresholds as fractions of the ink's strength, chosen on MNIST's threes and sevens, upscaled with
# several filters, as JPEG files, and as simulated photographs with slanting light, noise and
# shadows. The soft edge of a stroke is ink in a drawing, but blur and shadow in a photograph.
DRAWN_CUT, PHOTOGRAPHED_CUT = 0.12, 0.45
FULL_INK = 0.9
"""In a photograph, this fraction of the ink's strength counts as full ink."""
LEAST_INK, LEAST_CONTRAST = 0.02, 0.06
"""Minimum ink of a pixel; minimum strength of all ink."""
LEAST_PIXELS = 8
"""Minimum number of foreground pixels; fewer are specks."""
MOST_INK = 0.85
"""Maximum fraction of foreground pixels; more show no shape."""
NEAR = 0.02
"""Distance to the border, as a fraction of the shorter side, of what runs along it."""


@dataclass(frozen=True)
class Foreground:
    """The foreground of a picture, its ink.

    Attributes:
        mask: bool `[height, width]`, the foreground.
        shares: float64 `[h, w]`, the ink in its bounding box, 0 paper and 1 full ink.
        inverted: the ink is dark on light paper.
        paper: the background.
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
        sheet: bool `[height, width]`, the pixels to use, with paper at their border; default all.
        cropped: much of the border may be ink.

    Raises:
        BlankImage: it is blank or all ink.
    """
    paper = find_background(grey, sheet, cropped=cropped)
    # The polarity is the side of the paper's grey with the largest squared deviations.
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
    """Ink by pixel, and the threshold above which a pixel is foreground.

    Attributes:
        values: float64 `[height, width]`, ink from 0 to 1; in a photograph, averaged over 3 x 3.
        stands_out: bool `[height, width]`, where that is above the noise of the paper.
        strength: mean strength of the ink.
        cut: the threshold as a fraction of the strength.
    """

    values: Plane
    stands_out: Mask
    strength: float
    cut: float

    @classmethod
    def of(cls, ink: Plane, room: Plane | float, paper: Background) -> "_Evidence":
        # A 3 x 3 mean has a third of the noise: 1.75 standard deviations are about 5 of the mean's.
        values, deviations = (over_3x3(ink, np.add) / 9, 1.75) if paper.photographed else (ink, 5)
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
        """Return the foreground; with `least`, also faint ink that counts next to darker ink."""
        cut = self.cut / 2 if least else self.cut
        return np.asarray(self.stands_out & (self.values > cut * self.strength))


def _near_border(grey: NDArray[np.uint8], sheet: Mask | None) -> tuple[Mask, Mask]:
    """Return what is near the border of the picture or sheet, and the outermost pixels."""
    near = max(2, round(NEAR * min(grey.shape)))
    if sheet is not None:
        return rim(sheet, near), rim(sheet)
    masks = np.ones((2, *grey.shape), np.bool_)
    masks[0, near:-near, near:-near] = False
    masks[1, 1:-1, 1:-1] = False
    return masks[0], masks[1]


def _otsu(values: Plane) -> float:
    """Return Otsu's threshold (1979) of values from 0 to 1."""
    counts = np.bincount(np.minimum(values * 64, 63).astype(np.intp), minlength=64)
    below = np.cumsum(counts)[:-1]
    above = len(values) - below
    sums = np.cumsum(counts * np.arange(64))
    distance = sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return float(1 + np.argmax(below * above * distance**2)) / 64
