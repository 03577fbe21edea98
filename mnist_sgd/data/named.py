"""Torchvision's named sets of 28 x 28 grey images, two classes at a time.

MNIST, FashionMNIST, KMNIST, QMNIST and EMNIST, from torchvision's own folders, which it can also
download. Torchvision is imported when a set is asked for, not before: it costs seconds.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_sgd._installed import need
from mnist_sgd.data.imageset import ImageSet, select_classes

__all__ = ["torchvision_set"]

_SETS = ("MNIST", "FashionMNIST", "KMNIST", "QMNIST", "EMNIST")
_EMNIST_SPLITS = ("balanced", "byclass", "bymerge", "digits", "letters", "mnist")


def torchvision_set(
    name: str,
    classes: tuple[str | int, str | int],
    *,
    root: str | os.PathLike[str],
    download: bool = False,
    split: str = "balanced",
) -> tuple[ImageSet, ImageSet]:
    """Load two classes of one of torchvision's sets: its training set and its test set.

    Args:
        name: MNIST, FashionMNIST, KMNIST, QMNIST or EMNIST.
        classes: the negative and the positive class. Each is a label (7), or a name as the set
            has it ("Sneaker"), or one part of it ("3" or "three" of "3 - three"), in any case
            where that is unique, or else a label as text.
        root: torchvision's folder, which holds `<name>/raw`.
        download: fetch the files that are missing.
        split: which of EMNIST's six sets; the other four have only one and leave it unread.

    Returns:
        The training and the test set. Their classes have the set's own names, without what follows
        " - ", so MNIST's are "0" to "9". EMNIST's images, stored on their side, are upright.

    Raises:
        ValueError: an unknown set, split or class, where the message lists the choices; or the
            files are missing or damaged, where it names the folder.
        ImportError: torchvision is missing.
    """
    if name not in _SETS:
        raise ValueError(f"unknown set {name!r}; the sets are {', '.join(_SETS)}")
    if name == "EMNIST" and split not in _EMNIST_SPLITS:
        raise ValueError(f"EMNIST has no split {split!r}; it has {', '.join(_EMNIST_SPLITS)}")
    options = {"split": split} if name == "EMNIST" else {}
    train, test = (
        _open(name, Path(root), train=train, download=download, **options)
        for train in (True, False)
    )
    names = [str(full) for full in train.classes]
    title = f"{name} {split}" if name == "EMNIST" else name
    negative, positive = (_label(title, names, given) for given in classes)
    short = (names[negative].split(" - ")[0], names[positive].split(" - ")[0])
    return (
        _two_classes(train, (negative, positive), short, f"{title}, train"),
        _two_classes(test, (negative, positive), short, f"{title}, test"),
    )


def _open(name: str, root: Path, **options: Any) -> Any:
    """Make torchvision's data set object; a missing or damaged file becomes one sentence.

    Torchvision's reader asserts, looks up and reshapes what a file says, hence the many types.
    """
    need("torchvision", f"the set {name}")
    from torchvision import datasets

    try:
        return getattr(datasets, name)(root, **options)
    except (AssertionError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()) or "a file is damaged"
        how = "" if options["download"] else ", or set download=True (--download)"
        raise ValueError(
            f"{name} cannot be loaded from {root / name / 'raw'} (torchvision: {reason}); "
            f"put its files there{how}"
        ) from error


def _label(title: str, names: Sequence[str], given: str | int) -> int:
    """Find the label of the class that `given` means among classes of these names."""
    text = str(given)
    parts = [[name, *name.split(" - ")] for name in names]
    matches = [
        [i for i, known in enumerate(parts) if text in known],
        [i for i, known in enumerate(parts) if text.casefold() in map(str.casefold, known)],
    ]
    labels = [int(text)] if text.isdecimal() else []
    for found in [labels] if isinstance(given, int) else [*matches, labels]:
        if len(found) == 1 and found[0] < len(names):
            return found[0]
    raise ValueError(f"{title} has no class {given!r}; its classes are {', '.join(names)}")


def _two_classes(
    dataset: Any, pair: tuple[int, int], classes: tuple[str, str], name: str
) -> ImageSet:
    """Select from a torchvision data set, which holds its images and labels as tensors."""
    images: NDArray[np.uint8] = dataset.data.numpy()
    labels: NDArray[np.int64] = dataset.targets.numpy()
    if name.startswith("EMNIST"):
        images = images.transpose(0, 2, 1)
    if labels.ndim == 2:  # QMNIST: the digit, then where it comes from
        labels = labels[:, 0]
    return select_classes(images, labels, pair, classes, name=name)
