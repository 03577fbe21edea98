"""Decide whether foreground may consist of strokes on paper, as all writing does.

A blank sheet on a desk does not; nor does the edge of a desk or a shadow, a finger, a fold, punch
holes, a reflection, a pattern. A bold character does: it is not convex, or has paper in it, or is
long.
"""

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.digits.clutter import LEAST_SHARE, MARGIN as PUNCHED
from mnist_sgd_serve.images.digits.connected_components import (
    bounding_box,
    bounding_boxes,
    box_distances,
    box_lengths,
    label_components,
)
from mnist_sgd_serve.images.digits.shapes import (
    CONVEX,
    is_convex,
    is_solid,
    thickness,
    without_holes,
)

Mask = NDArray[np.bool_]

MOST_ENDS = 6
"""A tightly cropped character other than # touches the border at no more places; a pattern does."""
FULL, SQUARE = 0.95, 0.45
"""Bare paper covers this fraction of an empty sheet, and a square of this fraction of its side."""
SMALL, ROUND = 0.1, 0.9
"""A punch hole is smaller than this fraction of the picture's shorter side; having few pixels, it
may cover only the other fraction of its convex hull."""
BLOB, THICKER = 0.33, 3
"""Minimum width of a blob: as a fraction of the length of all ink; in stroke thicknesses."""
BEFORE_A_SIDE = 0.9
"""At least this fraction of a desk, finger or shadow extends straight to a side of the picture."""
NARROW = 2.2
"""A tightly cropped 1 or l makes a picture with a larger aspect ratio."""
THIN, STRAIGHT = 1 / 8, 0.87
"""Maximum width of a fold, as a fraction of its length; or minimum fraction of its convex hull that
a band covers: the edge of a shadow is rough."""
FAR, FAR_OF_MANY, FAR_OF_SPECKS = 4.0, 1.7, 0.7
"""Maximum distance between components of a character, in lengths of the longest: for two; for more;
and for many small ones, or two holes in the margin."""
SPECK = 1 / 4
"""Small components are shorter than this fraction of all ink."""
ALL_OVER, LEAST_PIECES = 0.8, 6
"""A pattern spans at least this fraction of both sides, and has at least this many pieces."""
LONGEST, COMPACT, MOST_INK = 2.2, 0.6, 0.75
"""A piece of a pattern: maximum aspect ratio, minimum fill of its bounding box; minimum fraction of
the ink that is in pieces."""
MARGIN = 1 / 60
"""Erosion, as a fraction of the picture's shorter side, that separates touching pieces."""


def is_area(mask: Mask) -> bool:
    """Whether the ink is one compact area, such as a blank sheet."""
    box = mask[bounding_box(mask)]
    filled = without_holes(box)
    return (
        is_solid(box, SQUARE)
        and is_convex(filled, ROUND if max(box.shape) < SMALL * min(mask.shape) else CONVEX)
        and int(np.count_nonzero(box)) >= FULL * int(np.count_nonzero(filled))
    )


def has_blob(mask: Mask) -> bool:
    """Whether the ink is much wider in one place than its strokes, as under a reflection."""
    box = mask[bounding_box(mask)]
    length = max(box.shape)
    depth = round(BLOB * length / 2)
    padded = np.pad(box, 2 * depth + 1)
    blob = _erode(padded, depth)
    if not blob.any():
        return False
    strokes = padded & _erode(~blob, round(1.2 * depth))
    if not strokes.any():
        return False
    parts = label_components(strokes)
    lengths = box_lengths(bounding_boxes(parts))
    longest = int(np.argmax(lengths))
    thin = THICKER * thickness(parts == longest) <= 2 * depth
    return bool(thin and lengths[longest] >= BLOB * length)


def is_around_paper(mask: Mask) -> bool:
    """Whether the ink surrounds a sheet or reaches into it: a desk, a finger, a shadow.

    It extends straight to the sides of the picture, and is convex or leaves a convex sheet.
    """
    ahead = np.zeros(mask.shape, np.bool_)
    for turn in range(4):
        np.rot90(ahead, turn)[:] |= np.logical_and.accumulate(np.rot90(mask, turn), 0)
    if np.count_nonzero(ahead) < BEFORE_A_SIDE * np.count_nonzero(mask):
        return False
    return is_convex(mask) or is_convex(~mask)


