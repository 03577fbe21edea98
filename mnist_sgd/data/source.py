"""Open any folder of images (`--data`), and load it as training and validation sets or as one set.

The content decides what a folder is, in this order:

    set.json                                 a packed set, split as `pack` recorded it, or by the
                                               content of the images
    train/set.json, valid/set.json           two packed sets, as `pack` makes them of two splits
    train-images-idx3-ubyte, ...             IDX files, see `data.idx_folder`
    anything else                            class folders of pictures, see `data.pictures.folders`
"""

import os
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self, Unpack

import numpy as np
from numpy.typing import NDArray

from mnist_sgd._names import printable
from mnist_sgd.data.idx_folder import find_idx_folder, load_idx_folder
from mnist_sgd.data.imageset import ImageSet
from mnist_sgd.data.loaded import LoadedData
from mnist_sgd.data.options import DataKeywords, DataOptions, named_options, order_classes
from mnist_sgd.data.packed import is_packed, load_packed, refused_pictures, training_images
from mnist_sgd.data.pictures.checks import check_dataset
from mnist_sgd.data.pictures.decoding import DIGEST_BYTES
from mnist_sgd.data.pictures.folder_checks import check_loadable, check_named
from mnist_sgd.data.pictures.importer import PictureDataset, import_folder, is_validation


@dataclass(frozen=True, eq=False)
class DataSource:
    """A folder of images, opened once: `split` or `whole` returns what it holds.

    Attributes:
        folder: the folder.
        options: how it was opened.
        content: its pictures; or its one packed set, or its training and validation images.
    """

    folder: Path
    options: DataOptions
    content: PictureDataset | list[ImageSet]

    @classmethod
    def open(cls, folder: str | os.PathLike[str], options: DataOptions | None = None) -> Self:
        """Open a folder of one of the kinds above; pictures are read, images are mapped.

        Raises:
            UnusableFile: a file is not a readable picture, or mnist finds no drawing in it.
            UnusableClass: no file of a class is usable.
            CacheError: the preprocessed pictures cannot be written.
            IdxError: an IDX file is missing or damaged.
            ValueError: nothing loadable was found, or other classes than the requested ones, or a
                packed set with another preprocessing.
        """
        path, options = check_named(folder), options or DataOptions()
        packed = [path] if is_packed(path) else [path / "train", path / "valid"]
        if all(map(is_packed, packed)):
            return cls(path, options, _load_packed_sets(packed, options))
        idx = find_idx_folder(path)
        if idx is not None:
            return cls(path, options, [*load_idx_folder(idx, options)])
        check_loadable(path, options.classes)
        return cls(path, options, import_folder(path, options))

    def split(self) -> LoadedData:
        """Return the training and the validation set.

        Raises:
            ValueError: the content puts every image, or every image of a class, into one set.
        """
        if isinstance(self.content, PictureDataset):
            return self._split_pictures(self.content)
        if len(self.content) == 2:
            return LoadedData(self.content[0], self.content[1])
        (data,) = self.content
        count = training_images(self.folder)
        if count is None:
            return self._split_by_content(data)
        self._check_split(np.arange(len(data)) >= count, data.labels, data.classes)
        train, valid = refused_pictures(self.folder)
        return LoadedData(
            _subset(data, slice(count), "train", train),
            _subset(data, slice(count, None), "valid", valid),
        )

    def whole(self) -> ImageSet:
        """Return all images as one set.

        Pictures are sorted by split, class and name. Training images come before validation
        images, and two sets of images are copied.
        """
        if isinstance(self.content, PictureDataset):
            every = np.arange(len(self.content))
            return self.content.image_set(
                every, self._classes(self.content), self._name, sum(self.content.refused)
            )
        if len(self.content) == 1:
            return self.content[0]
        return replace(
            self.content[0],
            images=np.concatenate([each.images for each in self.content]),
            labels=np.concatenate([each.labels for each in self.content]),
            name=self._name,
            rows=[rows for each in self.content for rows in each.rows],
            refused=sum(each.refused for each in self.content),
        )

    @property
    def _name(self) -> str:
        return printable(self.folder.resolve().name)

    def _classes(self, pictures: PictureDataset) -> tuple[str, str]:
        return order_classes(pictures.classes, self.options.positive)

    def _split_pictures(self, pictures: PictureDataset) -> LoadedData:
        self._check_split(pictures.is_valid, pictures.labels, pictures.classes)
        train, valid = (
            pictures.image_set(
                np.flatnonzero(pictures.is_valid == is_valid),
                self._classes(pictures),
                f"{self._name}, {('train', 'valid')[is_valid]}",
                pictures.refused[is_valid],
            )
            for is_valid in (False, True)
        )
        notes = (*pictures.notes, *check_dataset(pictures))
        return LoadedData(train, valid, notes, pictures.choice)

    def _split_by_content(self, data: ImageSet) -> LoadedData:
        """Split a packed set by its images as pictures are split by their files; copies both."""
        digests = (blake2b(image, digest_size=DIGEST_BYTES).hexdigest() for image in data.images)
        is_valid = np.array([is_validation(digest) for digest in digests])
        self._check_split(is_valid, data.labels, data.classes)
        note = (
            f"{printable(str(self.folder))}: this set does not record which images are for "
            "training, so their content decides; the folder it was packed from may be split "
            "differently"
        )
        return LoadedData(
            _subset(data, ~is_valid, "train"), _subset(data, is_valid, "valid"), (note,)
        )

    def _check_split(
        self,
        is_valid: NDArray[np.bool_],
        labels: NDArray[np.integer[Any]],
        classes: tuple[str, str],
    ) -> None:
        """Reject a training set without one of the classes, and an empty validation set."""
        lacking = [
            f"the training set has no picture of {name!r}"
            for label, name in enumerate(classes)
            if np.all(is_valid[labels == label])
        ]
        if not is_valid.any():
            lacking.append("the validation set has no picture")
        if lacking:
            raise ValueError(
                f"{self.folder}: split by content, {lacking[0]}; add pictures, or split them "
                "yourself into folders train and valid"
            )


