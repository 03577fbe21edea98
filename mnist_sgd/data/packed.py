"""A packed set: a folder with images and labels as IDX files, and a description as JSON.

    images-idx3-ubyte   uint8 [N, 28, 28]
    labels-idx1-ubyte   uint8 [N], 0 or 1
    set.json            {"format": "mnist_sgd packed set", "version": 1, "classes": ["7", "3"],
                         "images": 12396, "preparation": "mnist"}

`"train": 9917` in set.json means that the first 9,917 images are for training and the rest for
validation, as `pack` splits a folder. Without it the content of the images decides.
`"refused": [3, 1]` counts the training and validation pictures that the preprocessing refused.

set.json is removed before the first file is replaced and written after both, so a set is complete
or not there. The same images give the same bytes.
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

_IMAGES = "images-idx3-ubyte"
_LABELS = "labels-idx1-ubyte"
_DESCRIPTION = "set.json"

FILES = (_DESCRIPTION, _IMAGES, _LABELS)
"""File names of a set."""

_FORMAT = {"format": "mnist_sgd packed set", "version": 1}


@accepts_earlier(preparation="preprocessing")
class PackedWriter:
    """Write a packed set as a stream, in constant memory.

        with PackedWriter("digits", ("7", "3")) as out:
            for images, labels in batches:
                out.append(images, labels)

    A set that was there is replaced when the block ends without an exception.

    Args:
        folder: of the three files; created if necessary.
        classes: the names of the classes in label order; the second is the positive class.
        preprocessing: how pictures became these images: mnist, fit or stretch, see
            `mnist_sgd_serve.preprocess`; None if unknown, which counts as mnist.
        train: the number of images, from the first, that `load_data` takes for training, the rest
            for validation; both stay mapped. None lets the content of each image decide, for which
            `load_data` has to copy them.
        refused: numbers of training and validation pictures that the preprocessing refused.

    Raises:
        ValueError: the classes are not two different names, the preprocessing is unknown, or a
            number is negative; or, at the end of the block, `train` exceeds the number of images.
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
        """Count the images appended so far."""
        return len(self._images)

    def __enter__(self) -> Self:
        """Open temporary files for images and labels."""
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
        """Replace the old set, or drop the new one after an exception."""
        if error is None and self.train is not None and self.train > len(self):
            error = ValueError(
                f"{self.folder}: train is {self.train:,}, but only {len(self):,} images were "
                "appended"
            )
            self._files.__exit__(type(error), error, None)
            raise error
        complete = error is None and len(self) > 0  # closing an empty file is an IdxError
        if complete:
            (self.folder / _DESCRIPTION).unlink(missing_ok=True)
        self._files.__exit__(kind, error, traceback)
        if complete:
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
        """Append images and their labels.

        Args:
            images: uint8 `[n, 28, 28]`.
            labels: uint8 `[n]`, each 0 or 1.

        Raises:
            ValueError: a type, a shape or a label is wrong; nothing is written.
            OSError: they cannot be written.
            RuntimeError: outside of the `with` block.
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
    """Open a packed set; its images are memory-mapped, so none is read.

    Args:
        folder: a folder that `PackedWriter` or `mnist-sgd pack` wrote.
        name: of the set, in messages and artifacts; None for that of the folder.

    Raises:
        ValueError: the folder holds no packed set, or its files do not match; the message names
            the file.
    """
    path = Path(folder)
    facts = _described(path / _DESCRIPTION)
    name = printable(path.resolve().name) if name is None else name
    packed = load_idx_set(
        path / _IMAGES, path / _LABELS, facts.classes, name=name, preprocessing=facts.preprocessing
    )
    if len(packed) != facts.images:
        raise ValueError(
            f"{printable(str(path / _DESCRIPTION))}: it says {facts.images:,} images, "
            f"but {_IMAGES} holds {len(packed):,}"
        )
    return replace(packed, refused=sum(facts.refused))


def training_images(folder: str | os.PathLike[str]) -> int | None:
    """Return how many images of a packed set, from the first, are for training; None if unknown.

    Raises:
        ValueError: the folder holds no packed set.
    """
    return _described(Path(folder) / _DESCRIPTION).train


def refused_pictures(folder: str | os.PathLike[str]) -> tuple[int, int]:
    """Return how many training and validation pictures were refused when a set was packed.

    Raises:
        ValueError: the folder holds no packed set.
    """
    return _described(Path(folder) / _DESCRIPTION).refused


def is_packed(folder: str | os.PathLike[str]) -> bool:
    """Tell whether a folder is a packed set."""
    return (Path(folder) / _DESCRIPTION).is_file()


def remove_packed(folder: str | os.PathLike[str]) -> None:
    """Remove the files of a packed set, if the folder is one; other files stay."""
    if is_packed(folder):
        for name in FILES:
            (Path(folder) / name).unlink(missing_ok=True)


class _Description(NamedTuple):
    """The content of a set.json."""

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
            f"{shown} cannot be read: {error.strerror}; the folder is not a packed set, or packing "
            "was interrupted"
        ) from error
    try:
        facts: Any = json.loads(text)
        found = {key: facts[key] for key in _FORMAT}
        description = _description(facts)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"{shown} does not describe a packed set: {error!r}") from error
    if found != _FORMAT:
        raise ValueError(f"{shown} has the format {found}, only {_FORMAT} is supported")
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
