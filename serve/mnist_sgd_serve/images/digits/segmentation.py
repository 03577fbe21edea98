"""Segment the character on a picture from whatever surrounds it.

A picture is first read as a whole. If the result is doubtful, it is read again as a sheet with
surroundings, then as a tightly cropped character, then as paper in shadow. A picture that is still
ambiguous is rejected.
"""

import contextlib

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.digits.background import MOST_NOISE
from mnist_sgd_serve.images.digits.connected_components import (
    bounding_box,
    bounding_boxes,
    box_distances,
    box_lengths,
    label_components,
)
from mnist_sgd_serve.images.digits.foreground import Foreground, find_foreground
from mnist_sgd_serve.images.digits.regions import LEAST_ON_SHEET, long_components
from mnist_sgd_serve.images.digits.shading import Shading
from mnist_sgd_serve.images.digits.shapes import is_solid, outlines_a_quadrilateral
from mnist_sgd_serve.images.digits.sheet import LEAST_SIDE, NEAR, Unclear, find_sheet
from mnist_sgd_serve.images.digits.strokes import (
    has_blob,
    has_pieces_all_over,
    is_area,
    is_around_paper,
    is_scattered,
    meets_border_often,
    runs_across,
)
from mnist_sgd_serve.images.errors import BlankImage
from mnist_sgd_serve.images.pixels import border

Plane = NDArray[np.float64]

AT_THE_BORDER = 0.03
"""No character lies entirely this near to the border, as a fraction of the shorter side."""
FAINT = 0.8
"""Minimum strength of strokes away from their edges, as a fraction of the strongest."""

AREA = "nothing is drawn on the image but an area without strokes, as a blank sheet is"
LINES = "nothing is drawn on the image but lines along its border"
SCATTERED = "nothing is drawn on the image but specks that lie far apart"
PATTERN = "the image is a pattern all over: leave some paper around what is drawn"
UNCLEAR = (
    "what touches the border of the image may be a part of what is drawn, or not: leave paper "
    "around all that is drawn, or crop the image to the sheet"
)


def segment_character(grey: NDArray[np.uint8]) -> tuple[Plane, bool]:
    """Segment the character on a picture.

    Args:
        grey: uint8 `[height, width]`, ink of either polarity.

    Returns:
        float64 `[h, w]`, the ink in its bounding box, 0 paper and 1 full ink; and whether the ink
        is dark on light paper.

    Raises:
        BlankImage: the picture is blank, all ink, or ambiguous.
    """
    with contextlib.suppress(BlankImage):
        ink = find_foreground(grey)
        if _is_certain(ink):
            return ink.shares, ink.inverted
    try:
        ink = _on_the_sheet(grey)
    except Unclear:
        return _in_shadow(grey)
    return ink.shares, ink.inverted


def _on_the_sheet(grey: NDArray[np.uint8]) -> Foreground:
    """Read the sheet or, if none is found, a tightly cropped character."""
    sheet = find_sheet(grey)
    if sheet is not None:
        with contextlib.suppress(BlankImage):
            ink = find_foreground(grey, sheet)
            _check_strokes(ink)
            if max(ink.shares.shape) >= LEAST_ON_SHEET * min(sheet[bounding_box(sheet)].shape):
                return ink
    ink = find_foreground(grey, cropped=True)
    if meets_border_often(ink.mask):
        raise BlankImage(PATTERN)
    if min(grey.shape) >= LEAST_SIDE:
        _check_strokes(ink)
        if _is_faint_inside(ink) or ink.paper.noise > MOST_NOISE:
            raise Unclear
        if ink.paper.photographed and _is_around_strokes(ink):
            raise Unclear
    if ink.paper.photographed and _may_be_no_ink(ink):
        raise Unclear
    return ink


def _check_strokes(ink: Foreground) -> None:
    """Reject ink without strokes; drawings, unlike photographs, may show a dot or an area."""
    if has_pieces_all_over(ink.mask):
        raise BlankImage(PATTERN)
    if ink.paper.photographed and is_scattered(ink.mask):
        raise BlankImage(SCATTERED)
    if ink.paper.photographed and is_area(ink.mask) and not border(ink.mask).any():
        raise BlankImage(AREA)
    near = max(2, round(AT_THE_BORDER * min(ink.mask.shape)))
    if not ink.mask[near:-near, near:-near].any():
        raise BlankImage(LINES)


def _is_faint_inside(ink: Foreground) -> bool:
    """Whether an area wider than a stroke is fainter than the rest, as shadow is."""
    full = float(np.percentile(ink.shares[ink.shares > 0], 95))
    return is_solid((ink.shares > 0) & (ink.shares < FAINT * full))


def _is_around_strokes(ink: Foreground) -> bool:
    """Whether some or all of the foreground is not strokes."""
    return has_blob(ink.mask) or is_around_paper(ink.mask) or runs_across(ink.mask)


def _in_shadow(grey: NDArray[np.uint8]) -> tuple[Plane, bool]:
    """Read a picture after shading correction, or reject it."""
    for inverted in (True, False):
        with contextlib.suppress(BlankImage):
            shaded = Shading.of(grey, light=not inverted)
            ink = find_foreground(shaded.corrected())
            if ink.inverted and _is_certain(ink) and not shaded.continues(ink.mask):
                return ink.shares, inverted
    raise BlankImage(UNCLEAR)


def _is_certain(ink: Foreground) -> bool:
    """Whether the foreground is strokes near each other and clear of the border."""
    box = ink.mask[bounding_box(ink.mask)]
    return (
        ink.paper.noise <= MOST_NOISE
        and not border(ink.mask).any()
        and not is_solid(box)
        and not outlines_a_quadrilateral(box)
        and _is_together(ink)
    )


def _is_together(ink: Foreground) -> bool:
    boxes = bounding_boxes(label_components(ink.mask))
    lengths = box_lengths(boxes)
    longest = int(np.argmax(lengths))
    return bool(np.all(box_distances(boxes, longest) <= NEAR * lengths[longest]))


def _may_be_no_ink(ink: Foreground) -> bool:
    """Whether it touches the border and is too solid for strokes, or apart from the rest."""
    labels = label_components(ink.mask)
    touching = set(border(labels).tolist()) - {-1}
    if not touching:
        return False
    return is_solid(ink.mask[bounding_box(ink.mask)]) or not touching.issuperset(
        long_components(labels)
    )
