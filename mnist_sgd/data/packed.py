"""A packed set: a folder with images and labels as IDX files, and what they are as JSON.

    images-idx3-ubyte   uint8 [N, 28, 28]
    labels-idx1-ubyte   uint8 [N], 0 or 1
    set.json            {"format": "mnist_sgd packed set", "version": 1, "classes": ["7", "3"],
                         "images": 12396, "preparation": "mnist"}

A set is whole or is none: set.json is removed before the first of the files is replaced, and
written when both are in place. Nothing in them depends on the time, the machine or the folder, so
the same images make the same bytes.
"""

import json
import os
from contextlib import ExitStack
from operator import index
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mnist_sgd._files import atomic_write
from mnist_sgd.data.idx import IdxWriter
from mnist_sgd.data.imageset import ImageSet, check_classes, check_labels, load_idx_set
from mnist_sgd_serve.preparation import check_preparation

__all__ = ["PackedWriter", "is_packed", "load_packed"]

_IMAGES = "images-idx3-ubyte"
_LABELS = "labels-idx1-ubyte"
_DESCRIPTION = "set.json"
_FORMAT = {"format": "mnist_sgd packed set", "version": 1}


class PackedWriter:
    """A packed set that is written as a stream, in flat memory.

        with PackedWriter("digits", ("7", "3")) as out:
            for images, labels in batches:
                out.append(images, labels)

    What the folder held stays as it was until the block ends without an exception.

    Args:
        folder: where the three files go; it is made if it is missing.
        classes: the names of the classes in label order; the second is the positive class.
        preparation: how pictures became these images: mnist, fit or stretch, see
            `mnist_sgd_serve.prepare`; None if it is not known, which counts as mnist.

    Raises:
        ValueError: the classes are not two different names, or there is no such preparation.
        IdxError: at the end of the block, nothing was appended.
        OSError: a file cannot be written.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        classes: tuple[str, str],
        *,
        preparation: str | None = None,
    ) -> None:
        check_classes(classes)
        if preparation is not None:
            check_preparation(preparation)
        self.folder = Path(folder)
        self.classes = classes
        self.preparation = preparation
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
        whole = error is None and len(self) > 0  # closing an empty file is an IdxError
        if whole:
            (self.folder / _DESCRIPTION).unlink(missing_ok=True)
        self._files.__exit__(kind, error, traceback)
        if whole:
            description = _FORMAT | {
                "classes": self.classes,
                "images": len(self),
                "preparation": self.preparation,
            }
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
        name: what the set is called in messages and artefacts; None for the folder's own name.

    Raises:
        ValueError: the folder holds no packed set, or its files do not belong together; the
            message names the file.
    """
    path = Path(folder)
    classes, count, preparation = _described(path / _DESCRIPTION)
    name = path.resolve().name if name is None else name
    packed = load_idx_set(
        path / _IMAGES, path / _LABELS, classes, name=name, preparation=preparation
    )
    if len(packed) != count:
        raise ValueError(
            f"{path / _DESCRIPTION}: it states {count:,} images, "
            f"but {_IMAGES} holds {len(packed):,}"
        )
    return packed


def is_packed(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder says that it is a packed set."""
    return (Path(folder) / _DESCRIPTION).is_file()


def _described(path: Path) -> tuple[tuple[str, str], int, str]:
    """Give the class names, the number of images and the preparation that a set.json states."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"{path}: it cannot be read: {error.strerror}; without it the folder is no packed set, "
            "or one whose packing did not end"
        ) from error
    try:
        facts: Any = json.loads(text)
        found = {key: facts[key] for key in _FORMAT}
        negative, positive = facts["classes"]
        classes, count = (negative, positive), index(facts["images"])
        check_classes(classes)
        preparation = facts.get("preparation") or "mnist"
        check_preparation(preparation)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: it does not describe a packed set: {error!r}") from error
    if found != _FORMAT:
        raise ValueError(f"{path}: it describes {found}, only {_FORMAT} is read")
    return classes, count, preparation
