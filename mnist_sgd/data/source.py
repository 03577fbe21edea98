"""`--data`: any folder with images in it, to a training and a validation set, or to one of all.

What a folder is, is told by what is in it, in this order:

    set.json                                   a packed set, with its sides as `pack` knew them, or
                                                 else shared out by the images' content
    train/set.json, valid/set.json             two packed sets, as `pack` makes them of two parts
    train-images-idx3-ubyte, ...               IDX files, see `mnist_sgd.data.idx_folder`
    anything else                              pictures in folders, see `data.pictures.folders`
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_sgd._names import printable
from mnist_sgd.data.idx_folder import find_idx_folder, load_idx_folder
from mnist_sgd.data.imageset import ImageSet
from mnist_sgd.data.packed import is_packed, load_packed, refused_pictures, training_images
from mnist_sgd.data.pictures.checks import findings
from mnist_sgd.data.pictures.choice import Choice
from mnist_sgd.data.pictures.decoding import DIGEST_BYTES
from mnist_sgd.data.pictures.folders import UnusableFile
from mnist_sgd.data.pictures.importer import Pictures, import_folder, in_valid_share, label_order
from mnist_sgd.data.pictures.unknown_folder import check_known, named_folder
from mnist_sgd_serve._earlier import accepts_earlier

__all__ = ["LoadedData", "load_data", "load_whole"]


@dataclass(frozen=True)
class LoadedData:
    """What a folder gave.

    Attributes:
        train: the training set.
        valid: the validation set.
        notes: what one should know of it, a sentence each; see `findings`.
        choice: of the preprocessing, where it was chosen by the pictures.
    """

    train: ImageSet
    valid: ImageSet
    notes: tuple[str, ...] = ()
    choice: Choice | None = None


@accepts_earlier(preparation="preprocessing")
def load_data(
    folder: str | os.PathLike[str],
    *,
    classes: tuple[str, str] | None = None,
    positive: str | None = None,
    preprocessing: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    workers: int = 1,
    on_unusable: Callable[[UnusableFile], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_wait: Callable[[], None] | None = None,
) -> LoadedData:
    """Load the images of two classes.

    Args:
        folder: of one of the kinds above.
        classes: the negative and the positive class; None where there are only two.
        positive: the name of the positive class; None for the second of `classes`, or else that of
            a packed set, or else the last as strings sort, so 9 of 9 and 10.
        preprocessing: mnist, fit or stretch; for pictures how they are preprocessed, for images how
            others shall be for a model that is trained on these. None chooses mnist or fit by the
            pictures, see `data.pictures.choice`, and takes what a packed set says, or mnist for
            other images.
        cache: where preprocessed pictures are kept, see `import_folder`, as for the rest.
        workers: processes that decode.
        on_unusable: called for each file that is left out; None to end with the first.
        on_progress: called with the number of files that are known and of all.
        on_wait: called if this waits for another import.

    Raises:
        UnusableFile, CacheError, ValueError: see `import_folder`.
        IdxError: an IDX file is not usable, or missing.
        ValueError: the folder holds other classes than wanted, or nothing that can be loaded, or a
            packed set was preprocessed in another way; or all images are on one side, so that one
            of the two sets is empty.
    """
    path = named_folder(folder)
    positive = _positive(classes, positive)
    found = _found(
        path,
        classes,
        positive,
        preprocessing,
        cache=cache,
        workers=workers,
        on_unusable=on_unusable,
        on_progress=on_progress,
        on_wait=on_wait,
    )
    if isinstance(found, Pictures):
        return _shared_out(found, label_order(found.classes, positive))
    if len(found) == 1:
        return _shared_out_set(path, found[0])
    train, valid = found
    return LoadedData(train, valid)


@accepts_earlier(preparation="preprocessing")
def load_whole(
    folder: str | os.PathLike[str],
    *,
    classes: tuple[str, str] | None = None,
    positive: str | None = None,
    preprocessing: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    workers: int = 1,
    on_unusable: Callable[[UnusableFile], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_wait: Callable[[], None] | None = None,
) -> ImageSet:
    """Load all images of two classes as one set, whichever side `load_data` would put them on.

    Pictures come by part, class and name; of two parts of images the training part comes first,
    and both are copied.

    Args:
        folder: of one of the kinds above; for the rest see `load_data`.
        classes: the negative and the positive class.
        positive: the name of the positive class.
        preprocessing: mnist, fit or stretch; None as for `load_data`.
        cache: where preprocessed pictures are kept.
        workers: processes that decode.
        on_unusable: called for each file that is left out; None to end with the first.
        on_progress: called with the number of files that are known and of all.
        on_wait: called if this waits for another import.

    Raises:
        UnusableFile, CacheError, ValueError, IdxError: as `load_data`, but for the sides.
    """
    path = named_folder(folder)
    positive = _positive(classes, positive)
    found = _found(
        path,
        classes,
        positive,
        preprocessing,
        cache=cache,
        workers=workers,
        on_unusable=on_unusable,
        on_progress=on_progress,
        on_wait=on_wait,
    )
    name = printable(path.resolve().name)
    if isinstance(found, Pictures):
        every = np.arange(len(found))
        order = label_order(found.classes, positive)
        return found.image_set(every, order, name, sum(found.refused))
    if len(found) == 1:
        return found[0]
    return replace(
        found[0],
        images=np.concatenate([each.images for each in found]),
        labels=np.concatenate([each.labels for each in found]),
        name=name,
        rows=[rows for each in found for rows in each.rows],
        refused=sum(each.refused for each in found),
    )


def _positive(classes: tuple[str, str] | None, positive: str | None) -> str | None:
    """The name of the positive class, where one is wished for."""
    return classes[1] if classes is not None and positive is None else positive


def _found(
    path: Path,
    classes: tuple[str, str] | None,
    positive: str | None,
    preprocessing: str | None,
    **options: Any,
) -> Pictures | list[ImageSet]:
    """The pictures of a folder, or its one set or its two of images."""
    packed = [path] if is_packed(path) else [path / "train", path / "valid"]
    if all(map(is_packed, packed)):
        return _packed(packed, classes, positive, preprocessing)
    idx = find_idx_folder(path)
    if idx is not None:
        return [*load_idx_folder(idx, classes, positive, preprocessing or "mnist")]
    check_known(path, classes)
    return import_folder(path, classes=classes, preprocessing=preprocessing, **options)


def _shared_out(pictures: Pictures, classes: tuple[str, str]) -> LoadedData:
    name = printable(Path(pictures.folder).resolve().name)
    _check_parts(pictures.folder, pictures.for_valid, pictures.labels, pictures.classes)
    train, valid = (
        pictures.image_set(np.flatnonzero(side), classes, f"{name}, {part}", refused)
        for part, side, refused in zip(
            ("train", "valid"),
            (~pictures.for_valid, pictures.for_valid),
            pictures.refused,
            strict=True,
        )
    )
    return LoadedData(train, valid, (*pictures.notes, *findings(pictures)), pictures.choice)


def _packed(
    folders: list[Path],
    classes: tuple[str, str] | None,
    positive: str | None,
    preprocessing: str | None,
) -> list[ImageSet]:
    sets = [load_packed(folder, name=_packed_name(folder, folders)) for folder in folders]
    for each, folder in zip(sets, folders, strict=True):
        if sorted(classes or each.classes) != sorted(each.classes):
            first, last = each.classes
            raise ValueError(f"{folder}: its classes are {first!r} and {last!r}")
        if preprocessing not in (None, each.preprocessing):
            raise ValueError(
                f"{folder}: its images were preprocessed by {each.preprocessing!r}, "
                f"which cannot become {preprocessing!r}"
            )
    if len({(each.classes, each.preprocessing) for each in sets}) > 1:
        raise ValueError(f"{folders[0]} and {folders[1]}: they differ in classes or preprocessing")
    return [_turned(each, label_order(each.classes, positive)) for each in sets]


def _packed_name(folder: Path, folders: list[Path]) -> str:
    whole = folder.resolve()
    return whole.name if len(folders) == 1 else f"{whole.parent.name}, {whole.name}"


def _turned(data: ImageSet, classes: tuple[str, str]) -> ImageSet:
    """The same set with the classes in this order."""
    if data.classes == classes:
        return data
    return replace(data, labels=data.labels ^ np.uint8(1), classes=classes)


def _shared_out_set(folder: Path, data: ImageSet) -> LoadedData:
    """The sides of one packed set: mapped where it says which they are, else told and copied."""
    count = training_images(folder)
    if count is None:
        return _by_content(folder, data)
    for_valid = np.arange(len(data)) >= count
    _check_parts(folder, for_valid, data.labels, data.classes)
    train, valid = (
        _side(data, side, part, refused)
        for part, side, refused in zip(
            ("train", "valid"),
            (slice(count), slice(count, None)),
            refused_pictures(folder),
            strict=True,
        )
    )
    return LoadedData(train, valid)


def _side(
    data: ImageSet, which: slice | NDArray[np.bool_], part: str, refused: int = 0
) -> ImageSet:
    """One side of a packed set, whose rows are those of one file."""
    return replace(
        data,
        images=data.images[which],
        labels=data.labels[which],
        name=f"{data.name}, {part}",
        rows=[rows.at(which) for rows in data.rows],
        refused=refused,
    )


def _by_content(folder: Path, data: ImageSet) -> LoadedData:
    """Share out the images of one set as pictures are shared out, by their bytes; both copied."""
    digests = (blake2b(image, digest_size=DIGEST_BYTES).hexdigest() for image in data.images)
    for_valid = np.array([in_valid_share(digest) for digest in digests])
    _check_parts(folder, for_valid, data.labels, data.classes)
    train, valid = (
        _side(data, side, part) for part, side in (("train", ~for_valid), ("valid", for_valid))
    )
    note = (
        f"{printable(str(folder))}: the set does not say which images are for training; they are "
        "told by the images, not as in the folder that they may come from"
    )
    return LoadedData(train, valid, (note,))


def _check_parts(
    folder: str | Path,
    for_valid: NDArray[np.bool_],
    labels: NDArray[np.integer[Any]],
    classes: tuple[str, str],
) -> None:
    """Refuse a training set that lacks a class, and an empty validation set."""
    lacking = [
        f"of {name!r} falls to the training set"
        for label, name in enumerate(classes)
        if np.all(for_valid[labels == label])
    ]
    if not for_valid.any():
        lacking.append("falls to the validation set")
    if lacking:
        raise ValueError(
            f"{folder}: by their content no picture {lacking[0]}; add pictures, or share them out "
            "yourself, in folders train and valid"
        )
