"""Find the sheet of paper on a picture, without a desk, a finger, a scanner's line or a frame.

Writing is enclosed by the homogeneous region of its paper; what surrounds the sheet or runs along
the border is not. So the sheet is a region with its holes filled, if one of them is large enough.
A character that touches the border is not enclosed: then the whole picture is the sheet. So it is
if the surroundings of the region are the same paper, or were drawn with the same pen.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.digits.connected_components import (
    bounding_box,
    dilate,
    label_components,
)
from mnist_sgd_serve.images.digits.regions import Region, find_regions, long_components, near_border
from mnist_sgd_serve.images.digits.shapes import (
    is_convex,
    is_quadrilateral,
    share_in_hull,
    thickness,
)

Mask = NDArray[np.bool_]
Plane = NDArray[np.float32]

LEAST_SIDE = 40
"""A smaller picture is all sheet: a stroke there is as wide as a strip of desk."""
LONGEST_SIDE = 256
"""Regions are searched on a picture reduced to at most this size."""
ALIKE = 0.3
"""Greys count as equal if they differ by less than this fraction of the contrast."""
WHOLE_SIDE = 0.9
"""No stroke of a character covers this fraction of a side if something else is off the border."""
PART_OF_A_SIDE = 0.35
"""A finger covers a smaller fraction of a side; paper next to a tightly cropped P or b a larger."""
NEARLY_CONVEX = 0.85
"""A sheet covers this fraction of its convex hull, even with a finger on it; paper around a
character that touches the border covers less."""
NEAR = 0.3
"""Maximum distance between components of one character, as a fraction of its length."""


class Unclear(Exception):  # noqa: N818  (a result, not an error)
    """Something at the border of a photograph may or may not belong to the character."""


def find_sheet(grey: NDArray[np.uint8]) -> Mask | None:
    """Find the pixels of the sheet.

    Args:
        grey: uint8 `[height, width]`.

    Returns:
        bool `[height, width]`, or None if all are on the sheet.

    Raises:
        Unclear: something at the border of a photograph may or may not belong to the character.
    """
    if min(grey.shape) < LEAST_SIDE:
        return None
    factor = -(-max(grey.shape) // LONGEST_SIDE)
    small = _reduced(grey, factor)
    chosen: Region | None = None
    for region in find_regions(small):
        if chosen is None or _is_rather_the_sheet(region, chosen):
            chosen = region
    if chosen is None or not chosen.around.any() or not _is_sheet(small, chosen, _is_drawn(grey)):
        return None
    sheet = np.kron(~dilate(chosen.around, 1), np.ones((factor, factor), np.bool_))
    return np.ascontiguousarray(sheet[: grey.shape[0], : grey.shape[1]])


def _reduced(grey: NDArray[np.uint8], factor: int) -> Plane:
    from PIL import Image

    return np.asarray(Image.fromarray(grey).reduce(factor), np.float32)


def _is_drawn(grey: NDArray[np.uint8]) -> bool:
    """Whether half of the picture has a single grey, as in no photograph."""
    return 2 * int(np.bincount(grey.ravel()).max()) > grey.size


def _is_rather_the_sheet(region: Region, other: Region) -> bool:
    """Of two nested regions, prefer the inner one if it is a sheet and not a character."""
    if other.encloses(region):
        return is_quadrilateral(region.filled)
    return region.encloses(other) and not is_quadrilateral(other.filled)


def _is_sheet(small: Plane, region: Region, drawn: bool) -> bool:
    """Whether the surroundings of a region are neither its paper nor drawn with its pen."""
    if not is_convex(region.filled, NEARLY_CONVEX):
        return False
    departure = np.abs(small - region.level)
    pen = _Stroke.of(small, departure, _strong(departure, region.inside))
    near = ALIKE * abs(pen.grey - region.level)
    paper = np.count_nonzero(departure[region.around] < near)
    if 2 * paper > np.count_nonzero(region.around):  # lines of a ruled page, or a frame
        return is_quadrilateral(region.filled)
    parts = _parts_around(departure, region.around)
    strokes = [(part, _Stroke.of(small, departure, part)) for part in parts]
    alike = [(part, stroke) for part, stroke in strokes if abs(stroke.grey - pen.grey) < near]
    drawn_alike = [one for one, s in alike if _is_part_of_the_character(one, s, pen, region)]
    if drawn_alike:
        if drawn or _sides_along(np.any(drawn_alike, axis=0), 0.01) > 2:  # tightly cropped
            return False
        raise Unclear
    if not alike or is_quadrilateral(region.filled):
        return True
    if len(alike) > 1:  # the background of a bold character, as grey as its counters
        return False
    (part, _), *_ = alike
    if is_convex(region.filled):
        return _sides_along(part, WHOLE_SIDE) <= 2
    return not _sides_along(part, PART_OF_A_SIDE)


@dataclass(frozen=True)
class _Stroke:
    """Grey and thickness of the strongest strokes of a mask."""

    grey: float
    thickness: float

    @classmethod
    def of(cls, small: Plane, departure: Plane, mask: Mask) -> "_Stroke":
        full = mask & (departure >= np.percentile(departure[mask], 80))
        return cls(float(np.median(small[full])), thickness(mask))


def _strong(departure: Plane, mask: Mask) -> Mask:
    """Remove the blurred edges of a mask."""
    return np.asarray(mask & (departure >= np.percentile(departure[mask], 90) / 2))


def _parts_around(departure: Plane, around: Mask) -> list[Mask]:
    """Return the components around a sheet, without blurred edges, that are as long as strokes."""
    things = label_components(around)
    strong = np.zeros(around.shape, np.bool_)
    for number in range(int(things.max()) + 1):
        strong |= _strong(departure, things == number)
    parts = label_components(strong)
    return [parts == number for number in long_components(parts)]


def _is_part_of_the_character(part: Mask, stroke: _Stroke, pen: _Stroke, region: Region) -> bool:
    """Whether a component of the pen's grey may be a stroke, and not a desk cut off by an edge."""
    return (
        0.5 < stroke.thickness / pen.thickness < 2
        and not _sides_along(part, WHOLE_SIDE)
        and (share_in_hull(part, region.filled) > 0.5 or not is_convex(region.filled))
        and _distance(part, region.inside) < NEAR * _length(region.inside)
    )


def _sides_along(part: Mask, share: float) -> int:
    """Count the sides of the picture of which the component covers at least this fraction."""
    return sum(bool(np.mean(band.any(0)) >= share) for band in near_border(part))


def _distance(part: Mask, writing: Mask) -> float:
    gaps = [
        max(0, one.start - other.stop, other.start - one.stop)
        for one, other in zip(bounding_box(part), bounding_box(writing), strict=True)
    ]
    return float(np.hypot(*gaps))


def _length(mask: Mask) -> int:
    return int(max(mask[bounding_box(mask)].shape))
