"""Whether ink may consist of strokes on paper, as all writing does.

A blank sheet on a desk does not, nor do the edge of a desk or of a shadow, a finger, a fold, punch
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
"""A character that is cropped tight meets the border at no more places, except for #; a pattern
does at many."""
FULL, SQUARE = 0.95, 0.45
"""Bare paper covers this share of a sheet on which nothing was found; and a square of bare paper is
so long, as a share of the sheet's longer side."""
SMALL, ROUND = 0.1, 0.9
"""A punch hole is smaller than this share of the picture's shorter side; as it has few pixels, it
covers as little as the other share of its convex hull."""
BLOB, THICKER = 0.33, 3
"""A blob is as wide as this share of all ink is long, and so many times as wide as a stroke."""
BEFORE_A_SIDE = 0.9
"""This share of a desk, a finger or a shadow lies straight before a side of the picture."""
NARROW = 2.2
"""A picture of a 1 or l that is cropped tight is more than so many times as long as wide."""
THIN, STRAIGHT = 1 / 8, 0.87
"""A fold is thinner than this share of its length; or a band covers this share of its convex hull:
the edge of a shadow is rough."""
FAR, FAR_OF_MANY, FAR_OF_SPECKS = 4.0, 1.7, 0.7
"""How far apart two parts of a character may be, in lengths of the longest; more parts; and many
small ones, or two holes in the margin."""
SPECK = 1 / 4
"""Small parts are shorter than this share of all ink."""
ALL_OVER, LEAST_PIECES = 0.8, 6
"""A pattern covers this share of either side of the picture, and has so many pieces."""
LONGEST, COMPACT, MOST_INK = 2.2, 0.6, 0.75
"""A piece of a pattern is at most so many times as long as wide, and fills this share of its box;
this share of a pattern's ink is in pieces."""
MARGIN = 1 / 60
"""Pieces that meet at their corners are told apart once this share of the picture's shorter side is
taken off all round."""


def is_area(mask: Mask) -> bool:
    """Whether ink is one compact area, such as a blank sheet."""
    box = mask[bounding_box(mask)]
    filled = without_holes(box)
    return (
        is_solid(box, SQUARE)
        and is_convex(filled, ROUND if max(box.shape) < SMALL * min(mask.shape) else CONVEX)
        and int(np.count_nonzero(box)) >= FULL * int(np.count_nonzero(filled))
    )


def has_blob(mask: Mask) -> bool:
    """Whether ink is much wider in one place than its strokes are, as under a reflection."""
    box = mask[bounding_box(mask)]
    length = max(box.shape)
    depth = round(BLOB * length / 2)
    padded = np.pad(box, 2 * depth + 1)
    blob = _deep(padded, depth)
    if not blob.any():
        return False
    strokes = padded & _deep(~blob, round(1.2 * depth))
    if not strokes.any():
        return False
    parts = label_components(strokes)
    lengths = _lengths(bounding_boxes(parts))
    longest = int(np.argmax(lengths))
    thin = THICKER * thickness(parts == longest) <= 2 * depth
    return bool(thin and lengths[longest] >= BLOB * length)


def is_around_paper(mask: Mask) -> bool:
    """Whether ink is what surrounds a sheet or reaches into it: a desk, a finger, a shadow.

    It lies straight before the sides of the picture, and is convex itself or leaves a convex sheet.
    """
    ahead = np.zeros(mask.shape, np.bool_)
    for turn in range(4):
        np.rot90(ahead, turn)[:] |= np.logical_and.accumulate(np.rot90(mask, turn), 0)
    if np.count_nonzero(ahead) < BEFORE_A_SIDE * np.count_nonzero(mask):
        return False
    return is_convex(mask) or is_convex(~mask)


def runs_across(mask: Mask) -> bool:
    """Whether ink is a band from one side of the picture to another, as a fold is, or several.

    One band alone may be a character that is cropped tight, if it meets all four sides, or if the
    picture is narrow.
    """
    labels = label_components(mask)
    found = bounding_boxes(labels)
    lengths = _lengths(found)
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
    """Whether the longest part has no other near it, as with punch holes and specks."""
    found = bounding_boxes(label_components(mask))
    lengths = _lengths(found)
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
    """Whether ink meets the border at more places than a character that is cropped tight."""
    around = np.concatenate([mask[0], mask[1:, -1], mask[-1, -2::-1], mask[-2:0:-1, 0]])
    return int(np.count_nonzero(around & ~np.roll(around, 1))) > MOST_ENDS


def has_pieces_all_over(mask: Mask) -> bool:
    """Whether most of the ink is in compact pieces all over the picture: dots, squares, blots."""
    spans = mask[bounding_box(mask)].shape
    if any(span < ALL_OVER * side for span, side in zip(spans, mask.shape, strict=True)):
        return False
    return any(_has_pieces(mask, margin) for margin in (0, round(MARGIN * min(mask.shape))))


def _has_pieces(mask: Mask, margin: int) -> bool:
    pieces = label_components(_deep(mask, margin))
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


def _deep(mask: Mask, depth: int) -> Mask:
    """What is so deep within a mask, along rows and columns: less than half of its length."""
    for axis in (0, 1):
        lines = np.moveaxis(mask, axis, 0)
        ends = np.pad(lines.cumsum(0, dtype=np.int32), ((1, 0), (0, 0)))
        full = ends[2 * depth + 1 :] - ends[: -2 * depth - 1] == 2 * depth + 1
        mask = np.moveaxis(np.pad(full, ((depth, depth), (0, 0))), 0, axis)
    return mask


def _lengths(found: NDArray[np.intp]) -> NDArray[np.intp]:
    return np.asarray(np.maximum(found[1] - found[0], found[3] - found[2]))
