"""How the pictures of a folder are preprocessed where the user does not say so.

Drawn characters are preprocessed by `mnist`, all other pictures by `fit`. A picture looks like a
drawn character if `mnist` accepts it and finds strokes of full ink on plain paper, see `drawn`;
`mnist` is chosen if at least three quarters of the pictures of each class look so.

Up to 50 pictures of each class are examined, those whose names have the lowest digests. So a few
new pictures rarely change which ones are examined, and the order of the files does not matter. They
are read into the cache of `mnist`, where the next start finds them.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from hashlib import blake2b

from mnist_sgd.data.pictures.cache import Contents
from mnist_sgd.data.pictures.folders import Listing
from mnist_sgd.data.pictures.listing import Found

__all__ = ["Choice", "choose"]

EXAMINED = 50
"""Pictures of each class that are examined, at most."""

LEAST_DRAWN = 0.75
"""The share of drawn characters in each class from which on `mnist` is chosen."""


@dataclass(frozen=True)
class Choice:
    """Which preprocessing was chosen for a folder, and why.

    Attributes:
        preprocessing: mnist or fit.
        classes: the names of the two classes, sorted.
        drawn: how many of the examined pictures of each class look like drawn characters.
        examined: how many pictures of each class were examined.
    """

    preprocessing: str
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
    """Choose how the pictures of a folder are preprocessed.

    Args:
        listing: of the folder.
        read: reads files into the cache of `mnist`, and gives what is in it.

    Returns:
        The choice. Files that are not pictures, or cannot be read, do not count.
    """
    sample = _sample(listing)
    contents = read(sample)
    drawn, examined = [0, 0], [0, 0]
    for record in contents.records:
        if sample.has(record.name) and (record.refused or not record.why):
            label = _label(listing, record.name)
            examined[label] += 1
            drawn[label] += record.drawn
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
