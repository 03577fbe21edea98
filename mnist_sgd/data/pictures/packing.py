"""From a folder of pictures to packed sets, which need neither the folder nor its cache."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_sgd.data.imageset import ImageSet
from mnist_sgd.data.packed import FILES, PackedWriter, is_packed, load_packed, remove_packed
from mnist_sgd.data.pictures.choice import Choice
from mnist_sgd.data.pictures.folders import UnusableFile
from mnist_sgd.data.pictures.importer import Pictures, import_folder, label_order
from mnist_sgd.data.pictures.unknown_folder import named_folder
from mnist_sgd_serve._earlier import accepts_earlier

__all__ = ["pack_folder"]

_WRITTEN = 4096
"""Images that are written at once, 3 MB."""


@accepts_earlier(preparation="preprocessing")
def pack_folder(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    classes: tuple[str, str] | None = None,
    positive: str | None = None,
    preprocessing: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    workers: int = 1,
    on_choice: Callable[[Choice], None] | None = None,
    on_unusable: Callable[[UnusableFile], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_wait: Callable[[], None] | None = None,
) -> tuple[ImageSet, ...]:
    """Preprocess the pictures of two classes and write them as packed sets.

    Args:
        folder: of pictures, see `mnist_sgd.data.pictures.folders`.
        out: the folder of the packed set, see `PackedWriter`: the training pictures, then those for
            validation, each by class and name, on the sides that `load_data` puts them. Of a folder
            with parts there come two sets, the folders train and valid in it. Not in `folder`.
        classes: the negative and the positive class; None where the folder has only two.
        positive: the name of the positive class; None for the second of `classes`, or else the
            last of the two as strings sort.
        preprocessing: how pictures are preprocessed, see `import_folder`, as for the rest.
        cache: where preprocessed pictures are kept.
        workers: processes that decode.
        on_choice: called with the choice of the preprocessing, if there is one to make.
        on_unusable: called for each file that is left out; None to end with the first.
        on_progress: called with the number of files that are known and of all.
        on_wait: called if this waits for another import.

    Returns:
        The packed set, or that of train and that of valid; mapped.

    Raises:
        UnusableFile, CacheError, ValueError: see `import_folder`; or `out` lies in `folder`, or
            is a file, or a folder that holds something else than a set.
        OSError: a file cannot be written.
    """
    named_folder(folder), named_folder(out)
    if Path(out).resolve().is_relative_to(Path(folder).resolve()):
        raise ValueError(f"{os.fspath(out)}: it lies inside {os.fspath(folder)}, which is packed")
    _check_free(Path(out))
    if classes is not None and positive is None:
        positive = classes[1]
    pictures = import_folder(
        folder,
        classes=classes,
        preprocessing=preprocessing,
        cache=cache,
        workers=workers,
        on_unusable=on_unusable,
        on_progress=on_progress,
        on_wait=on_wait,
    )
    if on_choice and pictures.choice:
        on_choice(pictures.choice)
    order = label_order(pictures.classes, positive)
    train, valid = np.flatnonzero(~pictures.for_valid), np.flatnonzero(pictures.for_valid)
    if not pictures.parts:
        both = np.concatenate([train, valid])
        return (_pack(pictures, both, order, Path(out), pictures.refused, train=len(train)),)
    for_train, for_valid = pictures.refused
    sets = (
        _pack(pictures, train, order, Path(out) / "train", (for_train, 0)),
        _pack(pictures, valid, order, Path(out) / "valid", (0, for_valid)),
    )
    remove_packed(out)  # an older set without parts, which would be taken for the new one
    return sets


def _pack(
    pictures: Pictures,
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
        for start in range(0, len(chosen), _WRITTEN):
            part = pictures.image_set(chosen[start : start + _WRITTEN], classes, "")
            packed.append(part.images, part.labels.astype(np.uint8))
    return load_packed(out)


def _check_free(out: Path) -> None:
    """Refuse a folder for a set that holds something else.

    Raises:
        ValueError: so it does, or it is a file.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; name a folder for the set")
    if not out.is_dir() or any(map(is_packed, (out, out / "train", out / "valid"))):
        return
    for each in sorted(out.iterdir()):  # a pack that was cut off leaves files of a set
        if each.name not in (*FILES, "train", "valid") and not each.name.startswith("."):
            raise ValueError(
                f"{out} holds {each.name}, which is no file of a set; name a new or an empty folder"
            )
