"""The connected parts of a mask: pixels that share a side or a corner are in one part."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["label_parts", "widened"]


def label_parts(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Find the connected parts of `mask`: one number a true pixel, row-major.

    The rows' runs of true pixels are the nodes of a graph, joined where runs of neighbouring rows
    touch. Each takes the least number among its neighbours, then its number's number until that
    is its own (pointer jumping: Shiloach and Vishkin, 1982), and again until nothing changes.
    """
    stride = mask.shape[1] + 1  # one false pixel ends every row
    flat = np.zeros((mask.shape[0], stride), np.int8)
    flat[:, :-1] = mask
    edges = np.diff(flat.ravel(), prepend=0, append=0)
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    first = np.searchsorted(ends, starts + stride)
    last = np.searchsorted(starts, ends + stride, side="right")
    count = last - first
    above = np.repeat(np.arange(len(starts)), count)
    below = np.arange(len(above)) + np.repeat(first - np.cumsum(count) + count, count)
    number = np.arange(len(starts))
    while True:
        least = np.minimum(number[above], number[below])
        fresh = number.copy()
        np.minimum.at(fresh, number[above], least)
        np.minimum.at(fresh, number[below], least)
        while not np.array_equal(fresh, fresh[fresh]):
            fresh = fresh[fresh]
        if np.array_equal(fresh, number):
            return np.repeat(number, ends - starts)
        number = fresh


def widened(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """Add to `mask` what is at most `pixels` away along rows, then along columns."""
    for axis in (0, 1):
        wide = mask.copy()
        for step in range(1, min(pixels, mask.shape[axis] - 1) + 1):
            wide |= _shifted(mask, step, axis) | _shifted(mask, -step, axis)
        mask = wide
    return mask


def _shifted(mask: NDArray[np.bool_], step: int, axis: int) -> NDArray[np.bool_]:
    moved = np.zeros_like(mask)
    lines, target = np.moveaxis(mask, axis, 0), np.moveaxis(moved, axis, 0)
    if step > 0:
        target[step:] = lines[:-step]
    else:
        target[:step] = lines[-step:]
    return moved
