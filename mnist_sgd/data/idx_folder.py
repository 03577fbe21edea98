"""Folders of IDX files under MNIST's names, as every way to download it leaves them.

    train-images-idx3-ubyte   train-labels-idx1-ubyte    and the same names with t10k, valid, val or
    t10k-images-idx3-ubyte    t10k-labels-idx1-ubyte     test; plain, or gzipped with .gz
    train-images.idx3-ubyte   ...                        as archives are unpacked on Windows
    MNIST/raw/...             raw/...                    as torchvision keeps them

The classes are the labels, "0" to "255".
"""

import os
from pathlib import Path

import numpy as np

from mnist_sgd._names import printable
from mnist_sgd.data.idx import IdxError, read_idx
from mnist_sgd.data.imageset import ImageSet, load_idx_set
from mnist_sgd.data.pictures.importer import label_order

__all__ = ["LOOKED_FOR", "find_idx_folder", "load_idx_folder"]

LOOKED_FOR = "train-images-idx3-ubyte (or .gz, or train-images.idx3-ubyte), there or in */raw"
"""What makes a folder one of these, in words."""

_SECOND = ("t10k", "valid", "val", "test")


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
            f"{root}: it holds several sets, {', '.join(one.parent.name for one in found)}; give "
            f"the folder of one, as {found[0].parent}"
        )
    return found[0] if found else None


def load_idx_folder(
    folder: Path,
    classes: tuple[str, str] | None,
    positive: str | None,
    preprocessing: str,
) -> tuple[ImageSet, ImageSet]:
    """Load the training and the validation images of two classes.

    Args:
        folder: with the files.
        classes: two of the labels; None where there are only two.
        positive: the positive class; None for the second of `classes`, or else the last of the two
            as strings sort, so 9 of 9 and 10.
        preprocessing: how `predict` shall preprocess pictures for a model that is trained on these.

    Returns:
        Two sets. A plain file is mapped, not read, if it has the images of both classes only, or
        has them one after the other; else the images of the two are copied.

    Raises:
        IdxError: a file is missing or not usable, or there are other than two labels.
        ValueError: a class is not among the labels.
    """
    labels = np.unique(read_idx(_file(folder, "train", "labels")))
    present = [str(label) for label in labels.tolist()]
    if classes is None and len(present) != 2:
        raise IdxError(
            f"{folder}: two classes are needed, its labels are {', '.join(present)}; "
            "classes (--classes A B) picks two of them"
        )
    first, last = classes or sorted(present)
    for label in (first, last):
        if label not in present:
            raise ValueError(
                f"{printable(str(folder))}: there is no class {label!r}; its labels are "
                f"{', '.join(present)}"
            )
    negative, last = label_order((first, last), positive)
    train, valid = (
        load_idx_set(
            _file(folder, part, "images"),
            _file(folder, part, "labels"),
            (negative, last),
            pair=(int(negative), int(last)),
            name=f"{printable(_name(folder))}, {side}",
            preprocessing=preprocessing,
        )
        for part, side in (("train", "train"), (_second(folder), "valid"))
    )
    return train, valid


def _name(folder: Path) -> str:
    """The name of a folder, or of the one that torchvision's raw lies in."""
    whole = folder.resolve()
    return whole.parent.name if whole.name == "raw" else whole.name


def _second(folder: Path) -> str:
    """The name of the second part."""
    found = (part for part in _SECOND if _file(folder, part, "images").is_file())
    return next(found, "valid")


def _file(folder: Path, part: str, what: str) -> Path:
    """The path of a file: the first there is of the names that it may have, else the usual one."""
    kind = f"idx{3 if what == 'images' else 1}-ubyte"
    plain = [f"{part}-{what}-{kind}", f"{part}-{what}.{kind}"]
    # An archive of Kaggle's has each file also in a folder of its name.
    paths = [folder / name for name in (*plain, *(f"{name}/{name}" for name in plain))]
    gzipped = [path.with_name(path.name + ".gz") for path in paths]
    return next((path for path in (*paths, *gzipped) if path.is_file()), paths[0])
