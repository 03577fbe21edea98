"""The even regions of a picture: sheets and desks, with what is written on them or lies on them.

Edges, where the grey changes by more than the noise, divide a picture into regions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.digits.connected_components import (
    bounding_box,
    bounding_boxes,
    label_components,
)

Mask = NDArray[np.bool_]
Plane = NDArray[np.float32]

LEAST_STEP = 10
"""Grey levels within 3 x 3 pixels that are an edge, or three times what most of the picture has."""
FLANK = 0.55
"""An edge is where the step has this share of the largest step next to it, or more."""
LEAST_REGION = 1 / 20
"""A sheet's own region has this share of the picture, or more."""
LEAST_WRITING = 1 / 12
"""Writing is at least so long, as a share of the picture's shorter side."""
LEAST_ON_SHEET = 1 / 20
"""The same, of the sheet's."""


@dataclass(frozen=True)
class Region:
    """An even region that something is written on, or lies on.

    Attributes:
        even: bool `[height, width]`, the region.
        around: what it does not enclose.
        inside: what it encloses and is long enough to be writing.
        level: its grey.
    """

    even: Mask
    around: Mask
    inside: Mask
    level: float

    @property
    def filled(self) -> Mask:
        """The region with all that it encloses."""
        return ~self.around

    def encloses(self, other: "Region") -> bool:
        """Whether another region lies in it."""
        return not np.any(other.even & (self.around | self.even))


def find_regions(small: Plane) -> list[Region]:
    """Find the regions that enclose something, largest first.

    Args:
        small: float32 `[height, width]`, greys from 0 to 255.
    """
    labels = label_components(_is_even(small))
    sizes = np.bincount(labels[labels >= 0])
    found = []
    for label in np.argsort(-sizes, kind="stable"):
        if sizes[label] < LEAST_REGION * small.size:
            break
        even = labels == label
        around, inside = _divide(~even)
        if inside.any():
            found.append(Region(even, around, inside, float(np.median(small[even]))))
    return found


def _is_even(small: Plane) -> Mask:
    smooth: Plane = _over_3x3(small, np.add) / np.float32(9)
    steps: Plane = _over_3x3(smooth, np.maximum) - _over_3x3(smooth, np.minimum)
    least = max(LEAST_STEP, 3 * float(np.percentile(steps, 25)))
    # The flanks of a steep edge are even too, or they would join what is near to it.
    return np.asarray(steps < np.maximum(least, FLANK * _over_3x3(steps, np.maximum)))


def _over_3x3(plane: Plane, function: np.ufunc) -> Plane:
    """Join the 3 x 3 pixels around each by a function of two."""
    padded = np.pad(plane, 1, mode="edge")
    rows = function(function(padded[:-2], padded[1:-1]), padded[2:])
    joined: Plane = function(function(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    return joined


def _divide(mask: Mask) -> tuple[Mask, Mask]:
    """What of a mask hangs together with the border, and what else is long enough for writing."""
    labels = label_components(mask)
    outer = np.unique(np.concatenate([band.ravel() for band in near_border(labels)]))
    around = np.isin(labels, outer[outer >= 0])
    inside = np.isin(labels, long_components(labels)) & ~around
    if not inside.any() and not around.all():
        least = LEAST_ON_SHEET * min(labels[bounding_box(~around)].shape)
        inside = np.isin(labels, long_components(labels, least)) & ~around
    return around, inside


def near_border(picture: NDArray[np.generic]) -> tuple[NDArray[np.generic], ...]:
    """The pixels near each side, top, left, bottom and right: `[depth, length]`."""
    near = max(1, min(picture.shape) // 64)
    return picture[:near], picture[:, :near].T, picture[-near:], picture[:, -near:].T


def long_components(labels: NDArray[np.intp], least: float | None = None) -> list[int]:
    """The numbers of the parts whose box is long enough for writing, or has this length."""
    top, bottom, left, right = bounding_boxes(labels)
    least = LEAST_WRITING * min(labels.shape) if least is None else least
    long = np.maximum(bottom - top, right - left) >= least
    return np.flatnonzero(long).tolist()