def load_data(folder: str | os.PathLike[str], **options: Unpack[DataKeywords]) -> LoadedData:
    """Load the training and validation images of two classes from a folder.

    Args:
        folder: class folders of pictures, a packed set, or IDX files.
        options: see `mnist_sgd.data.DataOptions`.

    Raises:
        TypeError: there is no option of a name; the message has the nearest.
        ValueError: see `mnist_sgd.data.DataSource`; the message names the file or folder.
    """
    return DataSource.open(folder, named_options("load_data", {**options})).split()


def load_all(folder: str | os.PathLike[str], **options: Unpack[DataKeywords]) -> ImageSet:
    """Load all images of two classes from a folder as one set, without splitting them.

    Args:
        folder: class folders of pictures, a packed set, or IDX files.
        options: see `mnist_sgd.data.DataOptions`.

    Raises:
        TypeError: there is no option of a name; the message has the nearest.
        ValueError: see `mnist_sgd.data.DataSource`; the message names the file or folder.
    """
    return DataSource.open(folder, named_options("load_all", {**options})).whole()


def _load_packed_sets(folders: list[Path], options: DataOptions) -> list[ImageSet]:
    sets = [load_packed(folder, name=_packed_name(folder, folders)) for folder in folders]
    for each, folder in zip(sets, folders, strict=True):
        if sorted(options.classes or each.classes) != sorted(each.classes):
            first, last = each.classes
            raise ValueError(f"{folder}: its classes are {first!r} and {last!r}")
        if options.preprocessing not in (None, each.preprocessing):
            raise ValueError(
                f"{folder}: its images were preprocessed with {each.preprocessing!r}, which "
                f"cannot be changed to {options.preprocessing!r}"
            )
    if len({(each.classes, each.preprocessing) for each in sets}) > 1:
        raise ValueError(f"{folders[0]} and {folders[1]} differ in classes or preprocessing")
    return [_swap_classes(each, order_classes(each.classes, options.positive)) for each in sets]


def _packed_name(folder: Path, folders: list[Path]) -> str:
    path = folder.resolve()
    return path.name if len(folders) == 1 else f"{path.parent.name}, {path.name}"


def _swap_classes(data: ImageSet, classes: tuple[str, str]) -> ImageSet:
    """Return the set with its classes in this order."""
    if data.classes == classes:
        return data
    return replace(data, labels=data.labels ^ np.uint8(1), classes=classes)


def _subset(
    data: ImageSet, which: slice | NDArray[np.bool_], name: str, refused: int = 0
) -> ImageSet:
    """Return part of a packed set: a view for a slice, a copy for a mask."""
    return replace(
        data,
        images=data.images[which],
        labels=data.labels[which],
        name=f"{data.name}, {name}",
        rows=[rows.at(which) for rows in data.rows],
        refused=refused,
    )
