"""How the pictures of a folder are prepared where the user does not say so.

Drawn characters are prepared by `mnist`, all other pictures by `fit`. A picture looks like a drawn
character if `mnist` accepts it and finds strokes of full ink on plain paper; `mnist` is chosen if
at least three quarters of the pictures of each class look so.

Up to 50 pictures of each class are examined, those whose names have the lowest digests. So a few
new pictures rarely change which ones are examined, and the order of the files does not matter. They
are read into the cache of `mnist`, where the next start finds them.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from hashlib import blake2b

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mnist_sgd._picture_files import Found
from mnist_sgd.data.cache import Contents
from mnist_sgd.data.folders import Listing

__all__ = ["Choice", "choose", "looks_drawn"]

EXAMINED = 50
"""Pictures of each class that are examined, at most."""

LEAST_DRAWN = 0.75
"""The share of drawn characters in each class from which on `mnist` is chosen."""

STROKE = 4
"""Pixels: a stroke of a character of 20 x 20 pixels is rarely wider. MNIST's are 2 to 4."""
MOST_INSIDE = 0.25
"""At most this share of a character's ink is left when its strokes are thinned by `STROKE`."""
LEAST_FULL = 0.2
"""At least this share of a character's pixels is full ink."""
INK, FULL_INK = 39, 205
"""From these greys on, of 255, a prepared pixel counts as ink and as full ink."""


@dataclass(frozen=True)
class Choice:
    """Which preparation was chosen for a folder, and why.

    Attributes:
        preparation: mnist or fit.
        classes: the names of the two classes, sorted.
        drawn: how many of the examined pictures of each class look like drawn characters.
        examined: how many pictures of each class were examined.
    """

    preparation: str
    classes: tuple[str, str]
    drawn: tuple[int, int]
    examined: tuple[int, int]

    def __str__(self) -> str:
        """The reason, as in "48 of 50 seven and 50 of 50 three look like drawn characters"."""
        first, last = (
            f"{drawn} of {examined} {name}"
            for drawn, examined, name in zip(self.drawn, self.examined, self.classes, strict=True)
        )
        return f"{first} and {last} look like drawn characters"


@dataclass(frozen=True)
class _Sample(Listing):
    """Some of the files of a listing; the cache keeps what it has of the others.

    Attributes:
        names: of these files.
        others: the names of the listing's other files.
    """

    names: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()

    def has(self, name: str) -> bool:
        """Whether a file is one of these."""
        return name in self.names

    def passes_over(self, name: str) -> bool:
        """Whether it is another one, or of a class that is not wanted now."""
        return name in self.others or super().passes_over(name)


def choose(listing: Listing, read: Callable[[Listing], Contents]) -> Choice:
    """Choose how the pictures of a folder are prepared.

    Args:
        listing: of the folder.
        read: reads files into the cache of `mnist`, and gives what is in it.

    Returns:
        The choice. Files that are not pictures, or cannot be read, do not count.
    """
    sample = _sample(listing)
    contents = read(sample)
    rows = contents.rows()
    drawn, examined = [0, 0], [0, 0]
    for record in contents.records:
        if sample.has(record.name) and (record.refused or not record.why):
            label = _label(listing, record.name)
            examined[label] += 1
            drawn[label] += not record.why and looks_drawn(contents.images[rows[record.name]])
    enough = all(d >= LEAST_DRAWN * e for d, e in zip(drawn, examined, strict=True))
    how = "mnist" if enough else "fit"
    return Choice(how, listing.classes, (drawn[0], drawn[1]), (examined[0], examined[1]))


def _sample(listing: Listing) -> _Sample:
    each_class: tuple[list[Found], list[Found]] = ([], [])
    for found in listing.pictures:
        each_class[_label(listing, found.name)].append(found)
    files = [found for one in each_class for found in sorted(one, key=_rank)[:EXAMINED]]
    names = frozenset(found.name for found in files)
    others = frozenset(found.name for found in listing.pictures) - names
    known = {one.name: getattr(listing, one.name) for one in fields(listing)}
    return _Sample(**known | {"files": files}, names=names, others=others)


def _label(listing: Listing, name: str) -> int:
    return listing.classes.index(listing.class_of(name))


def _rank(found: Found) -> bytes:
    return blake2b(found.name.encode(errors="surrogateescape"), digest_size=8).digest()


def looks_drawn(image: NDArray[np.uint8]) -> bool:
    """Whether an image that `mnist` prepared shows strokes of full ink, as characters do.

    Icons and photographs mostly do not: they have areas wider than a stroke, or several tones.

    Args:
        image: uint8 `[28, 28]`, light ink on dark.
    """
    ink = int(np.count_nonzero(image >= INK))
    inside = int(_thinned(image).sum(dtype=np.int64))
    full = int(np.count_nonzero(image >= FULL_INK))
    return inside <= MOST_INSIDE * int(image.sum(dtype=np.int64)) and full >= LEAST_FULL * ink


def _thinned(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The least of the 5 x 5 pixels around each: strokes of up to `STROKE` pixels are gone."""
    padded = np.pad(image, STROKE // 2)
    rows = sliding_window_view(padded, STROKE + 1, axis=0).min(-1)
    thinned: NDArray[np.uint8] = sliding_window_view(rows, STROKE + 1, axis=1).min(-1)
    return thinned
