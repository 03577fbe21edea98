"""The pictures that a run was measured on, as `pictures.csv` in its folder names them.

A set's fingerprint tells preprocessed images apart, so it changes with the preprocessing and with a
single label. The digests of the files tell whether two runs were measured on the same pictures
after all. Images that do not come from files of their own have no such list.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mnist_sgd._files import atomic_write
from mnist_sgd.report.folder import PICTURES

if TYPE_CHECKING:
    from mnist_sgd.data import ImageSet

__all__ = [
    "LabelledPicture",
    "SamePictures",
    "files_digest",
    "pictures_of",
    "read_pictures",
    "same_pictures",
    "write_pictures",
]

DIGITS = 16
"""Hexadecimal digits of a picture's digest that are kept."""


class LabelledPicture(NamedTuple):
    """A picture: the digest of its file, the name of its class, and the name of its file."""

    digest: str
    label: str
    file: str


def pictures_of(dataset: "ImageSet") -> list[LabelledPicture]:
    """The pictures that a set was made of, in its order; none where it is not known."""
    if not dataset.digests or not dataset.files:
        return []
    labels = [dataset.classes[label] for label in dataset.labels.tolist()]
    digests = [digest[:DIGITS] for digest in dataset.digests]
    return [*map(LabelledPicture, digests, labels, dataset.files)]


def files_digest(dataset: "ImageSet") -> str | None:
    """16 hexadecimal digits of the pictures and their classes, however they are preprocessed.

    Returns:
        The digits; None if the set is not known to be made of files.
    """
    pictures = sorted(f"{digest} {label}" for digest, label, _ in pictures_of(dataset))
    if not pictures:
        return None
    return blake2b("\n".join(pictures).encode(errors="surrogateescape"), digest_size=8).hexdigest()


def write_pictures(folder: Path, dataset: "ImageSet") -> None:
    """Write `pictures.csv`, or remove an earlier one if the set is not known to be made of files.

    Raises:
        OSError: the file cannot be written.
    """
    pictures = pictures_of(dataset)
    if not pictures:
        (folder / PICTURES).unlink(missing_ok=True)
        return
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(LabelledPicture._fields)
    writer.writerows(pictures)
    # Names of files keep their bytes, of whatever encoding.
    atomic_write(folder / PICTURES, text.getvalue().encode(errors="surrogateescape"))


def read_pictures(path: Path) -> list[LabelledPicture]:
    """Read a `pictures.csv`.

    Raises:
        ValueError: it is not one.
        OSError: it cannot be read.
    """
    text = path.read_bytes().decode(errors="surrogateescape")
    try:
        rows = list(csv.reader(StringIO(text, newline="")))
    except csv.Error as error:
        raise ValueError(f"not CSV: {error}") from error
    names = LabelledPicture._fields
    if rows[:1] != [[*names]] or any(len(row) != len(names) for row in rows):
        raise ValueError(f"not a table of {', '.join(names)}")
    return [LabelledPicture(*row) for row in rows[1:]]


@dataclass(frozen=True)
class SamePictures:
    """The pictures that several runs were measured on.

    Attributes:
        count: how many there are.
        relabelled: files of those whose label is not the same in all of the runs.
    """

    count: int
    relabelled: list[str]


def same_pictures(runs: Sequence[Sequence[LabelledPicture]]) -> SamePictures | None:
    """What runs that were measured on the same pictures have in common; None if they were not.

    Args:
        runs: the pictures of each, at least one run.
    """
    if not all(runs) or len({frozenset(_counts(run).items()) for run in runs}) > 1:
        return None
    labels = [_labels(run) for run in runs]
    first = labels[0]
    changed = {digest for other in labels for digest in first if other[digest] != first[digest]}
    return SamePictures(len(runs[0]), [each.file for each in runs[0] if each.digest in changed])


def _counts(pictures: Sequence[LabelledPicture]) -> Counter[str]:
    """How often each picture is there: equal files may be."""
    return Counter(each.digest for each in pictures)


def _labels(pictures: Sequence[LabelledPicture]) -> dict[str, Counter[str]]:
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    for each in pictures:
        labels[each.digest][each.label] += 1
    return labels
