"""From a folder of pictures to a training and a validation set.

Where the folder does not say what is for validation, the content of each file does: the number that
its digest begins with is below a fifth of all, or not. So a picture is on the same side in every
run, on every machine, under any name and whatever else is in the folder, and equal files are on one
side. The share is a fifth of the pictures in the mean.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mnist_sgd._names import printable
from mnist_sgd.data.imageset import ImageSet, take_rows
from mnist_sgd.data.pictures.cache import Cache, Contents, cache_folder
from mnist_sgd.data.pictures.choice import Choice, choose
from mnist_sgd.data.pictures.decoding import Record
from mnist_sgd.data.pictures.folders import Listing, UnusableClass, UnusableFile, list_folder
from mnist_sgd_serve.images.preprocessing import check_preprocessing

__all__ = ["Pictures", "import_folder", "in_valid_share", "label_order"]

_ONE_IN = 5
"""Pictures, of which one is for validation in the mean."""


@dataclass(frozen=True, eq=False, repr=False)
class Pictures:
    """The usable pictures of two classes, sorted by part, class and name.

    Attributes:
        folder: where they come from.
        parts: the names of the training and the validation part, or nothing.
        classes: the names of the classes, sorted.
        names: of the files, from the folder on, with slashes.
        digests: of the files' bytes, in hexadecimal.
        labels: uint8 `[N]`, the places of their classes in `classes`.
        for_valid: bool `[N]`, whether they belong to the validation set.
        preprocessing: how they were preprocessed.
        choice: of the preprocessing, where it was chosen by the pictures.
        refused: pictures for training, and for validation, in which it found nothing to show.
        rows: int `[N]`, the rows of their images in `images`.
        images: uint8 `[M, 28, 28]`, all that the cache has; mapped.
        notes: what should be said of the choice of the parts, a sentence each.
    """

    folder: str
    parts: tuple[str, ...]
    classes: tuple[str, str]
    names: list[str]
    digests: list[str]
    labels: NDArray[np.uint8]
    for_valid: NDArray[np.bool_]
    preprocessing: str
    choice: Choice | None
    refused: tuple[int, int]
    rows: NDArray[np.intp]
    images: NDArray[np.uint8]
    notes: list[str]

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self.names)

    def image_set(
        self, chosen: NDArray[np.intp], classes: tuple[str, str], name: str, refused: int = 0
    ) -> ImageSet:
        """Make a set of some of the pictures.

        Args:
            chosen: which, in the order of the set, at least one.
            classes: their names with the positive class last.
            name: what the set is called.
            refused: pictures that belong to the set and were refused.

        Returns:
            The set. Its images are mapped where they lie side by side, else copied.
        """
        rows, flip = self.rows[chosen], classes != self.classes
        labels = self.labels[chosen] ^ np.uint8(flip)
        files = [self.names[i] for i in chosen.tolist()]
        digests = [self.digests[i] for i in chosen.tolist()]
        images = take_rows(self.images, rows)
        return ImageSet(
            images, labels, classes, name, self.preprocessing, files, digests, refused=refused
        )


def import_folder(
    folder: str | os.PathLike[str],
    *,
    classes: tuple[str, str] | None = None,
    preprocessing: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    workers: int = 1,
    on_unusable: Callable[[UnusableFile], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_wait: Callable[[], None] | None = None,
) -> Pictures:
    """Read the pictures of two classes; only what is new or changed is decoded.

    Args:
        folder: see `folders`. Pictures are PNG, JPEG, BMP, GIF, WebP or TIFF, of any
            size and mode.
        classes: the names of the two; None where the folder has only two.
        preprocessing: mnist, fit or stretch, see `mnist_sgd_serve.preprocess`; None chooses mnist
            or fit by the pictures, see `mnist_sgd.data.pictures.choice`.
        cache: where preprocessed pictures are kept, see `cache_folder`.
        workers: processes that decode, see `read_pictures`.
        on_unusable: called for each file that is left out, by part, class and name; None to end
            with the first, after all others were read into the cache.
        on_progress: called with the number of files that are known and of all.
        on_wait: called if this waits for another import.

    Raises:
        UnusableFile: a file is no picture that can be read, or by `mnist` nothing is drawn on it.
        CacheError: preprocessed pictures cannot be kept.
        ValueError: the folder is not as described, or there is no such preprocessing; or none of
            the files of a class is usable.
    """
    if preprocessing is not None:
        check_preprocessing(preprocessing)
    listing = list_folder(folder, classes)
    odd = [(each.name, each.problem, each.files, "") for each in listing.files if each.problem]
    if on_unusable is None:  # before all are read
        _end_with([*listing.strangers, *_unusable(listing, odd)], "at least ")

    def progress(done: int, _: int) -> None:
        if on_progress:
            on_progress(done, len(listing.pictures))  # also while some are examined

    def read(files: Listing, preprocessing: str) -> tuple[Contents, list[Record]]:
        return Cache(cache_folder(folder, cache), preprocessing).update(
            files,
            partial(_order, listing),
            workers=workers,
            on_progress=progress,
            on_wait=on_wait,
        )

    choice = None
    if preprocessing is None:
        choice = choose(listing, lambda files: read(files, "mnist")[0])
        preprocessing = choice.preprocessing
    contents, unreadable = read(listing, preprocessing)
    odd += [
        (each.name, each.why, 1, preprocessing if each.refused and not each.blank else "")
        for each in contents.records
        if listing.has(each.name)
    ]
    odd += [(each.name, each.why, 1, "") for each in unreadable]
    left_out = [*listing.strangers, *_unusable(listing, sorted(odd))]
    if on_unusable is None:
        _end_with(left_out)
    else:
        for error in left_out:
            on_unusable(error)
    return _pictures(listing, contents, preprocessing, choice)


def in_valid_share(digest: str) -> bool:
    """Whether content of this digest is for validation, where the folder does not say."""
    return _ONE_IN * int(digest[:16], 16) < 2**64


def label_order(classes: tuple[str, str], positive: str | None) -> tuple[str, str]:
    """The class names with the positive one last, which stays the last if none is named.

    Raises:
        ValueError: there is no class of this name.
    """
    first, last = classes
    if positive is not None and positive not in classes:
        raise ValueError(f"there is no class {positive!r}; the classes are {first!r} and {last!r}")
    return (last, first) if positive == first else classes


def _end_with(errors: list[UnusableFile], least: str = "") -> None:
    """Raise the first of these, if there are any, and say how many files there are."""
    if not errors:
        return
    if len(errors) == 1:
        raise errors[0]
    more = sum(error.files for error in errors[1:])
    files = "file is" if more == 1 else "files are"
    raise UnusableFile(
        f"{errors[0]} (and {least}{more:,} more {files} not usable)",
        errors[0].files + more,
        next((error.refused_by for error in errors if error.refused_by), ""),
    )


def _unusable(listing: Listing, found: Iterable[tuple[str, str, int, str]]) -> list[UnusableFile]:
    """An error for each name that has a reason."""
    return [
        UnusableFile(f"{os.path.join(listing.folder, name)}: {why}", files, refused_by)
        for name, why, files, refused_by in found
        if why
    ]


def _order(listing: Listing, record: Record) -> tuple[bool, list[str]]:
    """Training pictures first, then by part, class and name."""
    return _for_valid(listing, record), record.name.split("/")


def _for_valid(listing: Listing, record: Record) -> bool:
    return listing.is_valid(record.name) if listing.parts else in_valid_share(record.digest)


def _pictures(
    listing: Listing, contents: Contents, preprocessing: str, choice: Choice | None
) -> Pictures:
    rows = contents.rows()
    usable = [each for each in contents.records if not each.why and listing.has(each.name)]
    usable.sort(key=lambda record: record.name.split("/"))
    labels = [listing.classes.index(listing.class_of(record.name)) for record in usable]
    refused = _refused(listing, contents)
    _check_every_class(listing, usable, contents, preprocessing)
    return Pictures(
        listing.folder,
        listing.parts,
        listing.classes,
        [record.name for record in usable],
        [record.digest for record in usable],
        np.array(labels, np.uint8),
        np.array([_for_valid(listing, record) for record in usable], np.bool_),
        preprocessing,
        choice,
        refused,
        np.array([rows[record.name] for record in usable], np.intp),
        contents.images,
        listing.notes,
    )


def _refused(listing: Listing, contents: Contents) -> tuple[int, int]:
    """Pictures of each side that the preprocessing refused."""
    sides = Counter(
        _for_valid(listing, record)
        for record in contents.records
        if record.refused and listing.has(record.name)
    )
    return sides[False], sides[True]


def _check_every_class(
    listing: Listing, usable: list[Record], contents: Contents, preprocessing: str
) -> None:
    """Refuse a class folder none of whose files is usable."""
    found = Counter(listing.class_folder(each.name) for each in listing.files)
    left = Counter(listing.class_folder(record.name) for record in usable)
    refused = [each for each in contents.records if each.refused and listing.has(each.name)]
    by_class = Counter(listing.class_folder(each.name) for each in refused)
    not_blank = {listing.class_folder(each.name) for each in refused if not each.blank}
    for inside, count in found.items():
        if not left[inside]:
            path = printable(os.path.join(listing.folder, inside))
            text = f"{path}: none of its {count:,} files is usable"
            if by_class[inside]:
                text += f"; the preprocessing {preprocessing} refuses {by_class[inside]:,} of them"
            raise UnusableClass(text, preprocessing if inside in not_blank else "")
