"""A pair of a training and a validation loader."""

from collections.abc import Callable, Iterable, Mapping
from types import GeneratorType
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

import numpy as np
import torch
from torch.utils.data import Dataset

from mnist_sgd.data import ImageSet
from mnist_sgd.loader.batch_images import class_names, images_of, titles_of
from mnist_sgd.training.coming_from_fastai import DATALOADERS, missing

if TYPE_CHECKING:
    from mnist_sgd.report.image_grid import Layout

T = TypeVar("T")

Batch = tuple[torch.Tensor, torch.Tensor]


class _NamesTheWay(type):
    """Makes the error for what fastai's class has, such as `DataLoaders.from_folder`."""

    if not TYPE_CHECKING:  # to a type checker, what is not here is an error

        def __getattr__(cls, name: str) -> Any:
            raise missing(cls.__name__, name, DATALOADERS)


class DataLoaders(metaclass=_NamesTheWay):
    """A training and a validation loader, as `.train` and `.valid` or `[0]` and `[1]`.

    They may be any iterables of `(xb, yb)`. Schedules and `lr_find` need a length;
    `Learner.predict` and `Learner.export` need this package's `DataLoader` of an `ImageSet`, for
    class names and pixels.

    Args:
        train: batches to train on; each `iter()` must start over.
        valid: batches to validate on.

    Raises:
        TypeError: one is not such an iterable, or is a data set, which needs a loader.
        ValueError: label 1 is another class in one than in the other, or their normalisation
            differs.
    """

    def __init__(self, train: Iterable[Batch], valid: Iterable[Batch]) -> None:
        _check_batches("train", train)
        _check_batches("valid", valid)
        check_alike(train, valid)
        self.train = train
        self.valid = valid

    def __repr__(self) -> str:
        return f"DataLoaders(train={self.train!r}, valid={self.valid!r})"

    def __getitem__(self, index: int) -> Iterable[Batch]:
        """Return the training loader for 0, the validation loader for 1."""
        return (self.train, self.valid)[index]

    @property
    def vocab(self) -> list[str]:
        """The class names in label order.

        Raises:
            TypeError: the validation batches are not from a loader of an `ImageSet`.
        """
        return class_names(self.valid)

    def one_batch(self) -> Batch:
        """Return the first training batch: `xb` `[B, ...]` and `yb` `[B, 1]`.

        The next epoch still starts with it, unless another package's loader draws batches anew.
        """
        own: Callable[[], Batch] | None = getattr(self.train, "one_batch", None)
        return first(self.train) if own is None else own()

    def show_batch(self, max_n: int = 9, **layout: Unpack["Layout"]) -> None:
        """Draw the first images of the next training batch, with their classes as titles.

        Args:
            max_n: how many at most.
            layout: `nrows` and `ncols` of the grid, which come before `max_n`, and `figsize`, its
                width and height in inches.

        Raises:
            ImportError: matplotlib is missing.
            ValueError: the batches are no images, `[B, 784]` or `[B, 1, H, W]`.
        """
        from mnist_sgd.report.image_grid import draw_images, most_images

        xb, yb = (each[: most_images(max_n, layout)] for each in self.one_batch())
        draw_images(images_of(xb, self.train), titles_of(yb, self.train), layout)

    if not TYPE_CHECKING:  # to a type checker, what is not here is an error

        def __getattr__(self, name: str) -> Any:
            """Name the replacement of an attribute that only fastai's DataLoaders has."""
            raise missing("this DataLoaders", name, DATALOADERS)


def first(items: Iterable[T]) -> T:
    """Return the first item.

    Raises:
        ValueError: there is none.
    """
    for item in items:
        return item
    raise ValueError("there is no first item: the iterable is empty")


def length_of(batches: object) -> int | None:
    """Return the number of batches; None if unknown.

    The `__len__` of torch's `DataLoader` fails for an `IterableDataset`.
    """
    try:
        return len(batches)  # type: ignore[arg-type]  # it may have none
    except (TypeError, NotImplementedError):
        return None


def check_length(batches: object, what: str) -> int:
    """Return the number of batches; raise TypeError if it is unknown.

    Args:
        batches: to train on.
        what: what needs the number, for the message.
    """
    length = length_of(batches)
    if length is None:
        raise TypeError(
            f"{what} needs the number of training batches, but the training loader "
            f"({type(batches).__name__}) has no length; give it, or the data set it loads from, a "
            "__len__"
        )
    return length


def check_alike(train: object, valid: object) -> None:
    """Check that labels and pixels mean the same in training and validation.

    Args:
        train: any iterable; only loaders of an `ImageSet` are checked.
        valid: likewise.

    Raises:
        ValueError: a class has different labels, or mean or std differ.
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
    """Reject loaders with different mean or std."""
    ours, theirs = (
        [getattr(each, name, None) for name in ("mean", "std")] for each in (train, valid)
    )
    if None not in (*ours, *theirs) and ours != theirs:
        raise ValueError(
            f"the training batches have mean {ours[0]} and std {ours[1]}, the validation batches "
            f"mean {theirs[0]} and std {theirs[1]}: a model would be evaluated and exported with "
            "another normalisation than it is trained with; give both loaders the same"
        )


def _check_batches(name: str, batches: object) -> None:
    """Reject what is clearly not an iterable of batches, without iterating it."""
    kind = type(batches).__name__
    if isinstance(batches, GeneratorType | zip | map | filter | enumerate):
        raise TypeError(
            f"{name} must yield its batches again in each epoch, but a {kind} yields them once; "
            "use list() to keep them"
        )
    if isinstance(batches, ImageSet | Dataset) or _is_list_of_items(batches):
        raise TypeError(
            f"{name} must be batches, got the data set itself ({kind}); make batches with "
            "DataLoader(dataset, batch_size=256)"
        )
    wrong = (str, bytes, Mapping, torch.Tensor, np.ndarray)
    if isinstance(batches, wrong) or not hasattr(batches, "__iter__"):
        raise TypeError(
            f"{name} must be an iterable of batches (xb, yb), such as a DataLoader, got {kind}"
        )


def _is_list_of_items(batches: object) -> bool:
    """Tell whether a list holds items, not batches, whose x has at least two dimensions."""
    if not isinstance(batches, list | tuple) or not batches:
        return False
    item = batches[0]
    pair = isinstance(item, tuple | list) and len(item) == 2
    return pair and np.ndim(item[0]) < 2
