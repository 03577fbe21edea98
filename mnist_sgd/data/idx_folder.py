"""Folders of IDX files under MNIST's names, as its usual downloads leave them.

    train-images-idx3-ubyte   train-labels-idx1-ubyte    and the same names with t10k, valid, val or
    t10k-images-idx3-ubyte    t10k-labels-idx1-ubyte     test; plain, or gzipped with .gz
    train-images.idx3-ubyte   ...                        as some archives unpack them
    MNIST/raw/...             raw/...                    as torchvision keeps them

The classes are the labels, "0" to "255".
"""

import os
from pathlib import Path

import numpy as np

from mnist_sgd._names import printable
from mnist_sgd.data.idx import IdxError, read_idx
from mnist_sgd.data.imageset import ImageSet, load_idx_set
from mnist_sgd.data.options import DataOptions, order_classes

FILE_NAMES = "IDX files (train-images-idx3-ubyte or .gz, there or in */raw)"
"""The files of such a folder, for messages."""

_VALID_NAMES = ("t10k", "valid", "val", "test")


def find_idx_folder(path: str | os.PathLike[str]) -> Path | None:
    """Find the folder with the training images, `path` itself or torchvision's in it.

    Returns:
        None if there is none.

    Raises:
        IdxError: there are several; the message names them.
    """
    root = Path(path)
    for folder in (root, root / "raw"):
        if _file(folder, "train", "images").is_file():
            return folder
    found = [one for one in sorted(root.glob("*/raw")) if _file(one, "train", "images").is_file()]
    if len(found) > 1:
        raise IdxError(
            f"{root} holds several sets, {', '.join(one.parent.name for one in found)}; give "
            f"one of them, such as {found[0].parent}"
        )
    return found[0] if found else None


def load_idx_folder(folder: Path, options: DataOptions) -> tuple[ImageSet, ImageSet]:
    """Load the training and the validation images of two classes.

    Args:
        folder: with the files.
        options: their classes are labels as text, their preprocessing is for new pictures.

    Returns:
        Two sets. A plain file is mapped if it has images of both classes only, or has them in
        consecutive rows; else the images of the two classes are copied.

    Raises:
        IdxError: a file is missing or damaged, or there are other than two labels.
        ValueError: a class is not among the labels.
    """
    labels = np.unique(read_idx(_file(folder, "train", "labels")))
    present = [str(label) for label in labels.tolist()]
    if options.classes is None and len(present) != 2:
        advice = f": choose with --classes {present[0]} {present[1]}" if len(present) > 2 else ""
        raise IdxError(
            f"{folder}: found {len(present)} labels ({', '.join(present)}), need 2{advice}"
        )
    first, last = options.classes or sorted(present)
    for label in (first, last):
        if label not in present:
            raise ValueError(
                f"{printable(str(folder))}: there is no class {label!r}; the labels are "
                f"{', '.join(present)}"
            )
    negative, positive = order_classes((first, last), options.positive)
    train, valid = (
        load_idx_set(
            _file(folder, prefix, "images"),
            _file(folder, prefix, "labels"),
            (negative, positive),
            label_pair=(int(negative), int(positive)),
            name=f"{printable(_name(folder))}, {split}",
            preprocessing=options.preprocessing or "mnist",
        )
        for prefix, split in (("train", "train"), (_valid_name(folder), "valid"))
    )
    return train, valid


def _name(folder: Path) -> str:
    """Return the name of a folder, or of the one above torchvision's raw."""
    path = folder.resolve()
    return path.parent.name if path.name == "raw" else path.name


def _valid_name(folder: Path) -> str:
    found = (name for name in _VALID_NAMES if _file(folder, name, "images").is_file())
    return next(found, "valid")


def _file(folder: Path, split: str, content: str) -> Path:
    """Return the path of a file: the first existing one of its possible names, or the usual one."""
    kind = f"idx{3 if content == 'images' else 1}-ubyte"
    plain = [f"{split}-{content}-{kind}", f"{split}-{content}.{kind}"]
    # A Kaggle archive also has each file in a folder of its own name.
    paths = [folder / name for name in (*plain, *(f"{name}/{name}" for name in plain))]
    gzipped = [path.with_name(path.name + ".gz") for path in paths]
    return next((path for path in (*paths, *gzipped) if path.is_file()), paths[0])
