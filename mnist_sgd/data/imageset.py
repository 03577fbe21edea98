"""A set of small grey images in two classes, the form of data that the rest of the project takes.

An `ImageSet` is checked when it is made, and never copies its arrays or memory maps. The checks
read the labels once and no pixels, so a mapped set of any size opens at once.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from mnist_sgd.data.idx import IdxError, read_idx
from mnist_sgd.data.notebook import facts, row_of_images
from mnist_sgd.data.rows import Rows, row_of
from mnist_sgd_serve._earlier import accepts_earlier
from mnist_sgd_serve.images.preprocessing import check_preprocessing

_FINGERPRINT_ROWS = 4096


@accepts_earlier(preparation="preprocessing")
@dataclass(frozen=True, eq=False, repr=False)
class ImageSet:
    """Images, their labels and the names of the two classes.

    Attributes:
        images: uint8 `[N, 28, 28]`, C-contiguous, N at least 1; an array or a memory map.
        labels: uint8 or int64 `[N]`, C-contiguous, each 0 or 1.
        classes: the names of the classes in label order; `classes[1]` is the positive class.
        name: of the set, in messages and artifacts.
        preprocessing: how pictures became these images, and how `predict` will preprocess others
            for a model trained on them: mnist, fit or stretch, see `mnist_sgd_serve.preprocess`.
        files: the picture file of each image, N paths relative to `folder`; or empty.
        digests: of the bytes of these files, N hexadecimal numbers; or empty.
        rows: the rows of the images in their file, or in several files one after the other, N in
            all; or empty, if they are unknown or equal to the index in the set.
        refused: number of pictures left out because the preprocessing refused them. A model makes
            no prediction for them, so evaluation counts them as errors.
        folder: of the picture files, as it was given; "" if unknown.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8] | NDArray[np.int64]
    classes: tuple[str, str]
    name: str = ""
    preprocessing: str = "mnist"
    files: Sequence[str] = ()
    digests: Sequence[str] = ()
    rows: Sequence[Rows] = ()
    refused: int = 0
    folder: str = ""

    @property
    def preparation(self) -> str:
        """The earlier name of `preprocessing`."""
        return self.preprocessing

    def __post_init__(self) -> None:
        """Check everything but the pixels, which may be any bytes.

        Raises:
            TypeError: images or labels are not NumPy arrays.
            ValueError: an attribute is not as described above.
        """
        check_images(self.images)
        _check_array("labels", self.labels, (), ("uint8", "int64"))
        if len(self.images) == 0:
            raise ValueError("the set holds no images; at least 1 is needed")
        if len(self.images) != len(self.labels):
            raise ValueError(
                f"every image needs one label, got {len(self.images):,} images "
                f"and {len(self.labels):,} labels"
            )
        check_labels(self.labels)
        check_classes(self.classes)
        check_preprocessing(self.preprocessing)
        lengths = {
            "files": len(self.files),
            "digests": len(self.digests),
            "rows": sum(map(len, self.rows)),
        }
        for what, length in lengths.items():
            if length not in (0, len(self)):
                raise ValueError(
                    f"{what} must be empty or as many as the images, got {len(self):,} images and "
                    f"{length:,} {what}"
                )
        if self.refused < 0:
            raise ValueError(f"refused must be at least 0, got {self.refused}")

    def __len__(self) -> int:
        """Count the images."""
        return len(self.images)

    def __getitem__(self, index: SupportsIndex) -> tuple[NDArray[np.uint8], int]:
        """Return a copy of an image, uint8 `[28, 28]`, and its label, 0 or 1.

        Raises:
            IndexError: there is no such image.
            TypeError: the index is a slice or an array, which `images` and `labels` take.
        """
        if not hasattr(index, "__index__"):
            raise TypeError(
                f"an ImageSet is indexed by an integer, got {type(index).__name__}: index its "
                "images and its labels"
            )
        return np.array(self.images[index]), int(self.labels[index])

    def __repr__(self) -> str:
        positive = int(np.count_nonzero(self.labels))
        negative = len(self) - positive
        parts = zip(self.classes, (negative, positive), strict=True)
        counts = ", ".join(f"{count:,} of {name!r}" for name, count in parts)
        return f"ImageSet({self.name!r}: {len(self):,} images, {counts})"

    def _repr_html_(self) -> str:
        """Show the first images of each class, in a notebook."""
        shown = {}
        for label, name in enumerate(self.classes):
            at = np.flatnonzero(self.labels == label)
            first = row_of_images(self.images[at[:10]], f"the first of {name}") if len(at) else ""
            shown[f"{name}: {len(at):,}"] = first
        return facts(f"{self.name}: {len(self):,} images", shown)

    def row_of(self, index: int) -> tuple[str, int]:
        """Return the path of an image's file and its row there, from 0.

        If the file is unknown, the path is "" and the row is that in the set that the image was
        selected from, or in this one.

        Args:
            index: of the image in this set, from 0.
        """
        return row_of(self.rows, index)

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that identify the set; computed once.

        They are the 8-byte BLAKE2b digest of the count and the class names as JSON, then of the
        pixels, then of the labels as bytes, of at most 4,096 evenly spaced rows. So the cost is
        bounded, but a change in another row goes unnoticed.
        """
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        count = len(self)
        taken = min(count, _FINGERPRINT_ROWS)
        rows = np.arange(taken) * count // taken
        digest = blake2b(json.dumps([count, *self.classes]).encode(), digest_size=8)
        digest.update(self.images[rows].tobytes())
        digest.update(self.labels[rows].astype(np.uint8).tobytes())
        return digest.hexdigest()


@accepts_earlier(pair="label_pair", preparation="preprocessing")
def select_classes(
    images: NDArray[np.uint8],
    labels: NDArray[Any],
    label_pair: tuple[int, int],
    classes: tuple[str, str],
    *,
    name: str = "",
    preprocessing: str = "mnist",
) -> ImageSet:
    """Select the images of two classes from a larger set, in their order there.

    Args:
        images: uint8 `[N, 28, 28]`; a view is selected if its rows are contiguous, else a copy.
        labels: integers `[N]`.
        label_pair: the label that becomes 0 and the label that becomes 1.
        classes: the names of the two, in the same order.
        name: of the new set.
        preprocessing: how pictures became the images.

    Returns:
        The set; its `rows` are those in `images`.

    Raises:
        ValueError: no image has one of the labels, or the result is not a valid `ImageSet`.
    """
    negative, positive = label_pair
    if negative == positive:
        raise ValueError(f"two different labels are needed, got {negative} twice")
    if labels.shape != images.shape[:1]:
        raise ValueError(
            f"every image needs one label, got images {list(images.shape)} "
            f"and labels {list(labels.shape)}"
        )
    for label in label_pair:
        if not np.any(labels == label):
            present = ", ".join(map(str, np.unique(labels)[:100]))
            raise ValueError(f"no image has the label {label}; the labels are {present}")
    rows = np.flatnonzero((labels == negative) | (labels == positive))
    chosen = np.ascontiguousarray(take_rows(images, rows))
    chosen_labels = (labels[rows] == positive).astype(np.uint8)
    return ImageSet(chosen, chosen_labels, classes, name, preprocessing, rows=[Rows(rows)])


def take_rows(images: NDArray[np.uint8], rows: NDArray[np.intp]) -> NDArray[np.uint8]:
    """Index an array by rows, at least one: a view if they are contiguous, else a copy."""
    first = int(rows[0])
    contiguous = np.array_equal(rows, np.arange(first, first + len(rows)))
    return images[first : first + len(rows)] if contiguous else images[rows]


@accepts_earlier(pair="label_pair", preparation="preprocessing")
def load_idx_set(
    images: str | os.PathLike[str],
    labels: str | os.PathLike[str],
    classes: tuple[str, str],
    *,
    label_pair: tuple[int, int] | None = None,
    name: str = "",
    preprocessing: str = "mnist",
) -> ImageSet:
    """Load a set from two IDX files, plain or gzipped, one of images and one of labels.

    Args:
        images: path of the images, uint8 `[N, 28, 28]`; a plain file is memory-mapped.
        labels: path of the labels, uint8 `[N]`.
        classes: the names of the two classes, in label order.
        label_pair: the two labels to select, see `select_classes`; None if the labels are 0 and 1.
        name: of the set.
        preprocessing: how pictures became the images.

    Raises:
        IdxError: a file is missing or damaged, or the two do not match; the message names them.
    """
    pixels, targets = read_idx(images), read_idx(labels)
    try:
        if label_pair is None:
            rows = [Rows(range(len(pixels)), os.fspath(images))]
            return ImageSet(pixels, targets, classes, name, preprocessing, rows=rows)
        chosen = select_classes(
            pixels, targets, label_pair, classes, name=name, preprocessing=preprocessing
        )
    except ValueError as error:
        raise IdxError(f"{os.fspath(images)} with {os.fspath(labels)}: {error}") from error
    return replace(chosen, rows=[replace(each, file=os.fspath(images)) for each in chosen.rows])


def _check_array(
    what: str, array: NDArray[Any], item: tuple[int, ...], dtypes: tuple[str, ...]
) -> None:
    """Reject anything but a C-contiguous NumPy array `[N, *item]` of one of `dtypes`."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{what} must be a NumPy array, got {type(array).__name__}")
    if array.dtype not in [np.dtype(name) for name in dtypes]:
        raise ValueError(f"{what} must be {' or '.join(dtypes)}, got {array.dtype}")
    if array.ndim != 1 + len(item) or array.shape[1:] != item:
        allowed = ", ".join(["N", *map(str, item)])
        raise ValueError(f"{what} must be [{allowed}], got {list(array.shape)}")
    if not array.flags.c_contiguous:
        raise ValueError(
            f"{what} must be C-contiguous, got strides {list(array.strides)} for "
            f"{list(array.shape)}; numpy.ascontiguousarray makes a contiguous copy"
        )


def check_images(images: NDArray[np.uint8]) -> None:
    """Reject anything but C-contiguous uint8 `[N, 28, 28]`, with TypeError or ValueError."""
    _check_array("images", images, (28, 28), ("uint8",))


def check_labels(labels: NDArray[np.uint8] | NDArray[np.int64]) -> None:
    """Reject labels other than 0 and 1; the message names the first."""
    # Negative labels are large as unsigned numbers, so one pass without a copy finds them too.
    unsigned = labels.view(f"u{labels.itemsize}")
    if unsigned.max() > 1:
        first = int(np.argmax(unsigned > 1))
        raise ValueError(
            f"labels must be 0 or 1, got {labels[first]} at index {first:,}; "
            "select_classes picks two classes of a larger set"
        )


def check_classes(classes: tuple[str, str]) -> None:
    """Reject anything but a tuple of two different names."""
    named = isinstance(classes, tuple) and all(isinstance(n, str) and n for n in classes)
    if not named or len(classes) != 2 or classes[0] == classes[1]:
        raise ValueError(f"classes must be a tuple of two different names, got {classes!r}")
    for name in classes:
        if any("\ud800" <= each <= "\udfff" for each in name):
            raise ValueError(f"class names must be valid Unicode, got {name!r}")
