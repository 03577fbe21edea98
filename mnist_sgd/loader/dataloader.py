"""Batches of normalised images, made by the C++ core at the speed of memory.

It takes other data as well, such as `list(zip(x, y))` of tensors, see `items`: these are
batched as they are, and what follows holds for them but for the pixels.

Guarantees:
- pixels are torch's `x.float() / 255` (then `(x - mean) / std`) bit for bit, on every processor;
- the order of an epoch is a pure function of (seed, epoch), and what augmentation makes of an image
  one of (seed, epoch, its index), the same for any number of threads; and the ranks' batches
  together are the single process's batches, for any number of ranks;
- the whole state is a few integers, and a loader that loads it continues with the same bytes;
- a batch that somebody still holds is never overwritten;
- no global random state is read or changed, and no worker process is started.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import index
from typing import Any, Never, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from mnist_sgd.data import ImageSet, advise
from mnist_sgd.data.imageset import check_images
from mnist_sgd.data.memory_map import read_shuffled

try:
    import torch
    from torch.utils.data import Dataset

    from mnist_sgd import _core
    from mnist_sgd.loader.augmentation import Augmentation
    from mnist_sgd.loader.data_loaders import Batch, DataLoaders, first
    from mnist_sgd.loader.items import ItemEpoch, ItemLoader, Items, images_or_items
except ImportError as error:
    raise ImportError(
        f"mnist_sgd.loader needs torch, which cannot be imported here ({error}); pip install . "
        "in a clone installs it, and so does pip install torch"
    ) from error

__all__ = ["Batch", "DataLoader", "DataLoaders", "Place", "first"]

_OPTIONS = {"bs": "batch_size", "num_workers": "num_threads"}
"""Names of fastai's and torch's options that have others here."""


class DataLoader:
    """An iterable of `(xb, yb)`: float32 `[B, 784]` and int64 `[B, 1]`, for one epoch at a time.

    Of items other than images of bytes, both are `[B, ...]` of the items' shapes and types.

    The tensors own their memory; it is used again when both of a batch, and all that was made of
    them without a copy, are gone. So a loop that keeps no batch runs over two that stay in cache.

    Every `iter()` begins the next epoch, counted from 0; after `load_state_dict` the first one
    goes on where the state was taken.

    Args:
        dataset: an `ImageSet`, whose images and labels are read in place, never copied: if they are
            a mapped file, the kernel is told how it will be read, see `memory_map.advise`. Or a
            `TensorDataset` of two tensors, or anything with a length and an index that gives pairs
            (x, y) of tensors, arrays or numbers. A `TensorDataset`, list or tuple whose x are uint8
            of 784 pixels and whose y are 0 or 1 becomes an `ImageSet` of the classes "0" and "1".
            Other items are asked for in every epoch, one by one, and batched as they are, as torch
            does; `flatten`, `mean`, `std`, `dtype` and `augment` are not for them, and
            `num_threads` makes no difference.
        batch_size: images in a batch over all ranks, at least 1; the last batch of an epoch holds
            what is left.
        shuffle: whether the order is a new permutation each epoch, else that of the dataset.
        drop_last: leave out a last batch of fewer than `batch_size` images.
        seed: 0 to 2**64 - 1, chooses the permutations and the augmentations.
        flatten: `xb` is `[B, 784]`, or else `[B, 1, 28, 28]`.
        mean: subtracted from x / 255.
        std: divides the difference; above 0.
        dtype: of `xb`: torch.float32; torch.bfloat16, which is float32 rounded to nearest; or
            torch.uint8, the pixels as they are, 0 to 255.
        augment: how images are turned, shifted, scaled and sheared at random, anew each epoch;
            None leaves them as they are.
        num_threads: threads that fill batches, 1 to 256. The caller's is one of them: with 1
            nothing runs in the background.
        rank: which part of each batch this process takes, 0 to `world_size` - 1.
        world_size: into how many contiguous parts each batch is cut; they differ by one image at
            most, and a short last batch can leave a rank an empty one.
        unknown: none; an option that another library has is refused by the name that it has here.

    Raises:
        TypeError: what must be an integer is none, or augment is no Augmentation, or the dataset is
            another thing, or there is no such option; the message names it.
        ValueError: a number is out of its range, or dtype is another one, or uint8 shall be
            normalised, or an option is not for such a dataset, or that is empty; the message says
            which.
    """

    def __init__(
        self,
        dataset: ImageSet | Dataset[Any] | Sequence[tuple[Any, Any]],
        batch_size: int = 64,
        shuffle: bool = False,
        drop_last: bool = False,
        *,
        seed: int = 0,
        flatten: bool = True,
        mean: float = 0.0,
        std: float = 1.0,
        dtype: torch.dtype = torch.float32,
        augment: Augmentation | None = None,
        num_threads: int = 1,
        rank: int = 0,
        world_size: int = 1,
        **unknown: Never,
    ) -> None:
        _refuse_unknown(unknown)
        self.world_size = _integer("world_size", world_size, 1)
        self.rank = _integer("rank", rank, 0, self.world_size - 1)
        self.num_threads = _integer("num_threads", num_threads, 1, 256)
        self.batch_size = _integer("batch_size", batch_size, 1)
        self.shuffle = bool(shuffle)
        self.drop_last = bool(drop_last)
        self.seed = _integer("seed", seed, 0)
        self.mean = float(mean)
        self.std = float(std)
        self.dtype = _checked_dtype(dtype, self.mean, self.std)
        self.augment = _checked_augmentation(augment)
        data = dataset if isinstance(dataset, ImageSet) else images_or_items(dataset)
        # An ImageSet, or the items as they were given.
        self.dataset: Any = data if isinstance(data, ImageSet) else dataset
        self._fingerprint = data.fingerprint
        self._core: _core.Loader | ItemLoader
        self.sample_shape: tuple[int, ...]
        if isinstance(data, ImageSet):
            self.sample_shape = (28 * 28,) if flatten else (1, 28, 28)
            self._core = self._images(data, bool(flatten))
        else:
            data.refuse_options(
                flatten=not flatten,
                mean=self.mean != 0.0,
                std=self.std != 1.0,
                dtype=self.dtype != torch.float32,
                augment=self.augment is not None,
            )
            self.dtype, self.sample_shape = data.x.dtype, tuple(data.x.shape[1:])
            self._core = self._items(data)
        # Where the newest iterator began, as epoch and samples_seen, and how far it has come; while
        # there is none, where the next one begins.
        self._start = (0, 0)
        self._progress: Any = None
        self._moves = 0

    def _images(self, data: ImageSet, flatten: bool) -> _core.Loader:
        advise(data.images, shuffled=read_shuffled(self, data.images, self.shuffle))
        return _core.Loader(
            data.images,
            data.labels,
            flatten=flatten,
            batch_size=self.batch_size,
            shuffle=self.shuffle,
            drop_last=self.drop_last,
            seed=self.seed,
            rank=self.rank,
            world_size=self.world_size,
            num_threads=self.num_threads,
            mean=self.mean,
            std=self.std,
            dtype=str(self.dtype).removeprefix("torch."),
            exchange=torch.Tensor.__dlpack_c_exchange_api__,
            augmentation=self.augment.core() if self.augment else None,
        )

    def _items(self, data: Items) -> ItemLoader:
        return ItemLoader(
            data,
            batch_size=self.batch_size,
            shuffle=self.shuffle,
            drop_last=self.drop_last,
            seed=self.seed,
            rank=self.rank,
            world_size=self.world_size,
        )

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self._core)

    def __iter__(self) -> "_core.Epoch | ItemEpoch":
        """Begin the next epoch, or go on with the one of a loaded state.

        The iterator ends its threads when it dies, or at once by its `close()`.

        Raises:
            RuntimeError: the threads of `num_threads` cannot be had.
        """
        epoch, samples_seen = self.upcoming
        self._start = _integer("epoch", epoch, 0), samples_seen
        batches = self._core.epoch(epoch, -(-samples_seen // self.batch_size))
        self._progress = batches.progress
        return batches

    def place(self) -> "Place":
        """Where the newest iterator stands, which newer ones do not change."""
        return Place(self, self._start, self._progress, self._moves)

    def put_back(self, place: "Place") -> None:
        """Be where `place`, of this loader, stands, as if its iterator were the newest."""
        self._start, self._progress, self._moves = place.start, place.progress, place.moves

    def was_moved(self, place: "Place") -> bool:
        """Whether `set_epoch` or `load_state_dict` was called since `place` was taken."""
        return self._moves != place.moves

    @property
    def samples_seen(self) -> int:
        """Images of the newest iterator's epoch that were given so far, over all ranks."""
        return self.place().position[1]

    @property
    def upcoming(self) -> tuple[int, int]:
        """Where the next `iter()` begins: its epoch, and the images of that which were seen."""
        return self._start if self._progress is None else (self._start[0] + 1, 0)

    def set_epoch(self, epoch: int) -> None:
        """Make `epoch` (from 0) the one that the next `iter()` begins.

        Raises:
            TypeError: it is no integer.
            ValueError: it does not lie in 0 to 2**64 - 1.
        """
        self._start, self._progress = (_integer("epoch", epoch, 0), 0), None
        self._moves += 1

    def state_dict(self, place: "Place | None" = None) -> dict[str, int]:
        """Where an iterator stands, as integers; `samples_seen` counts over all ranks.

        Args:
            place: of the iterator; None takes the newest one.
        """
        epoch, samples_seen = (place or self.place()).position
        return {"epoch": epoch, "samples_seen": samples_seen} | self._identity()

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Make the next `iter()` go on exactly where `state` was taken.

        A state taken after an epoch's last batch, before its iterator was exhausted, goes on with
        the empty rest of that epoch.

        Raises:
            TypeError: `epoch` or `samples_seen` is no integer.
            ValueError: the state is of another dataset, batch size, seed, augmentation, order or
                rest of the last batch, or is none at all; the message says which. The loader is
                as before.
        """
        identity = self._identity()
        missing = [key for key in ("epoch", "samples_seen", *identity) if key not in state]
        if missing:
            raise ValueError(f"this is not a DataLoader's state: it lacks {', '.join(missing)}")
        for key, value in identity.items():
            if state[key] != value:
                raise ValueError(
                    f"the state is of another {key}: it has {state[key]}, this loader has {value}"
                )
        epoch = _integer("epoch", state["epoch"], 0)
        seen, total = _integer("samples_seen", state["samples_seen"], 0), len(self.dataset)
        if seen > total or (seen % self.batch_size and seen != total):
            raise ValueError(
                f"samples_seen must be a multiple of the batch size {self.batch_size} or the "
                f"{total} images of the dataset, got {seen}"
            )
        self._start, self._progress = (epoch, seen), None
        self._moves += 1

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Put back afterwards where the loader stands, whatever was read or loaded meanwhile."""
        before = self.place()
        try:
            yield
        finally:
            self.put_back(before)

    def in_order(self) -> "DataLoader":
        """A loader of all that the dataset holds, in its order, never augmented, for one rank."""
        options: dict[str, Any] = {}
        if isinstance(self.dataset, ImageSet):
            options = {name: getattr(self, name) for name in ("mean", "std", "dtype")}
            options |= {"flatten": len(self.sample_shape) == 1, "num_threads": self.num_threads}
        return DataLoader(self.dataset, self.batch_size, **options)

    def __reduce__(self) -> Never:
        """Refuse to be pickled or copied, which would copy the dataset."""
        raise TypeError(
            "a DataLoader is not pickled or copied: make one in each process, "
            "and hand over its state_dict()"
        )

    def _identity(self) -> dict[str, int]:
        """What a state must share with the loader that loads it."""
        return {
            "dataset": int(self._fingerprint(), 16),
            "batch_size": self.batch_size,
            "seed": self.seed,
            "shuffle": int(self.shuffle),
            "drop_last": int(self.drop_last),
            "augmentation": int(self.augment.fingerprint(), 16) if self.augment else 0,
            "order_version": _core.ORDER_VERSION,
        }

    def normalize(self, images: NDArray[np.uint8]) -> torch.Tensor:
        """Images as a batch holds them, but never augmented.

        Args:
            images: uint8 `[N, 28, 28]`, C-contiguous.

        Returns:
            A new tensor `[N, 784]`, or `[N, 1, 28, 28]` for a loader that does not flatten, of the
            loader's dtype.

        Raises:
            TypeError: they are no array; or the loader's batches are not made of images of bytes.
            ValueError: their type, shape or layout is another.
        """
        if not isinstance(self.dataset, ImageSet):
            raise TypeError(
                "the batches are items as they are, not images of bytes: how an image would become "
                "one is not known"
            )
        check_images(images)
        if self.dtype == torch.uint8:
            return torch.tensor(images).reshape(-1, *self.sample_shape)
        pixels = torch.from_numpy(_core.normalize(images, mean=self.mean, std=self.std))
        return pixels.reshape(-1, *self.sample_shape).to(self.dtype)


