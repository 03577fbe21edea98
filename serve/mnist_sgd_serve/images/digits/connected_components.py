"""The connected parts of a mask: pixels that share a side or a corner are in one part."""

import numpy as np
from numpy.typing import NDArray


def label_runs(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
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


def label_components(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Number the connected parts of `mask` from 0 on: `[height, width]`, -1 where it is false."""
    labels = np.full(mask.shape, -1, np.intp)
    given = label_runs(mask)
    rank = np.cumsum(np.bincount(given) > 0) - 1
    labels[mask] = rank[given]
    return labels


def bounding_boxes(labels: NDArray[np.intp]) -> NDArray[np.intp]:
    """Find the boxes of parts that `label_components` gave: `[4, n]`, top, bottom, left, right.

    Bottom and right are the first row and column outside of a box.
    """
    count = int(labels.max()) + 1
    rows, columns = np.nonzero(labels >= 0)
    numbers = labels[rows, columns]
    found = np.zeros((4, count), np.intp)
    found[[0, 2]] = max(labels.shape)
    for side, at in ((0, rows), (2, columns)):
        np.minimum.at(found[side], numbers, at)
        np.maximum.at(found[side + 1], numbers, at + 1)
    return found


def box_distances(found: NDArray[np.intp], number: int) -> NDArray[np.float64]:
    """How far the box of one part is from that of each: `[n]`, in pixels; 0 where they overlap.

    Args:
        found: what `boxes` gave.
        number: of the one part.
    """
    top, bottom, left, right = found
    down = np.maximum(top - bottom[number], top[number] - bottom)
    across = np.maximum(left - right[number], left[number] - right)
    return np.asarray(np.hypot(np.maximum(down, 0), np.maximum(across, 0)))


def bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of the tight box around what is true, of which there must be some."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def dilate(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
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
