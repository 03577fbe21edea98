"""Two classes of torchvision's MNIST, FashionMNIST, KMNIST, QMNIST or EMNIST.

Torchvision is imported only when a set is loaded, because that takes seconds.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_sgd._installed import need
from mnist_sgd.data.imageset import ImageSet, select_classes

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
    """Load two classes of the training and the test set of one of torchvision's data sets.

    Args:
        name: MNIST, FashionMNIST, KMNIST, QMNIST or EMNIST.
        classes: the negative and the positive class. Each is a label (7), a name ("Sneaker"), one
            part of it ("3" or "three" of "3 - three"), in any case if that is unique, or a label
            as text.
        root: torchvision's folder, which holds `<name>/raw`.
        download: download missing files.
        split: which of EMNIST's six sets; ignored for the other four.

    Returns:
        The training and the test set. Class names are the set's own up to " - ", so MNIST's are
        "0" to "9". EMNIST's images, stored transposed, are upright.

    Raises:
        ValueError: an unknown set, split or class (the message lists the choices); or files are
            missing, damaged or could not be downloaded (it names the folder).
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
    """Make torchvision's data set object; report a missing or damaged file in one sentence.

    Torchvision does not validate files, so a damaged one can raise any of these errors.
    """
    need("torchvision", f"the set {name}")
    from torchvision import datasets

    folder = root / name / "raw"
    try:
        return getattr(datasets, name)(root, **options)
    except (AssertionError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()) or "a file is damaged"
        if options["download"] and isinstance(error, OSError | RuntimeError):
            text = f"{name} could not be downloaded to {folder}: {reason}; put its files there"
        else:
            how = "" if options["download"] else ", or set download=True (--download)"
            text = (
                f"{name} cannot be loaded from {folder} (torchvision: {reason}); put its files "
                f"there{how}"
            )
        raise ValueError(text) from error


def _label(title: str, names: Sequence[str], given: str | int) -> int:
    """Return the label of the class that `given` names."""
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
    dataset: Any, label_pair: tuple[int, int], classes: tuple[str, str], name: str
) -> ImageSet:
    """Select from a torchvision data set, which holds its images and labels as tensors."""
    images: NDArray[np.uint8] = dataset.data.numpy()
    labels: NDArray[np.int64] = dataset.targets.numpy()
    if name.startswith("EMNIST"):
        images = images.transpose(0, 2, 1)
    if labels.ndim == 2:  # QMNIST: the first column is the digit
        labels = labels[:, 0]
    return select_classes(images, labels, label_pair, classes, name=name)
