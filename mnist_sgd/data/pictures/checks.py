"""What one should know of a set of pictures before trusting figures that come of it."""

from collections import defaultdict

import numpy as np

from mnist_sgd._names import printable
from mnist_sgd.data.pictures.importer import Pictures

__all__ = ["findings"]

FEW = 10
"""A class with fewer training pictures is said to be tiny."""

ONE_SIDED = 20
"""So many times as many pictures of one class as of the other are said to be one-sided."""

SHOWN = 3
"""Names in a sentence; of the rest their number."""


def findings(pictures: Pictures) -> list[str]:
    """Say what may spoil a training, a sentence each; nothing if all is well.

    Equal files in train and valid, which flatter every figure; equal files in both classes, of
    which one must be wrong; equal files beside each other; few pictures of a class to train with,
    or none to validate with; and many more of one class than of the other.
    """
    return [*map(printable, _duplicates(pictures)), *map(printable, _counts(pictures))]


def _duplicates(pictures: Pictures) -> list[str]:
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(pictures.digests):
        groups[digest].append(row)
    across, both, beside = [], [], []
    for rows in (rows for rows in groups.values() if len(rows) > 1):
        parts, labels = np.unique(pictures.for_valid[rows]), np.unique(pictures.labels[rows])
        if len(parts) > 1:
            across.append(rows)
        if len(labels) > 1:
            both.append(rows)
        if len(parts) == len(labels) == 1:
            beside.append(rows)
    kinds = (
        (across, "in both train and valid, so that figures flatter the model"),
        (both, "in both classes, so that one of each must be wrong"),
        (beside, "there more than once"),
    )
    return [
        f"{pictures.folder}: {_pictures(len(rows))} {what}: {_names(pictures, rows)}"
        for rows, what in kinds
        if rows
    ]


def _names(pictures: Pictures, groups: list[list[int]]) -> str:
    """Two names of each of the first groups: the first and the last, unlike if any two are."""
    shown = [f"{pictures.names[rows[0]]} = {pictures.names[rows[-1]]}" for rows in groups[:SHOWN]]
    rest = f", and {len(groups) - SHOWN:,} more" if len(groups) > SHOWN else ""
    return ", ".join(shown) + rest


def _counts(pictures: Pictures) -> list[str]:
    found = []
    for label, name in enumerate(pictures.classes):
        mine = pictures.labels == label
        train = int(np.count_nonzero(mine & ~pictures.for_valid))
        if train < FEW:
            found.append(f"{pictures.folder}: only {_pictures(train)} of {name!r} to train with")
        if train == np.count_nonzero(mine):
            found.append(f"{pictures.folder}: no picture of {name!r} to validate with")
    counts = [int(np.count_nonzero(pictures.labels == label)) for label in (0, 1)]
    less, more = sorted((0, 1), key=counts.__getitem__)
    if counts[more] >= ONE_SIDED * counts[less]:
        name, other = pictures.classes[more], pictures.classes[less]
        found.append(
            f"{pictures.folder}: {counts[more]:,} pictures of {name!r} and only {counts[less]:,} "
            f"of {other!r}: always to say {name!r} would be right "
            f"{counts[more] / sum(counts):.1%} of the time"
        )
    return found


def _pictures(count: int) -> str:
    return f"{count:,} picture{'' if count == 1 else 's'}"
