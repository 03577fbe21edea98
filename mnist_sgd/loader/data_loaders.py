"""A training and a validation loader together, and the first batch of either."""

from collections.abc import Iterable, Mapping
from types import GeneratorType
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import Dataset

from mnist_sgd.data import ImageSet

__all__ = ["Batch", "DataLoaders", "check_alike", "check_length", "first", "length_of"]

T = TypeVar("T")

Batch = tuple[torch.Tensor, torch.Tensor]


class DataLoaders:
    """A training and a validation loader, as `.train` and `.valid` or `[0]` and `[1]`.

    Any iterables of `(xb, yb)` will do; a schedule and `lr_find` need a length; what needs class
    names or pixels (`Learner.predict`, `Learner.export`) needs this package's `DataLoader` of an
    `ImageSet`.

    Args:
        train: batches to train with; each `iter()` must give them anew.
        valid: batches to validate with.

    Raises:
        TypeError: one of them is no such iterable, or a data set, of which a loader makes batches.
        ValueError: they are of image sets, and a class has the label 0 in one and 1 in the other,
            or one is normalised otherwise than the other.
    """

    def __init__(self, train: Iterable[Batch], valid: Iterable[Batch]) -> None:
        _check_batches("train", train)
        _check_batches("valid", valid)
        check_alike(train, valid)
        self.train = train
        self.valid = valid

    def __getitem__(self, index: int) -> Iterable[Batch]:
        """The training loader for 0, the validation loader for 1."""
        return (self.train, self.valid)[index]


def first(items: Iterable[T]) -> T:
    """The first item.

    Raises:
        ValueError: there is none.
    """
    for item in items:
        return item
    raise ValueError("there is no first item: the iterable is empty")


def length_of(batches: object) -> int | None:
    """The number of batches; None if that is not known before the last of them.

    A torch `DataLoader` has a `__len__` that fails where its data set is an `IterableDataset`.
    """
    try:
        return len(batches)  # type: ignore[arg-type]  # it may have none
    except (TypeError, NotImplementedError):
        return None


def check_length(batches: object, what: str) -> int:
    """The number of batches, for something that needs it.

    Args:
        batches: of the training.
        what: needs it.

    Raises:
        TypeError: it is not known.
    """
    length = length_of(batches)
    if length is None:
        raise TypeError(
            f"{what} needs the number of training batches, and the training loader "
            f"({type(batches).__name__}) does not tell it: give it, or the data set that it takes "
            "its items from, a __len__"
        )
    return length


def check_alike(train: object, valid: object) -> None:
    """See that labels and pixels mean the same in training and in validation.

    Args:
        train: anything; a loader of an `ImageSet` says what its labels mean.
        valid: the same.

    Raises:
        ValueError: a class has one label in one and another in the other, or the loaders have
            another mean or std.
    """
    sets = [getattr(each, "dataset", None) for each in (train, valid)]
    classes = [each.classes for each in sets if isinstance(each, ImageSet)]
    if len(classes) < 2:
        return
    ours, theirs = classes
    _check_normalisation(train, valid)
    if ours[0] == theirs[1] or ours[1] == theirs[0]:
        raise ValueError(
            f"the training set has the classes {ours} and the validation set {theirs}, so that "
            f"label 1 is {ours[1]!r} in one and {theirs[1]!r} in the other; make both with the "
            "classes, and so the labels, in the same order"
        )


def _check_normalisation(train: Any, valid: Any) -> None:
    """Refuse loaders that make other numbers of the same pixels."""
    ours, theirs = (
        [getattr(each, name, None) for name in ("mean", "std")] for each in (train, valid)
    )
    if None not in (*ours, *theirs) and ours != theirs:
        raise ValueError(
            f"the training batches have mean {ours[0]} and std {ours[1]}, the validation batches "
            f"mean {theirs[0]} and std {theirs[1]}: a model would be measured and exported with "
            "other numbers than it is trained on; give both loaders the same"
        )


def _check_batches(name: str, batches: object) -> None:
    """Refuse what cannot be gone through in batches, as far as it shows without trying."""
    kind = type(batches).__name__
    if isinstance(batches, GeneratorType | zip | map | filter | enumerate):
        raise TypeError(
            f"{name} must give its batches anew for each epoch, and a {kind} gives them once; "
            "list() keeps them"
        )
    if isinstance(batches, ImageSet | Dataset) or _is_list_of_items(batches):
        raise TypeError(
            f"{name} must be batches, got the data set itself ({kind}); DataLoader makes batches "
            "of it, as in DataLoader(dataset, batch_size=256)"
        )
    wrong = (str, bytes, Mapping, torch.Tensor, np.ndarray)
    if isinstance(batches, wrong) or not hasattr(batches, "__iter__"):
        raise TypeError(
            f"{name} must be an iterable of batches (xb, yb), such as a DataLoader, got {kind}"
        )


def _is_list_of_items(batches: object) -> bool:
    """Whether a list holds items: in a batch x has at least two dimensions."""
    if not isinstance(batches, list | tuple) or not batches:
        return False
    item = batches[0]
    pair = isinstance(item, tuple | list) and len(item) == 2
    return pair and np.ndim(item[0]) < 2
