"""Convert a folder of pictures to packed sets, which need neither the folder nor its cache."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from mnist_sgd.data.imageset import ImageSet
from mnist_sgd.data.options import DataKeywords, named_options, order_classes
from mnist_sgd.data.packed import FILES, PackedWriter, is_packed, load_packed, remove_packed
from mnist_sgd.data.pictures.folder_checks import check_named
from mnist_sgd.data.pictures.importer import PictureDataset, import_folder
from mnist_sgd.data.pictures.preprocessing_choice import Choice

_IMAGES_PER_WRITE = 4096


def pack_folder(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    on_choice: Callable[[Choice], None] | None = None,
    **options: Unpack[DataKeywords],
) -> tuple[ImageSet, ...]:
    """Preprocess the pictures of two classes and write them as packed sets.

    Args:
        folder: class folders of pictures.
        out: folder for the packed set, outside `folder`: training pictures first, then validation
            pictures, each by class and name, split as `load_data` splits them. A folder with train
            and valid becomes two sets, `out/train` and `out/valid`.
        on_choice: called with the choice of the preprocessing, if it was chosen automatically.
        options: see `mnist_sgd.data.DataOptions`.

    Returns:
        The packed set, or the training and the validation set; memory-mapped.

    Raises:
        TypeError: there is no option of a name; the message has the nearest.
        UnusableFile: a file is not a readable picture, or mnist finds no drawing in it.
        CacheError: the preprocessed pictures cannot be cached.
        ValueError: `folder` does not hold the two classes; or `out` lies in `folder`, is a file,
            or holds something other than a set.
        OSError: a file cannot be written.
    """
    how = named_options("pack_folder", {**options})
    check_named(folder), check_named(out)
    if Path(out).resolve().is_relative_to(Path(folder).resolve()):
        raise ValueError(f"{os.fspath(out)} lies inside {os.fspath(folder)}, which is to be packed")
    _check_free(Path(out))
    pictures = import_folder(folder, how)
    if on_choice and pictures.choice:
        on_choice(pictures.choice)
    order = order_classes(pictures.classes, how.positive)
    train, valid = np.flatnonzero(~pictures.is_valid), np.flatnonzero(pictures.is_valid)
    if not pictures.splits:
        both = np.concatenate([train, valid])
        return (_pack(pictures, both, order, Path(out), pictures.refused, train=len(train)),)
    in_train, in_valid = pictures.refused
    sets = (
        _pack(pictures, train, order, Path(out) / "train", (in_train, 0)),
        _pack(pictures, valid, order, Path(out) / "valid", (0, in_valid)),
    )
    remove_packed(out)  # an older set without splits, which would be found first
    return sets


def _pack(
    pictures: PictureDataset,
    chosen: NDArray[np.intp],
    classes: tuple[str, str],
    out: Path,
    refused: tuple[int, int],
    train: int | None = None,
) -> ImageSet:
    """Write some of the pictures, the first `train` of them for training, and open the set."""
    with PackedWriter(
        out, classes, preprocessing=pictures.preprocessing, train=train, refused=refused
    ) as packed:
        for start in range(0, len(chosen), _IMAGES_PER_WRITE):
            batch = pictures.image_set(chosen[start : start + _IMAGES_PER_WRITE], classes, "")
            packed.append(batch.images, batch.labels.astype(np.uint8))
    return load_packed(out)


def _check_free(out: Path) -> None:
    """Reject an output that is a file, or a folder with anything other than a set in it."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; give a folder for the set")
    if not out.is_dir() or any(map(is_packed, (out, out / "train", out / "valid"))):
        return
    for each in sorted(out.iterdir()):  # an interrupted pack leaves files of a set
        if each.name not in (*FILES, "train", "valid") and not each.name.startswith("."):
            raise ValueError(
                f"{out} already holds {each.name}, which is not part of a packed set; give a new "
                "or empty folder"
            )
