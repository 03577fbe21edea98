"""Batches of any (x, y) items, for `DataLoader`: what the C++ core does for images of bytes.

Items are put together by torch's `default_collate`, so a float32 tensor comes as it is, and in the
core's order. It costs what indexing in Python costs; images of bytes take the core.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from hashlib import blake2b
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import TensorDataset, default_collate

import mnist_sgd._core as _core
from mnist_sgd.data import ImageSet

__all__ = ["ItemEpoch", "ItemLoader", "Items", "images_or_items"]

FIXED = (TensorDataset, list, tuple)
"""The data sets whose items stay the same. Not their subclasses, whose code may change an item."""

_FINGERPRINT_ROWS = 4096


class Items:
    """A data set of (x, y) pairs that can be indexed.

    Args:
        dataset: a `TensorDataset` of two tensors, or anything with a length and an index whose
            items are pairs of tensors, arrays or numbers.

    Attributes:
        x: of the first item, as a batch of one.
        y: of the first item, as a batch of one.

    Raises:
        TypeError: it is no such data set; the message says what it is.
        ValueError: it is empty.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        indexable = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
        if not indexable or isinstance(dataset, str | bytes | Mapping):
            raise TypeError(
                "a data set must be an ImageSet, a TensorDataset, or anything with a length and an "
                f"index that gives (x, y) pairs, got {type(dataset).__name__}{_advice(dataset)}"
            )
        if type(dataset) is TensorDataset and len(dataset.tensors) != 2:
            raise TypeError(
                f"a TensorDataset of two tensors is needed, x and y, got {len(dataset.tensors)}"
            )
        if len(dataset) == 0:
            raise ValueError("the data set is empty; at least 1 item is needed")
        self.x, self.y = self.take(np.zeros(1, np.int64))

    def __len__(self) -> int:
        """Count the items."""
        return len(self.dataset)

    def take(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """The items of these indices, at least one, as a batch of new tensors."""
        if type(self.dataset) is TensorDataset:  # a subclass may give others than its tensors
            index = torch.from_numpy(rows)
            x, y = (each[index.to(each.device)] for each in self.dataset.tensors)
            return x, y
        many = getattr(self.dataset, "__getitems__", None)  # as torch's loader asks for them
        items = many(rows.tolist()) if many else [self.dataset[row] for row in rows.tolist()]
        for item in items[:1]:
            if not isinstance(item, tuple | list) or len(item) != 2:
                raise TypeError(
                    f"each item of a data set must be a pair (x, y), got {type(item).__name__}"
                    f"{_advice_on_columns(self.dataset)}"
                )
        try:
            x, y = default_collate(items)
        except TypeError as error:
            raise TypeError(
                "the items of a data set must be pairs of tensors, arrays or numbers, got "
                f"{' and '.join(type(each).__name__ for each in items[0])}"
            ) from error
        if not isinstance(x, Tensor) or not isinstance(y, Tensor):
            raise TypeError(
                "the items of a data set must be pairs of tensors, arrays or numbers, got "
                f"{' and '.join(type(each).__name__ for each in items[0])}"
            )
        return x, y

    def refuse_options(self, **changed: bool) -> None:
        """Refuse options that change images of bytes.

        Args:
            changed: by the name of an option, whether it has another value than its default.

        Raises:
            ValueError: one has; the message says why that cannot be.
        """
        names = [name for name, other in changed.items() if other]
        if not names:
            return
        if _are_images(self.x, self.y):
            raise ValueError(
                f"{' and '.join(names)} cannot be used here: a {type(self.dataset).__name__} is "
                "asked for its items in every epoch, and they are batched as they are; if they "
                "are always the same, DataLoader(list(dataset)) reads them once, as images"
            )
        kinds = [f"{each.dtype} {list(each.shape[1:])}" for each in (self.x, self.y)]
        raise ValueError(
            f"{' and '.join(names)} cannot be used here: only images of uint8 [28, 28] with "
            f"labels 0 and 1 can be changed, and the items are {' and '.join(kinds)}"
        )

    def fingerprint(self) -> str:
        """16 hexadecimal digits that tell this data set from another; the first call computes them.

        Of the kinds in `FIXED`: a digest of the count and of the items, beyond 4,096 of 4,096
        evenly spaced ones. Any other data set may give other items each time: a digest of the
        count and of the first item's types and shapes.
        """
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        kinds = [[str(each.dtype), *each.shape[1:]] for each in (self.x, self.y)]
        digest = blake2b(f"{len(self)} {kinds}".encode(), digest_size=8)
        if type(self.dataset) in FIXED:
            taken = min(len(self), _FINGERPRINT_ROWS)
            for each in self.take(np.arange(taken) * len(self) // taken):
                digest.update(each.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()


class ItemLoader:
    """What `_core.Loader` is for images: the batches of each epoch, for one rank."""

    def __init__(
        self,
        items: Items,
        *,
        batch_size: int,
        shuffle: bool,
        drop_last: bool,
        seed: int,
        rank: int,
        world_size: int,
    ) -> None:
        self.items = items
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        full, rest = divmod(len(items), batch_size)
        self._batches = full if drop_last or rest == 0 else full + 1

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self._batches

    def epoch(self, epoch: int, first_batch: int) -> "ItemEpoch":
        """The batches of an epoch from `first_batch` on."""
        return ItemEpoch(self, epoch, first_batch)

    def batch(self, epoch: int, number: int) -> tuple[Tensor, Tensor]:
        """Make this rank's part of a batch; it can be empty."""
        start = number * self.batch_size
        size = min(self.batch_size, len(self.items) - start)
        share, rest = divmod(size, self.world_size)  # the first `rest` ranks take one item more
        start += share * self.rank + min(self.rank, rest)
        stop = start + share + (self.rank < rest)
        if start == stop:
            return self.items.x[:0].clone(), self.items.y[:0].clone()
        if not self.shuffle:
            return self.items.take(np.arange(start, stop))
        count = len(self.items)
        return self.items.take(
            _core.order(count, seed=self.seed, epoch=epoch, start=start, stop=stop)
        )


class ItemEpoch(Iterator[tuple[Tensor, Tensor]]):
    """What `_core.Epoch` is for images: an iterator that says how far it has come."""

    def __init__(self, loader: ItemLoader, epoch: int, first_batch: int) -> None:
        self._loader: ItemLoader | None = loader
        self._epoch = epoch
        self.progress = SimpleNamespace(delivered=first_batch, exhausted=False)

    def __next__(self) -> tuple[Tensor, Tensor]:
        """The next batch."""
        if self._loader is None:
            raise StopIteration
        if self.progress.delivered >= len(self._loader):
            self.progress.exhausted = True
            self.close()
            raise StopIteration
        batch = self._loader.batch(self._epoch, self.progress.delivered)
        self.progress.delivered += 1
        return batch

    def close(self) -> None:
        """Give no more batches."""
        self._loader = None


def images_or_items(dataset: Any) -> ImageSet | Items:
    """The data set as images, if it holds images of bytes that stay the same, else as items.

    Args:
        dataset: as `Items` takes it.

    Returns:
        An `ImageSet` of the classes "0" and "1", of a data set of one of the kinds in `FIXED`
        whose x are uint8 of 784 pixels and whose y are integers: a `TensorDataset` is read in
        place, a list or a tuple is copied once. Otherwise items, which are batched as they are.

    Raises:
        TypeError: it is no data set of pairs.
        ValueError: it is empty, or a label of such images is neither 0 nor 1.
    """
    items = Items(dataset)
    if type(dataset) not in FIXED or not _are_images(items.x, items.y):
        return items
    if isinstance(dataset, TensorDataset):
        x, y = dataset.tensors
    else:
        x, y = items.take(np.arange(len(items)))
    pixels = x.detach().cpu().contiguous().reshape(-1, 28, 28).numpy()
    return ImageSet(pixels, y.detach().cpu().reshape(-1).to(torch.int64).numpy(), ("0", "1"))


def _are_images(x: Tensor, y: Tensor) -> bool:
    """Whether a batch of one holds an image of bytes and a label."""
    kinds = ((784,), (28, 28), (1, 28, 28))
    images = x.dtype == torch.uint8 and tuple(x.shape[1:]) in kinds
    return images and y.numel() == 1 and not y.is_floating_point() and not y.is_complex()


def _advice_on_columns(dataset: Any) -> str:
    """What would help with (x, y), two arrays instead of pairs."""
    if type(dataset) not in (list, tuple) or len(dataset) != 2:
        return ""
    lengths = {len(each) for each in dataset if isinstance(each, Tensor | np.ndarray) and each.ndim}
    return "; of two arrays list(zip(x, y)) makes pairs" if len(lengths) == 1 else ""


def _advice(dataset: object) -> str:
    """What would help with a thing that is often given instead."""
    if isinstance(dataset, Iterator):
        return "; list() makes a data set of it"
    if hasattr(dataset, "train") and hasattr(dataset, "valid"):
        return "; take its train or its valid"
    if hasattr(dataset, "__iter__") and not isinstance(dataset, str | bytes | Mapping):
        return "; batches need no loader"
    return ""
