"""Connected components of a mask (8-connectivity), their bounding boxes, and dilation."""

import numpy as np
from numpy.typing import NDArray


def label_runs(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Label the connected components of `mask`: one label per true pixel, in row-major order.

    The runs of true pixels in each row are the nodes of a graph, with edges between touching runs
    of adjacent rows. Each node takes the smallest label among its neighbours, then follows labels
    to their root (pointer jumping: Shiloach and Vishkin, 1982), until nothing changes.
    """
    stride = mask.shape[1] + 1  # each row ends with a false pixel
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
    """Label the connected components of `mask` from 0: `[height, width]`, -1 where it is false."""
    labels = np.full(mask.shape, -1, np.intp)
    given = label_runs(mask)
    rank = np.cumsum(np.bincount(given) > 0) - 1
    labels[mask] = rank[given]
    return labels


def bounding_boxes(labels: NDArray[np.intp]) -> NDArray[np.intp]:
    """Find the bounding boxes of labelled components: `[4, n]`, top, bottom, left, right.

    Bottom and right are exclusive.
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


def box_lengths(boxes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the longer side of each bounding box: `[n]`, in pixels."""
    top, bottom, left, right = boxes
    return np.asarray(np.maximum(bottom - top, right - left))


def box_distances(boxes: NDArray[np.intp], number: int) -> NDArray[np.float64]:
    """Return the distance from one bounding box to each: `[n]`, in pixels; 0 if they overlap."""
    top, bottom, left, right = boxes
    down = np.maximum(top - bottom[number], top[number] - bottom)
    across = np.maximum(left - right[number], left[number] - right)
    return np.asarray(np.hypot(np.maximum(down, 0), np.maximum(across, 0)))


def bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the rows and columns of the bounding box of `mask`, which must not be all false."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def dilate(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """Dilate `mask` by a square that reaches `pixels` to each side."""
    for axis in (0, 1):
        wide = mask.copy()
        lines, target = np.moveaxis(mask, axis, 0), np.moveaxis(wide, axis, 0)
        for step in range(1, min(pixels, len(lines) - 1) + 1):
            target[step:] |= lines[:-step]
            target[:-step] |= lines[step:]
        mask = wide
    return mask
