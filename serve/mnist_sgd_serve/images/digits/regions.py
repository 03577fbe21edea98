"""Homogeneous regions of a picture: sheets and desks, with what is written or lies on them.

Regions are separated by edges, where the grey changes by more than the noise.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.digits.connected_components import (
    bounding_box,
    bounding_boxes,
    box_lengths,
    label_components,
)
from mnist_sgd_serve.images.pixels import over_3x3

Mask = NDArray[np.bool_]
Plane = NDArray[np.float32]

LEAST_STEP = 10
"""Minimum range within 3 x 3 pixels at an edge, in grey levels; or 3 times the lower quartile."""
FLANK = 0.55
"""At an edge, the range is at least this fraction of the largest range next to it."""
LEAST_REGION = 1 / 20
"""Minimum area of a sheet's region, as a fraction of the picture."""
LEAST_WRITING = 1 / 12
"""Minimum length of writing, as a fraction of the picture's shorter side."""
LEAST_ON_SHEET = 1 / 20
"""The same as a fraction of the sheet's shorter side."""


@dataclass(frozen=True)
class Region:
    """A homogeneous region that encloses something.

    Attributes:
        even: bool `[height, width]`, the region itself.
        around: bool `[height, width]`, what it does not enclose.
        inside: bool `[height, width]`, what it encloses and is long enough for writing.
        level: its median grey.
    """

    even: Mask
    around: Mask
    inside: Mask
    level: float

    @property
    def filled(self) -> Mask:
        """The region with its holes filled."""
        return ~self.around

    def encloses(self, other: "Region") -> bool:
        """Whether another region lies in its holes."""
        return not np.any(other.even & (self.around | self.even))


def find_regions(small: Plane) -> list[Region]:
    """Find the regions that enclose something in a picture `[height, width]`, largest first."""
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
    smooth: Plane = over_3x3(small, np.add) / np.float32(9)
    steps: Plane = over_3x3(smooth, np.maximum) - over_3x3(smooth, np.minimum)
    least = max(LEAST_STEP, 3 * float(np.percentile(steps, 25)))
    # The flanks of a steep edge count as even, or edges near each other would merge.
    return np.asarray(steps < np.maximum(least, FLANK * over_3x3(steps, np.maximum)))


def _divide(mask: Mask) -> tuple[Mask, Mask]:
    """Split a mask into the components near the border and the others long enough for writing."""
    labels = label_components(mask)
    outer = np.unique(np.concatenate([band.ravel() for band in near_border(labels)]))
    around = np.isin(labels, outer[outer >= 0])
    inside = np.isin(labels, long_components(labels)) & ~around
    if not inside.any() and not around.all():
        least = LEAST_ON_SHEET * min(labels[bounding_box(~around)].shape)
        inside = np.isin(labels, long_components(labels, least)) & ~around
    return around, inside


def near_border(picture: NDArray[np.generic]) -> tuple[NDArray[np.generic], ...]:
    """Return the pixels near the top, left, bottom and right side: `[depth, length]` each."""
    near = max(1, min(picture.shape) // 64)
    return picture[:near], picture[:, :near].T, picture[-near:], picture[:, -near:].T


def long_components(labels: NDArray[np.intp], least: float | None = None) -> list[int]:
    """Return the labels of components at least so long; by default, long enough for writing."""
    least = LEAST_WRITING * min(labels.shape) if least is None else least
    return np.flatnonzero(box_lengths(bounding_boxes(labels)) >= least).tolist()