@dataclass(frozen=True)
class Place:
    """Where an iterator of a loader stands: it moves on with this iterator, not with newer ones.

    Attributes:
        loader: the loader.
        start: the epoch and the samples seen with which the iterator began, or with which the next
            one begins.
        progress: of the iterator; None if `start` is where the next one begins.
        moves: how often the loader had been moved on purpose, by `set_epoch` or `load_state_dict`.
    """

    loader: "DataLoader"
    start: tuple[int, int]
    progress: Any
    moves: int

    @property
    def position(self) -> tuple[int, int]:
        """The epoch and the samples seen of it, over all ranks; after its last batch the next."""
        epoch, samples_seen = self.start
        if self.progress is None:
            return epoch, samples_seen
        if self.progress.exhausted:
            return epoch + 1, 0
        loader = self.loader
        last = len(loader) * loader.batch_size if loader.drop_last else len(loader.dataset)
        return epoch, min(self.progress.delivered * loader.batch_size, last)

    @property
    def is_at_an_end(self) -> bool:
        """Whether an iterator that began here would give nothing, the rest of its epoch."""
        batches = -(-self.start[1] // self.loader.batch_size)
        return self.progress is None and batches >= len(self.loader) > 0

    def of_next_epoch(self) -> "Place":
        """The place at which the next epoch begins."""
        return replace(self, start=(self.start[0] + 1, 0), progress=None)


def _refuse_unknown(options: Mapping[str, object]) -> None:
    for name in options:
        advice = f"; it is {_OPTIONS[name]} here" if name in _OPTIONS else ""
        raise TypeError(f"DataLoader has no option {name!r}{advice}")


def _checked_dtype(dtype: torch.dtype, mean: float, std: float) -> torch.dtype:
    if dtype not in (torch.float32, torch.bfloat16, torch.uint8):
        raise ValueError(
            f"dtype must be torch.float32, torch.bfloat16 or torch.uint8, got {dtype!r}"
        )
    if dtype == torch.uint8 and (mean, std) != (0.0, 1.0):
        raise ValueError(
            "torch.uint8 leaves the pixels as they are, so mean and std must be 0 and 1, "
            f"got {mean} and {std}"
        )
    return dtype


def _checked_augmentation(augment: Augmentation | None) -> Augmentation | None:
    if augment is not None and not isinstance(augment, Augmentation):
        raise TypeError(f"augment must be an Augmentation or None, got {augment!r}")
    return augment


def _integer(name: str, value: SupportsIndex, low: int, high: int = 2**64 - 1) -> int:
    try:
        number = index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if not low <= number <= high:
        bound = f"at least {low}" if number < low else f"at most {high}"
        raise ValueError(f"{name} must be {bound}, got {number}")
    return number
