"""Import a folder of pictures: list it, choose the preprocessing, decode what is new.

Without train and valid folders, each file's digest decides: the lowest fifth of all digests is for
validation. So a picture is in the same set in every run and on every machine, whatever its name and
its neighbours, and equal files are in the same set.
"""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mnist_sgd._names import printable
from mnist_sgd.data.imageset import ImageSet, take_rows
from mnist_sgd.data.options import DataOptions
from mnist_sgd.data.pictures.cache import Cache, CacheContents, cache_folder
from mnist_sgd.data.pictures.decoding import Record
from mnist_sgd.data.pictures.folders import Listing, UnusableClass, UnusableFile, list_folder
from mnist_sgd.data.pictures.preprocessing_choice import Choice, choose_preprocessing

VALID_EVERY = 5
"""On average one of this many pictures is for validation."""


@dataclass(frozen=True, eq=False, repr=False)
class PictureDataset:
    """The usable pictures of two classes, sorted by split, class and name.

    Attributes:
        folder: where they come from.
        splits: the names of the training and the validation folder, or empty.
        classes: the names of the classes, sorted.
        names: paths of the files relative to the folder, with slashes.
        digests: of the files' bytes, in hexadecimal.
        labels: uint8 `[N]`, indices into `classes`.
        is_valid: bool `[N]`, whether a picture is for validation.
        preprocessing: how they were preprocessed.
        choice: why, if it was chosen automatically.
        refused: number of training and of validation pictures that the preprocessing refused.
        rows: int `[N]`, the rows of their images in `images`.
        images: uint8 `[M, 28, 28]`, everything in the cache; memory-mapped.
        notes: which folders were taken for training and validation, one sentence each.
    """

    folder: str
    splits: tuple[str, ...]
    classes: tuple[str, str]
    names: list[str]
    digests: list[str]
    labels: NDArray[np.uint8]
    is_valid: NDArray[np.bool_]
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
        """Make a set of some of the pictures; its images stay mapped if their rows are contiguous.

        Args:
            chosen: indices of the pictures, at least one.
            classes: the class names, the positive one last.
            name: of the set.
            refused: number of pictures of this set that the preprocessing refused.
        """
        return ImageSet(
            take_rows(self.images, self.rows[chosen]),
            self.labels[chosen] ^ np.uint8(classes != self.classes),
            classes,
            name,
            self.preprocessing,
            [self.names[i] for i in chosen.tolist()],
            [self.digests[i] for i in chosen.tolist()],
            refused=refused,
            folder=self.folder,
        )


def import_folder(folder: str | os.PathLike[str], options: DataOptions) -> PictureDataset:
    """Read the pictures of two classes; decode only new and changed files.

    Args:
        folder: class folders of PNG, JPEG, BMP, GIF, WebP or TIFF pictures of any size and mode.
        options: see `DataOptions`.

    Raises:
        UnusableFile: a file is not a readable picture, or mnist finds no drawing in it.
        UnusableClass: no file of a class is usable.
        CacheError: the preprocessed pictures cannot be cached.
        ValueError: the folder does not hold the two classes.
    """
    listing = list_folder(folder, options.classes)
    problems = [(each.name, each.problem, "") for each in listing.files if each.problem]
    if options.on_unusable is None:  # fail before anything is decoded
        _raise_first([*listing.unexpected_files, *_unusable(listing, problems)], "at least ")

    def progress(done: int, _: int) -> None:
        if options.on_progress:  # the total counts all pictures even while only a sample is read
            options.on_progress(done, len(listing.pictures))

    def read(files: Listing, preprocessing: str) -> tuple[CacheContents, list[Record]]:
        return Cache(cache_folder(folder, options.cache), preprocessing).update(
            files,
            partial(_sort_key, listing),
            workers=options.workers,
            on_progress=progress,
            on_wait=options.on_wait,
        )

    choice, preprocessing = None, options.preprocessing
    if preprocessing is None:
        choice = choose_preprocessing(listing, lambda files: read(files, "mnist")[0])
        preprocessing = choice.preprocessing
    contents, unreadable = read(listing, preprocessing)
    problems += [
        (each.name, each.why, preprocessing if each.refused and not each.blank else "")
        for each in contents.records
        if listing.has(each.name)
    ]
    problems += [(each.name, each.why, "") for each in unreadable]
    unusable = [*listing.unexpected_files, *_unusable(listing, sorted(problems))]
    if options.on_unusable is None:
        _raise_first(unusable)
    else:
        for error in unusable:
            options.on_unusable(error)
    return _dataset(listing, contents, preprocessing, choice)


def is_validation(digest: str) -> bool:
    """Tell whether content with this hexadecimal digest is for validation."""
    return VALID_EVERY * int(digest[:16], 16) < 2**64


def _raise_first(errors: list[UnusableFile], least: str = "") -> None:
    """Raise the first error, if any, with the number of further unusable files."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        more = len(errors) - 1
        files = "file is" if more == 1 else "files are"
        raise UnusableFile(
            f"{errors[0]} (and {least}{more:,} more {files} not usable)",
            len(errors),
            next((error.refused_by for error in errors if error.refused_by), ""),
        )


def _unusable(listing: Listing, problems: Iterable[tuple[str, str, str]]) -> list[UnusableFile]:
    return [
        UnusableFile(f"{os.path.join(listing.folder, name)}: {why}", refused_by=refused_by)
        for name, why, refused_by in problems
        if why
    ]


def _sort_key(listing: Listing, record: Record) -> tuple[bool, list[str]]:
    """Sort training pictures first, then by split, class and name."""
    return _is_validation(listing, record), record.name.split("/")


def _is_validation(listing: Listing, record: Record) -> bool:
    return listing.is_valid(record.name) if listing.splits else is_validation(record.digest)


def _dataset(
    listing: Listing, contents: CacheContents, preprocessing: str, choice: Choice | None
) -> PictureDataset:
    rows = contents.rows()
    mine = [record for record in contents.records if listing.has(record.name)]
    refused = Counter(_is_validation(listing, record) for record in mine if record.refused)
    usable = [record for record in mine if not record.why]
    usable.sort(key=lambda record: record.name.split("/"))
    labels = [listing.classes.index(listing.class_of(record.name)) for record in usable]
    _check_every_class(listing, mine, preprocessing)
    return PictureDataset(
        listing.folder,
        listing.splits,
        listing.classes,
        [record.name for record in usable],
        [record.digest for record in usable],
        np.array(labels, np.uint8),
        np.array([_is_validation(listing, record) for record in usable], np.bool_),
        preprocessing,
        choice,
        (refused[False], refused[True]),
        np.array([rows[record.name] for record in usable], np.intp),
        contents.images,
        listing.notes,
    )


def _check_every_class(listing: Listing, records: list[Record], preprocessing: str) -> None:
    """Reject a class folder without a usable file."""
    found = Counter(listing.class_folder(each.name) for each in listing.files)
    usable = {listing.class_folder(each.name) for each in records if not each.why}
    refused = Counter(listing.class_folder(each.name) for each in records if each.refused)
    not_blank = {
        listing.class_folder(each.name) for each in records if each.refused and not each.blank
    }
    for folder, count in found.items():
        if folder not in usable:
            path = printable(os.path.join(listing.folder, folder))
            text = f"{path}: none of its {count:,} files is usable"
            if refused[folder]:
                text += f"; the preprocessing {preprocessing} refuses {refused[folder]:,} of them"
            raise UnusableClass(text, preprocessing if folder in not_blank else "")
