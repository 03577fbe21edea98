"""The validation pictures of a run, listed in `pictures.csv` in its folder.

A set's fingerprint changes with the preprocessing and with every label. The digests of the picture
files show whether two runs were nevertheless evaluated on the same pictures. Images that are not
stored one per file have no such list.
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

DIGITS = 16
"""Number of hexadecimal digits kept of a digest."""


class LabelledPicture(NamedTuple):
    """A picture: digest of its file, name of its class, name of its file."""

    digest: str
    label: str
    file: str


def pictures_of(dataset: "ImageSet") -> list[LabelledPicture]:
    """List the pictures of a set in its order; empty if they are unknown."""
    if not dataset.digests or not dataset.files:
        return []
    labels = [dataset.classes[label] for label in dataset.labels.tolist()]
    digests = [digest[:DIGITS] for digest in dataset.digests]
    return [*map(LabelledPicture, digests, labels, dataset.files)]


def files_digest(dataset: "ImageSet") -> str | None:
    """Compute a digest of the pictures and their classes, independent of the preprocessing.

    Returns:
        16 hexadecimal digits; None if the files of the set are unknown.
    """
    pictures = sorted(f"{digest} {label}" for digest, label, _ in pictures_of(dataset))
    if not pictures:
        return None
    return blake2b("\n".join(pictures).encode(errors="surrogateescape"), digest_size=8).hexdigest()


def write_pictures(folder: Path, dataset: "ImageSet") -> None:
    """Write `pictures.csv`; remove an older one if the files of the set are unknown.

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
    # File names keep their bytes, in any encoding.
    atomic_write(folder / PICTURES, text.getvalue().encode(errors="surrogateescape"))


def read_pictures(path: Path) -> list[LabelledPicture]:
    """Read a `pictures.csv`.

    Raises:
        ValueError: the file is malformed.
        OSError: the file cannot be read.
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
    """The pictures that several runs were evaluated on.

    Attributes:
        count: number of pictures.
        relabelled: files of the pictures whose label differs between the runs.
    """

    count: int
    relabelled: list[str]


def same_pictures(runs: Sequence[Sequence[LabelledPicture]]) -> SamePictures | None:
    """Compare the pictures of several runs; None if they are not the same.

    Args:
        runs: the pictures of each run, at least one run.
    """
    if not all(runs) or len({frozenset(_counts(run).items()) for run in runs}) > 1:
        return None
    labels = [_labels(run) for run in runs]
    first = labels[0]
    changed = {digest for other in labels for digest in first if other[digest] != first[digest]}
    return SamePictures(len(runs[0]), [each.file for each in runs[0] if each.digest in changed])


def _counts(pictures: Sequence[LabelledPicture]) -> Counter[str]:
    """How often each picture occurs: a set may hold equal files."""
    return Counter(each.digest for each in pictures)


def _labels(pictures: Sequence[LabelledPicture]) -> dict[str, Counter[str]]:
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    for each in pictures:
        labels[each.digest][each.label] += 1
    return labels
