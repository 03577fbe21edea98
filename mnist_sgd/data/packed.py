"""A packed set: a folder with images and labels as IDX files, and what they are as JSON.

    images-idx3-ubyte   uint8 [N, 28, 28]
    labels-idx1-ubyte   uint8 [N], 0 or 1
    set.json            {"format": "mnist_sgd packed set", "version": 1, "classes": ["7", "3"],
                         "images": 12396, "preparation": "mnist"}

`"train": 9917` in set.json says that the first 9,917 images are for training and the others for
validation: what `pack` knows of a folder, whose pictures are shared out by their files. Without it
they are shared out by the images themselves.

`"refused": [3, 1]` says how many pictures for training and for validation were left out because the
preprocessing found nothing to show on them.

A set is whole or is none: set.json is removed before the first of the files is replaced, and
written when both are in place. Nothing in them depends on the time, the machine or the folder, so
the same images make the same bytes.
"""

import json
import os
from contextlib import ExitStack
from dataclasses import replace
from operator import index
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from mnist_sgd._files import atomic_write
from mnist_sgd._names import printable
from mnist_sgd.data.idx import IdxWriter
from mnist_sgd.data.imageset import ImageSet, check_classes, check_labels, load_idx_set
from mnist_sgd_serve._earlier import accepts_earlier
from mnist_sgd_serve.images.preprocessing import check_preprocessing

__all__ = [
    "FILES",
    "PackedWriter",
    "is_packed",
    "load_packed",
    "refused_pictures",
    "remove_packed",
    "training_images",
]

_IMAGES = "images-idx3-ubyte"
_LABELS = "labels-idx1-ubyte"
_DESCRIPTION = "set.json"

FILES = (_DESCRIPTION, _IMAGES, _LABELS)
"""The names of a set's files."""

_FORMAT = {"format": "mnist_sgd packed set", "version": 1}


