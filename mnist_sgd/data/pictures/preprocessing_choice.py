"""Choose the preprocessing of a folder's pictures when the user does not.

Drawn characters are preprocessed with `mnist`, all other pictures with `fit`. A picture looks like
a drawn character if `mnist` accepts it and finds strokes of full ink on plain paper, see
`drawn_characters`; `mnist` is chosen if at least three quarters of the pictures of each class do.

Up to 50 pictures of each class are examined, those with the lowest digests of their names, so a few
new pictures rarely change the sample and the order of the files does not matter. They are read into
the cache of `mnist`, where the next run finds them.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from hashlib import blake2b

from mnist_sgd.data.pictures.cache import CacheContents
from mnist_sgd.data.pictures.file_entries import FileEntry
from mnist_sgd.data.pictures.folders import Listing

MAX_EXAMINED = 50
"""Pictures of each class to examine."""

MIN_DRAWN = 0.75
"""Fraction of drawn characters in each class for which `mnist` is chosen."""


@dataclass(frozen=True)
class Choice:
    """Which preprocessing was chosen for a folder, and why; `str()` gives the reason.

    Attributes:
        preprocessing: mnist or fit.
        classes: the names of the two classes, sorted.
        drawn: how many examined pictures of each class look like drawn characters.
        examined: how many pictures of each class were examined.
    """

    preprocessing: str
    classes: tuple[str, str]
    drawn: tuple[int, int]
    examined: tuple[int, int]

    @property
    def preparation(self) -> str:
        """The earlier name of `preprocessing`."""
        return self.preprocessing

    def __str__(self) -> str:
        first, last = (
            f"{drawn} of {examined} {name}"
            for drawn, examined, name in zip(self.drawn, self.examined, self.classes, strict=True)
        )
        return f"{first} and {last} look like drawn characters"


@dataclass(frozen=True)
class _Sample(Listing):
    """Some files of a listing; the cache keeps its records of the others.

    Attributes:
        names: of these files.
        others: the names of the listing's other files.
    """

    names: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()

    def has(self, name: str) -> bool:
        """Tell whether a file is in the sample."""
        return name in self.names

    def is_other_class(self, name: str) -> bool:
        """Tell whether the cache must keep a file that is not in the sample."""
        return name in self.others or super().is_other_class(name)


def choose_preprocessing(listing: Listing, read: Callable[[Listing], CacheContents]) -> Choice:
    """Choose the preprocessing of a folder; unreadable files and other formats do not count.

    Args:
        listing: of the folder.
        read: reads files into the cache of `mnist` and returns its contents.
    """
    sample = _sample(listing)
    drawn, examined = [0, 0], [0, 0]
    for record in read(sample).records:
        if sample.has(record.name) and (record.refused or not record.why):
            label = _label(listing, record.name)
            examined[label] += 1
            drawn[label] += record.drawn
    enough = all(d >= MIN_DRAWN * e for d, e in zip(drawn, examined, strict=True))
    preprocessing = "mnist" if enough else "fit"
    return Choice(preprocessing, listing.classes, (drawn[0], drawn[1]), (examined[0], examined[1]))


def _sample(listing: Listing) -> _Sample:
    by_class: tuple[list[FileEntry], list[FileEntry]] = ([], [])
    for entry in listing.pictures:
        by_class[_label(listing, entry.name)].append(entry)
    files = [entry for one in by_class for entry in sorted(one, key=_rank)[:MAX_EXAMINED]]
    names = frozenset(entry.name for entry in files)
    others = frozenset(entry.name for entry in listing.pictures) - names
    known = {one.name: getattr(listing, one.name) for one in fields(listing)}
    return _Sample(**known | {"files": files}, names=names, others=others)


def _label(listing: Listing, name: str) -> int:
    return listing.classes.index(listing.class_of(name))


def _rank(entry: FileEntry) -> bytes:
    return blake2b(entry.name.encode(errors="surrogateescape"), digest_size=8).digest()