def runs_across(mask: Mask) -> bool:
    """Whether the ink is one or more bands between sides of the picture, such as folds.

    A single band may be a tightly cropped character if it touches all four sides, or if the picture
    is narrow.
    """
    labels = label_components(mask)
    found = bounding_boxes(labels)
    lengths = box_lengths(found)
    long = np.flatnonzero(2 * lengths >= lengths.max())
    top, bottom, left, right = found[:, long]
    ends = (top == 0, bottom == mask.shape[0], left == 0, right == mask.shape[1])
    sides = np.sum(ends, axis=0)
    narrow = max(mask.shape) > NARROW * min(mask.shape)
    if np.any(sides < 2) or (len(long) == 1 and (narrow or sides[0] == 4)):
        return False
    return all(_is_band(labels == number) for number in long[:MOST_ENDS].tolist())


def _is_band(part: Mask) -> bool:
    across, along = np.linalg.eigvalsh(np.cov(np.nonzero(part)))  # variances
    return bool(across <= THIN**2 * along) or is_convex(part, STRAIGHT)


def is_scattered(mask: Mask) -> bool:
    """Whether the longest component is far from all others, as with punch holes and specks."""
    found = bounding_boxes(label_components(mask))
    lengths = box_lengths(found)
    longest = int(np.argmax(lengths))
    others = np.delete(box_distances(found, longest), longest) / lengths[longest]
    margin = round(PUNCHED * min(mask.shape))
    if others.size < 2 and mask[margin:-margin, margin:-margin].any():  # a colon consists of two
        return bool(np.any(others > FAR))
    if others.size == 0:
        return False
    least = min(SPECK * max(mask[bounding_box(mask)].shape), LEAST_SHARE * min(mask.shape))
    return bool(others.min() > (FAR_OF_SPECKS if lengths[longest] < least else FAR_OF_MANY))


def meets_border_often(mask: Mask) -> bool:
    """Whether the ink touches the border at more places than a tightly cropped character."""
    around = np.concatenate([mask[0], mask[1:, -1], mask[-1, -2::-1], mask[-2:0:-1, 0]])
    return int(np.count_nonzero(around & ~np.roll(around, 1))) > MOST_ENDS


def has_pieces_all_over(mask: Mask) -> bool:
    """Whether most of the ink is in compact pieces all over the picture: dots, squares, blots."""
    spans = mask[bounding_box(mask)].shape
    if any(span < ALL_OVER * side for span, side in zip(spans, mask.shape, strict=True)):
        return False
    return any(_has_pieces(mask, margin) for margin in (0, round(MARGIN * min(mask.shape))))


def _has_pieces(mask: Mask, margin: int) -> bool:
    pieces = label_components(_erode(mask, margin))
    sizes = np.bincount(pieces[pieces >= 0])
    if len(sizes) < LEAST_PIECES:
        return False
    top, bottom, left, right = bounding_boxes(pieces)
    height, width = bottom - top, right - left
    share = sizes / (height * width)
    compact = np.maximum(height, width) <= LONGEST * np.minimum(height, width)
    compact &= share >= COMPACT
    ink = share * (height + 2 * margin) * (width + 2 * margin)
    enough = float(ink[compact].sum()) >= MOST_INK * np.count_nonzero(mask)
    return bool(enough and np.count_nonzero(compact) >= LEAST_PIECES)


def _erode(mask: Mask, depth: int) -> Mask:
    """Erode a mask by a square that reaches `depth` to each side, less than half of its length."""
    for axis in (0, 1):
        lines = np.moveaxis(mask, axis, 0)
        ends = np.pad(lines.cumsum(0, dtype=np.int32), ((1, 0), (0, 0)))
        full = ends[2 * depth + 1 :] - ends[: -2 * depth - 1] == 2 * depth + 1
        mask = np.moveaxis(np.pad(full, ((depth, depth), (0, 0))), 0, axis)
    return mask
