"""Batches of any (x, y) items, in the same order as the C++ core's batches of uint8 images.

Items are collated by torch's `default_collate`, at the cost of indexing in Python.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import TensorDataset, default_collate

from mnist_sgd._extension import _core
from mnist_sgd.data import ImageSet

FIXED = (TensorDataset, list, tuple)
"""Data sets whose items never change; a subclass may change them."""

_FINGERPRINT_ROWS = 4096


class Items:
    """An indexable data set of (x, y) pairs.

    Args:
        dataset: a `TensorDataset` of two tensors, or anything with a length and an index whose
            items are pairs of tensors, arrays or numbers.

    Attributes:
        x: of the first item, as a batch of one.
        y: of the first item, as a batch of one.

    Raises:
        TypeError: not such a data set; the message names its type.
        ValueError: it is empty.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        indexable = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
        if not indexable or isinstance(dataset, str | bytes | Mapping):
            raise TypeError(
                "a data set must be an ImageSet, a TensorDataset, or anything with a length and an "
                f"index that returns (x, y) pairs, got {type(dataset).__name__}{_advice(dataset)}"
            )
        if type(dataset) is TensorDataset and len(dataset.tensors) != 2:
            raise TypeError(
                f"a TensorDataset must have two tensors, x and y, got {len(dataset.tensors)}"
            )
        if len(dataset) == 0:
            raise ValueError("the data set is empty; at least 1 item is needed")
        self.x, self.y = self.take(np.zeros(1, np.int64))

    def __len__(self) -> int:
        """Count the items."""
        return len(self.dataset)

    def take(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Collate the items with these indices, at least one, into new tensors."""
        if type(self.dataset) is TensorDataset:  # a subclass may change the items
            index = torch.from_numpy(rows)
            x, y = (each[index.to(each.device)] for each in self.dataset.tensors)
            return x, y
        many = getattr(self.dataset, "__getitems__", None)  # as torch's loader does
        items = many(rows.tolist()) if many else [self.dataset[row] for row in rows.tolist()]
        for item in items[:1]:
            if not isinstance(item, tuple | list) or len(item) != 2:
                raise TypeError(
                    f"each item of a data set must be a pair (x, y), got {type(item).__name__}"
                    f"{_advice_on_columns(self.dataset)}"
                )
        batch: Any = (None, None)
        with suppress(TypeError):
            batch = default_collate(items)
        x, y = batch
        if not isinstance(x, Tensor) or not isinstance(y, Tensor):
            raise TypeError(
                "the items of a data set must be pairs of tensors, arrays or numbers, got "
                f"{' and '.join(type(each).__name__ for each in items[0])}"
            )
        return x, y

    def reject_options(self, **changed: bool) -> None:
        """Reject options that only apply to uint8 images.

        Args:
            changed: whether each option differs from its default.

        Raises:
            ValueError: one does; the message says why it cannot be used.
        """
        names = [name for name, other in changed.items() if other]
        if not names:
            return
        if _are_images(self.x, self.y):
            raise ValueError(
                f"{' and '.join(names)} cannot be used here: the items of a "
                f"{type(self.dataset).__name__} may change in every epoch, so they are batched as "
                "they are; if they never change, DataLoader(list(dataset)) reads them once, as "
                "images"
            )
        kinds = [f"{each.dtype} {list(each.shape[1:])}" for each in (self.x, self.y)]
        raise ValueError(
            f"{' and '.join(names)} cannot be used here: only images of uint8 [28, 28] with "
            f"labels 0 and 1 can be changed, and the items are {' and '.join(kinds)}"
        )

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that identify the data set; computed once.

        For the types in `FIXED` a digest of the count and of at most 4,096 evenly spaced items.
        Items of other data sets may change, so only the count and the types and shapes of the
        first item count.
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


@dataclass(frozen=True, eq=False)
class ItemLoader:
    """The counterpart of `_core.Loader` for items: batches of each epoch for one rank."""

    items: Items
    batch_size: int
    shuffle: bool
    drop_last: bool
    seed: int
    rank: int
    world_size: int

    def __len__(self) -> int:
        """Batches in an epoch."""
        full, rest = divmod(len(self.items), self.batch_size)
        return full if self.drop_last or rest == 0 else full + 1

    def epoch(self, epoch: int, first_batch: int) -> "ItemEpoch":
        """Iterate over an epoch from `first_batch` on."""
        return ItemEpoch(self, epoch, first_batch)

    def batch(self, epoch: int, number: int) -> tuple[Tensor, Tensor]:
        """Return this rank's part of a batch; it may be empty."""
        start = number * self.batch_size
        size = min(self.batch_size, len(self.items) - start)
        count, rest = divmod(size, self.world_size)  # the first `rest` ranks take one more
        start += count * self.rank + min(self.rank, rest)
        stop = start + count + (self.rank < rest)
        if start == stop:
            return self.items.x[:0].clone(), self.items.y[:0].clone()
        if not self.shuffle:
            return self.items.take(np.arange(start, stop))
        return self.items.take(
            _core.order(len(self.items), seed=self.seed, epoch=epoch, start=start, stop=stop)
        )


class ItemEpoch(Iterator[tuple[Tensor, Tensor]]):
    """The counterpart of `_core.Epoch` for items: an iterator with a progress."""

    def __init__(self, loader: ItemLoader, epoch: int, first_batch: int) -> None:
        self._loader: ItemLoader | None = loader
        self._epoch = epoch
        self.progress = SimpleNamespace(delivered=first_batch, exhausted=False)

    def __next__(self) -> tuple[Tensor, Tensor]:
        """Return the next batch."""
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
        """Yield no more batches."""
        self._loader = None


def images_or_items(dataset: Any) -> ImageSet | Items:
    """Return the data set as images, if it holds unchanging uint8 images, else as items.

    Args:
        dataset: as for `Items`.

    Returns:
        An `ImageSet` with the classes "0" and "1" if the data set is of a type in `FIXED`, x are
        uint8 of 784 pixels and y are integers: a `TensorDataset` is read in place, a list or tuple
        is copied once. Otherwise items.

    Raises:
        TypeError: not a data set of pairs.
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
    """Tell whether a batch of one holds a uint8 image and a label."""
    kinds = ((784,), (28, 28), (1, 28, 28))
    images = x.dtype == torch.uint8 and tuple(x.shape[1:]) in kinds
    return images and y.numel() == 1 and not y.is_floating_point() and not y.is_complex()


def _advice_on_columns(dataset: Any) -> str:
    """Suggest a fix for two arrays (x, y) instead of pairs."""
    if type(dataset) not in (list, tuple) or len(dataset) != 2:
        return ""
    lengths = {len(each) for each in dataset if isinstance(each, Tensor | np.ndarray) and each.ndim}
    return "; use list(zip(x, y)) for two arrays" if len(lengths) == 1 else ""


def _advice(dataset: object) -> str:
    """Suggest a fix for what is often passed by mistake."""
    if isinstance(dataset, Iterator):
        return "; use list() to make a data set of it"
    if hasattr(dataset, "train") and hasattr(dataset, "valid"):
        return "; use its train or its valid"
    if hasattr(dataset, "__iter__") and not isinstance(dataset, str | bytes | Mapping):
        return "; an iterable of batches needs no loader"
    return ""