@accepts_earlier(preparation="preprocessing")
class PackedWriter:
    """A packed set that is written as a stream, in flat memory.

        with PackedWriter("digits", ("7", "3")) as out:
            for images, labels in batches:
                out.append(images, labels)

    What the folder held stays as it was until the block ends without an exception.

    Args:
        folder: where the three files go; it is made if it is missing.
        classes: the names of the classes in label order; the second is the positive class.
        preprocessing: how pictures became these images: mnist, fit or stretch, see
            `mnist_sgd_serve.preprocess`; None if it is not known, which counts as mnist.
        train: how many images, from the first on, are for training, where `load_data` opens the
            set: the others are for validation, and both stay mapped. None leaves it to the content
            of each image, by which `load_data` then has to sort and copy them.
        refused: pictures for training and for validation that the preprocessing refused.

    Raises:
        ValueError: the classes are not two different names, or there is no such preprocessing, or
            `train` or a number of `refused` is below 0; or at the end of the block, `train` is
            above the number of images.
        IdxError: at the end of the block, nothing was appended.
        OSError: a file cannot be written.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        classes: tuple[str, str],
        *,
        preprocessing: str | None = None,
        train: int | None = None,
        refused: tuple[int, int] = (0, 0),
    ) -> None:
        check_classes(classes)
        if preprocessing is not None:
            check_preprocessing(preprocessing)
        if train is not None and index(train) < 0:
            raise ValueError(f"train must be at least 0, got {train}")
        if min(refused) < 0:
            raise ValueError(f"refused must be two numbers of at least 0, got {refused}")
        self.folder = Path(folder)
        self.classes = classes
        self.preprocessing = preprocessing
        self.train = train
        self.refused = refused
        self._images = IdxWriter(self.folder / _IMAGES, (28, 28))
        self._labels = IdxWriter(self.folder / _LABELS)

    def __len__(self) -> int:
        """Count the images so far."""
        return len(self._images)

    def __enter__(self) -> Self:
        """Open both files beside their final ones."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as files:
            files.enter_context(self._labels)
            files.enter_context(self._images)
            self._files = files.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Put the new set in the place of the old one, or after an exception drop it."""
        if error is None and self.train is not None and self.train > len(self):
            error = ValueError(
                f"{self.folder}: {self.train:,} images were to be for training, and only "
                f"{len(self):,} were appended"
            )
            self._files.__exit__(type(error), error, None)
            raise error
        whole = error is None and len(self) > 0  # closing an empty file is an IdxError
        if whole:
            (self.folder / _DESCRIPTION).unlink(missing_ok=True)
        self._files.__exit__(kind, error, traceback)
        if whole:
            description = _FORMAT | {
                "classes": self.classes,
                "images": len(self),
                "preparation": self.preprocessing,
            }
            if self.train is not None:
                description["train"] = self.train
            if any(self.refused):
                description["refused"] = self.refused
            text = json.dumps(description, indent=2) + "\n"
            atomic_write(self.folder / _DESCRIPTION, text.encode())

    def append(self, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        """Write images and their labels.

        Args:
            images: uint8 `[n, 28, 28]`.
            labels: uint8 `[n]`, each 0 or 1.

        Raises:
            ValueError: one of them has another type or shape, or a label is another. Nothing is
                written then.
            OSError: they cannot be written.
            RuntimeError: this is not inside the `with` block.
        """
        shapes = labels.ndim == 1 and images.shape == (len(labels), 28, 28)
        if images.dtype != np.uint8 or labels.dtype != np.uint8 or not shapes:
            raise ValueError(
                "images must be uint8 [n, 28, 28] and labels uint8 [n], "
                f"got {images.dtype} {list(images.shape)} and {labels.dtype} {list(labels.shape)}"
            )
        if len(labels):
            check_labels(labels)
        self._images.append(images)
        self._labels.append(labels)


def load_packed(folder: str | os.PathLike[str], *, name: str | None = None) -> ImageSet:
    """Map a packed set: none of the pixels are read, whatever its size.

    Args:
        folder: a folder that `PackedWriter` or `mnist-sgd pack` wrote.
        name: what the set is called in messages and artifacts; None for the folder's own name.

    Raises:
        ValueError: the folder holds no packed set, or its files do not belong together; the
            message names the file.
    """
    path = Path(folder)
    facts = _described(path / _DESCRIPTION)
    name = printable(path.resolve().name) if name is None else name
    packed = load_idx_set(
        path / _IMAGES, path / _LABELS, facts.classes, name=name, preprocessing=facts.preprocessing
    )
    if len(packed) != facts.images:
        raise ValueError(
            f"{printable(str(path / _DESCRIPTION))}: it states {facts.images:,} images, "
            f"but {_IMAGES} holds {len(packed):,}"
        )
    return replace(packed, refused=sum(facts.refused))


def training_images(folder: str | os.PathLike[str]) -> int | None:
    """How many images of a packed set, from the first on, are for training.

    Returns:
        None if the set leaves it to the content of the images.

    Raises:
        ValueError: the folder holds no packed set.
    """
    return _described(Path(folder) / _DESCRIPTION).train


def refused_pictures(folder: str | os.PathLike[str]) -> tuple[int, int]:
    """How many pictures for training and for validation were refused when a set was packed.

    Raises:
        ValueError: the folder holds no packed set.
    """
    return _described(Path(folder) / _DESCRIPTION).refused


def is_packed(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder says that it is a packed set."""
    return (Path(folder) / _DESCRIPTION).is_file()


def remove_packed(folder: str | os.PathLike[str]) -> None:
    """Remove the packed set that a folder is, if it is one; other files there stay.

    Raises:
        OSError: a file cannot be removed.
    """
    if is_packed(folder):
        for name in FILES:
            (Path(folder) / name).unlink(missing_ok=True)


class _Description(NamedTuple):
    """What a set.json states."""

    classes: tuple[str, str]
    images: int
    preprocessing: str
    train: int | None
    refused: tuple[int, int]


def _described(path: Path) -> _Description:
    """Read a set.json."""
    shown = printable(str(path))
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"{shown}: it cannot be read: {error.strerror}; without it the folder is no packed "
            "set, or one whose packing did not end"
        ) from error
    try:
        facts: Any = json.loads(text)
        found = {key: facts[key] for key in _FORMAT}
        description = _description(facts)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"{shown}: it does not describe a packed set: {error!r}") from error
    if found != _FORMAT:
        raise ValueError(f"{shown}: it describes {found}, only {_FORMAT} is read")
    return description


def _description(facts: Any) -> _Description:
    negative, positive = facts["classes"]
    classes, images = (negative, positive), index(facts["images"])
    check_classes(classes)
    preprocessing = facts.get("preparation") or "mnist"
    check_preprocessing(preprocessing)
    train = facts.get("train")
    if train is not None and not 0 <= index(train) <= images:
        raise ValueError(f"train must lie in 0 to {images}, got {train}")
    refused_train, refused_valid = map(index, facts.get("refused") or (0, 0))
    if min(refused_train, refused_valid) < 0:
        raise ValueError(f"refused must be two numbers of at least 0, got {facts['refused']}")
    return _Description(classes, images, preprocessing, train, (refused_train, refused_valid))
