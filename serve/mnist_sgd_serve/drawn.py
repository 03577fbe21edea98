"""What is drawn on a picture, whatever is around it.

A picture is read as a whole first. Where that leaves a doubt, a sheet is looked for, then a
character that is cropped tight, then one in a shadow; what remains in doubt is refused.
"""

import contextlib

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images import NoInk
from mnist_sgd_serve.ink import Ink, read_ink
from mnist_sgd_serve.paper import MOST_NOISE
from mnist_sgd_serve.parts import boxes, gaps, numbered, tight_box
from mnist_sgd_serve.picture import border
from mnist_sgd_serve.regions import long_parts
from mnist_sgd_serve.shade import without_shade
from mnist_sgd_serve.shapes import is_solid, outlines_a_quadrilateral
from mnist_sgd_serve.sheet import NEAR, Unclear, find_sheet
from mnist_sgd_serve.strays import LEAST_SHARE

__all__ = ["find_drawn"]

Plane = NDArray[np.float64]

MOST_ENDS = 6
"""A character that is cropped tight meets the border at no more places, except for #; a pattern
does at many."""

UNCLEAR = (
    "what touches the border of the image may be a part of what is drawn, or not: leave paper "
    "around all that is drawn, or crop the image to the sheet"
)


def find_drawn(grey: NDArray[np.uint8]) -> tuple[Plane, bool]:
    """Find what is drawn on a picture.

    Args:
        grey: uint8 `[height, width]`, ink of either polarity.

    Returns:
        float64 `[h, w]`, the tight box around it, 0 paper and 1 full ink; and whether the ink is
        dark on light paper.

    Raises:
        NoInk: it is blank, or nothing but ink, or it cannot be told what is drawn.
    """
    with contextlib.suppress(NoInk):
        ink = read_ink(grey)
        if _is_certain(ink):
            return ink.shares, ink.inverted
    try:
        ink = _on_the_sheet(grey)
    except Unclear:
        return _in_shadow(grey)
    return ink.shares, ink.inverted


def _on_the_sheet(grey: NDArray[np.uint8]) -> Ink:
    """Read what is on a sheet or, where none is found, cropped tight."""
    sheet = find_sheet(grey)
    if sheet is not None:
        with contextlib.suppress(NoInk):
            ink = read_ink(grey, sheet)
            if max(ink.shares.shape) >= LEAST_SHARE * min(grey.shape):
                return ink
    ink = read_ink(grey, cropped=True)
    if _ends_at_the_border(ink.mask) > MOST_ENDS:
        raise NoInk("the image is a pattern all over: leave some paper around what is drawn")
    if ink.paper.photographed and _may_be_no_ink(ink):
        raise Unclear
    return ink


def _in_shadow(grey: NDArray[np.uint8]) -> tuple[Plane, bool]:
    """Read what is drawn on paper that is partly in shadow, or refuse."""
    for inverted in (True, False):
        with contextlib.suppress(NoInk):
            ink = read_ink(without_shade(grey, light=not inverted))
            if ink.inverted and _is_certain(ink):
                return ink.shares, inverted
    raise NoInk(UNCLEAR)


def _is_certain(ink: Ink) -> bool:
    """Whether it is made of strokes that are near to each other, and clear of the border."""
    box = ink.mask[tight_box(ink.mask)]
    return (
        ink.paper.noise <= MOST_NOISE
        and not border(ink.mask).any()
        and not is_solid(box)
        and not outlines_a_quadrilateral(box)
        and _is_together(ink)
    )


def _is_together(ink: Ink) -> bool:
    found = boxes(numbered(ink.mask))
    lengths = np.maximum(found[1] - found[0], found[3] - found[2])
    longest = int(np.argmax(lengths))
    return bool(np.all(gaps(found, longest) <= NEAR * lengths[longest]))


def _ends_at_the_border(mask: NDArray[np.bool_]) -> int:
    """At how many places ink meets the border."""
    around = np.concatenate([mask[0], mask[1:, -1], mask[-1, -2::-1], mask[-2:0:-1, 0]])
    return int(np.count_nonzero(around & ~np.roll(around, 1)))


def _may_be_no_ink(ink: Ink) -> bool:
    """Whether it is at the border, but too solid for strokes or apart from what is clear of it."""
    labels = numbered(ink.mask)
    touching = set(border(labels).tolist()) - {-1}
    if not touching:
        return False
    return is_solid(ink.mask[tight_box(ink.mask)]) or not touching.issuperset(long_parts(labels))
