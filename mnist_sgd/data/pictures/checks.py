"""Warnings about a set of pictures that explain misleading results."""

from collections import defaultdict

import numpy as np

from mnist_sgd._names import printable
from mnist_sgd.data.pictures.importer import PictureDataset

MIN_TRAIN = 10
"""Warn about a class with fewer training pictures."""

MAX_IMBALANCE = 20
"""Warn if one class has at least this many times as many pictures as the other."""

MAX_NAMES = 3
"""Names in a sentence; the rest is counted."""


def check_dataset(pictures: PictureDataset) -> list[str]:
    """Check for what spoils training or evaluation, and describe each problem in a sentence.

    The problems are equal files in train and valid, in both classes or in one place; few training
    or no validation pictures of a class; and classes of very different size.
    """
    return [*map(printable, _duplicates(pictures)), *map(printable, _counts(pictures))]


def _duplicates(pictures: PictureDataset) -> list[str]:
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(pictures.digests):
        groups[digest].append(row)
    in_both_sets, in_both_classes, repeated = [], [], []
    for rows in (rows for rows in groups.values() if len(rows) > 1):
        sets, labels = np.unique(pictures.is_valid[rows]), np.unique(pictures.labels[rows])
        if len(sets) > 1:
            in_both_sets.append(rows)
        if len(labels) > 1:
            in_both_classes.append(rows)
        if len(sets) == len(labels) == 1:
            repeated.append(rows)
    kinds = (
        (in_both_sets, "in both train and valid, so the metrics are too good"),
        (in_both_classes, "in both classes, so one label of each must be wrong"),
        (repeated, "there more than once"),
    )
    return [
        f"{pictures.folder}: {_pictures(len(rows))} {what}: {_names(pictures, rows)}"
        for rows, what in kinds
        if rows
    ]


def _names(pictures: PictureDataset, groups: list[list[int]]) -> str:
    """Name two files of each of the first groups: the first and the last differ most."""
    shown = [f"{pictures.names[r[0]]} = {pictures.names[r[-1]]}" for r in groups[:MAX_NAMES]]
    rest = f", and {len(groups) - MAX_NAMES:,} more" if len(groups) > MAX_NAMES else ""
    return ", ".join(shown) + rest


def _counts(pictures: PictureDataset) -> list[str]:
    warnings = []
    for label, name in enumerate(pictures.classes):
        in_class = pictures.labels == label
        train = int(np.count_nonzero(in_class & ~pictures.is_valid))
        if train < MIN_TRAIN:
            warnings.append(f"{pictures.folder}: only {_pictures(train)} of {name!r} to train on")
        if train == np.count_nonzero(in_class):
            warnings.append(f"{pictures.folder}: no picture of {name!r} to validate on")
    counts = np.bincount(pictures.labels, minlength=2).tolist()
    less, more = sorted((0, 1), key=counts.__getitem__)
    if counts[more] >= MAX_IMBALANCE * counts[less]:
        name, other = pictures.classes[more], pictures.classes[less]
        warnings.append(
            f"{pictures.folder}: {counts[more]:,} pictures of {name!r} and only {counts[less]:,} "
            f"of {other!r}: always predicting {name!r} would be {counts[more] / sum(counts):.1%} "
            "accurate"
        )
    return warnings


def _pictures(count: int) -> str:
    return f"{count:,} picture{'' if count == 1 else 's'}"
