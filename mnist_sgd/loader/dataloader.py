"""Shuffle, augment and normalise images in the C++ core, and yield them as torch batches.

Guarantees for images:

- Pixels equal torch's `x.float() / 255`, then `(x - mean) / std`, bit for bit on every processor.
- The order depends only on (seed, epoch), augmentation only on (seed, epoch, index): the same for
  any number of threads. The ranks' batches together are those of a single process.
- The state is a few integers; loading it resumes with the same bytes.
- A batch that is still referenced is never overwritten.
- No global random state is read or changed, and no worker process is started.

Other items, such as `list(zip(x, y))` of tensors, are batched as they are, see `items`; all but the
first guarantee hold for them too.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import index
from typing import Any, Never, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from mnist_sgd._extension import _core
from mnist_sgd.data import ImageSet, advise
from mnist_sgd.data.imageset import check_images
from mnist_sgd.data.memory_map import read_shuffled
from mnist_sgd.loader.augmentation import Augmentation

try:
    import torch
    from torch.utils.data import Dataset

    from mnist_sgd.loader.batch_images import class_names
    from mnist_sgd.loader.data_loaders import (
        Batch as Batch,
        DataLoaders as DataLoaders,
        first as first,
    )
    from mnist_sgd.loader.items import ItemEpoch, ItemLoader, images_or_items
except ImportError as error:
    raise ImportError(
        f"mnist_sgd.loader needs torch, which cannot be imported ({error}); install it with "
        "pip install . in a clone, or pip install torch"
    ) from error

_OPTIONS = {"num_workers": "num_threads"}
"""Options of fastai and torch, and their names here."""


class DataLoader:
    """Iterate over batches `(xb, yb)`: float32 `[B, 784]` and int64 `[B, 1]`, an epoch at a time.

        ImageSet --> order ---------> gather ---> augment ------> normalise -----> (xb, yb)
        uint8,       (seed, epoch),   rows of     (seed, epoch,   (x/255 - mean)   tensors
        in place     rank's part      a batch     index)          / std
                     |__________________ C++, num_threads __________________|

    Data is read in place. A batch's memory is reused once both tensors and all their views are
    gone, so a loop that keeps no batch runs in two buffers that stay in the cache.

    Each `iter()` starts the next epoch, counted from 0; after `load_state_dict` the first one
    resumes where the state was taken.

    Args:
        dataset: an `ImageSet`, read in place; for a mapped file the kernel is advised, see
            `data.memory_map.advise`. Or a `TensorDataset` of two tensors, or anything with a length
            and an index that returns pairs (x, y) of tensors, arrays or numbers. A `TensorDataset`,
            list or tuple of uint8 x with 784 pixels and y of 0 or 1 becomes an `ImageSet` with the
            classes "0" and "1". Other items are requested one by one in every epoch and collated
            by torch; `flatten`, `mean`, `std`, `dtype` and `augment` cannot be used with them, and
            `num_threads` has no effect.
        batch_size: images per batch over all ranks, at least 1; the last batch may be smaller.
        shuffle: shuffle the data set in each epoch.
        drop_last: leave out a last batch of fewer than `batch_size` images.
        seed: of the permutations and augmentations, 0 to 2**64 - 1.
        flatten: `xb` is `[B, 784]`, else `[B, 1, 28, 28]`.
        mean: subtracted from x / 255.
        std: divides the difference; above 0.
        dtype: of `xb`: torch.float32; torch.bfloat16, rounded to nearest; or torch.uint8, the
            pixels unchanged.
        augment: random affine transforms, drawn again in each epoch; None for none.
        num_threads: threads that fill batches, 1 to 256, including the caller's: with 1 nothing
            runs in the background.
        rank: which part of each batch this process takes, 0 to `world_size` - 1.
        world_size: number of contiguous parts of each batch; they differ by at most one image, so
            a short last batch can leave a rank an empty one.
        bs: fastai's name of `batch_size`.
        unknown: not accepted; the error for an option of another library names the one here.

    Raises:
        TypeError: an argument has a wrong type, or there is no such option.
        ValueError: an argument is out of range, an option cannot be used with this data set or
            dtype, or the data set is empty.
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
        bs: int | None = None,
        **unknown: Never,
    ) -> None:
        _reject_unknown(unknown)
        if bs is not None and batch_size not in (64, bs):
            raise TypeError("give batch_size or fastai's name for it, bs, not both")
        self.world_size = _integer("world_size", world_size, 1)
        self.rank = _integer("rank", rank, 0, self.world_size - 1)
        self.num_threads = _integer("num_threads", num_threads, 1, 256)
        self.batch_size = _integer("batch_size", batch_size if bs is None else bs, 1)
        self.shuffle = bool(shuffle)
        self.drop_last = bool(drop_last)
        self.seed = _integer("seed", seed, 0)
        self.mean = float(mean)
        self.std = float(std)
        self.dtype = _checked_dtype(dtype, self.mean, self.std)
        self.augment = _checked_augmentation(augment)
        data = dataset if isinstance(dataset, ImageSet) else images_or_items(dataset)
        # An ImageSet, or the items as given.
        self.dataset: Any = data if isinstance(data, ImageSet) else dataset
        self._fingerprint = data.fingerprint
        self._core: _core.Loader | ItemLoader
        self.sample_shape: tuple[int, ...]
        if isinstance(data, ImageSet):
            self.sample_shape = (28 * 28,) if flatten else (1, 28, 28)
            self._core = self._images(data, bool(flatten))
        else:
            data.reject_options(
                flatten=not flatten,
                mean=self.mean != 0.0,
                std=self.std != 1.0,
                dtype=self.dtype != torch.float32,
                augment=self.augment is not None,
            )
            self.dtype, self.sample_shape = data.x.dtype, tuple(data.x.shape[1:])
            self._core = ItemLoader(data, **self._sampling())
        # Where the newest iterator began (epoch, samples_seen), and its progress; before there is
        # one, where the next one begins.
        self._start = (0, 0)
        self._progress: Any = None
        self._moves = 0

    def _images(self, data: ImageSet, flatten: bool) -> _core.Loader:
        advise(data.images, shuffled=read_shuffled(self, data.images, self.shuffle))
        return _core.Loader(
            data.images,
            data.labels,
            flatten=flatten,
            **self._sampling(),
            num_threads=self.num_threads,
            mean=self.mean,
            std=self.std,
            dtype=str(self.dtype).removeprefix("torch."),
            # torch before 2.10 has no such table, and makes its tensors of capsules.
            exchange=getattr(
                torch.Tensor, "__dlpack_c_exchange_api__", torch.utils.dlpack.from_dlpack
            ),
            augmentation=self.augment.core() if self.augment else None,
        )

    def _sampling(self) -> dict[str, Any]:
        names = ("batch_size", "shuffle", "drop_last", "seed", "rank", "world_size")
        return {name: getattr(self, name) for name in names}

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self._core)

    def __repr__(self) -> str:
        data = self.dataset if isinstance(self.dataset, ImageSet) else type(self.dataset).__name__
        order = ", shuffle=True" if self.shuffle else ""
        return f"DataLoader({data}, batch_size={self.batch_size}{order})"

    def one_batch(self) -> Batch:
        """Return the next epoch's first batch, which it still starts with: xb `[B, ...]` and yb."""
        with self.undisturbed():
            return first(self)

    def __iter__(self) -> "_core.Epoch | ItemEpoch":
        """Start the next epoch, or resume the one of a loaded state.

        The iterator's threads end when it is deleted, or at once by its `close()`.

        Raises:
            RuntimeError: the threads cannot be started.
        """
        epoch, samples_seen = self.upcoming
        self._start = _integer("epoch", epoch, 0), samples_seen
        batches = self._core.epoch(epoch, -(-samples_seen // self.batch_size))
        self._progress = batches.progress
        return batches

    def place(self) -> "LoaderPosition":
        """Return the position of the newest iterator; later iterators do not change it."""
        return LoaderPosition(self, self._start, self._progress, self._moves)

    def put_back(self, place: "LoaderPosition") -> None:
        """Return to a position of this loader, as if its iterator were the newest."""
        self._start, self._progress, self._moves = place.start, place.progress, place.moves

    def was_moved(self, place: "LoaderPosition") -> bool:
        """Tell whether `set_epoch` or `load_state_dict` was called since `place` was taken."""
        return self._moves != place.moves

    @property
    def samples_seen(self) -> int:
        """Images that the newest iterator has yielded in its epoch, over all ranks."""
        return self.place().position[1]

    @property
    def upcoming(self) -> tuple[int, int]:
        """Where the next `iter()` starts: its epoch and the images already seen."""
        return self._start if self._progress is None else (self._start[0] + 1, 0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, that the next `iter()` starts.

        Raises:
            TypeError: not an integer.
            ValueError: not in 0 to 2**64 - 1.
        """
        self._start, self._progress = (_integer("epoch", epoch, 0), 0), None
        self._moves += 1

    def state_dict(self, place: "LoaderPosition | None" = None) -> dict[str, int]:
        """Return the state of an iterator as integers; `samples_seen` counts over all ranks.

        Args:
            place: of the iterator; None for the newest one.
        """
        epoch, samples_seen = (place or self.place()).position
        return {"epoch": epoch, "samples_seen": samples_seen} | self._identity()

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Make the next `iter()` resume exactly where `state` was taken.

        A state taken after the last batch, before the iterator was exhausted, resumes with the
        empty rest of that epoch.

        Raises:
            TypeError: `epoch` or `samples_seen` is not an integer.
            ValueError: the state belongs to another dataset, batch size, seed, augmentation or
                order, or is not a loader's state. The loader is unchanged.
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
        """Restore the position afterwards, whatever was read or loaded in the block."""
        before = self.place()
        try:
            yield
        finally:
            self.put_back(before)

    def in_order(self) -> "DataLoader":
        """Return a loader of the whole dataset in its order, without augmentation, for one rank."""
        options: dict[str, Any] = {}
        if isinstance(self.dataset, ImageSet):
            options = {name: getattr(self, name) for name in ("mean", "std", "dtype")}
            options |= {"flatten": len(self.sample_shape) == 1, "num_threads": self.num_threads}
        return DataLoader(self.dataset, self.batch_size, **options)

    @property
    def vocab(self) -> list[str]:
        """The class names in label order.

        Raises:
            TypeError: the data set is not an `ImageSet`.
        """
        return class_names(self)

    def __reduce__(self) -> Never:
        """Raise TypeError: pickling or copying would copy the dataset."""
        raise TypeError(
            "a DataLoader cannot be pickled or copied: make one in each process, "
            "and pass its state_dict()"
        )

    def _identity(self) -> dict[str, int]:
        """Return what a state must have in common with the loader that loads it."""
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
        """Normalise images as in a batch, without augmentation.

        Args:
            images: uint8 `[N, 28, 28]`, C-contiguous.

        Returns:
            A new tensor `[N, 784]`, or `[N, 1, 28, 28]` without `flatten`, of the loader's dtype.

        Raises:
            TypeError: not an array; or the loader's data set does not hold uint8 images.
            ValueError: wrong type, shape or layout.
        """
        if not isinstance(self.dataset, ImageSet):
            raise TypeError(
                "this loader's data set does not hold uint8 images, so it cannot be known how it "
                "would normalise them"
            )
        check_images(images)
        if self.dtype == torch.uint8:
            return torch.tensor(images).reshape(-1, *self.sample_shape)
        pixels = torch.from_numpy(_core.normalize(images, mean=self.mean, std=self.std))
        return pixels.reshape(-1, *self.sample_shape).to(self.dtype)


@dataclass(frozen=True)
class LoaderPosition:
    """Position of an iterator of a loader; advances with it, not with later iterators.

    Attributes:
        loader: the loader.
        start: epoch and samples seen at which the iterator began, or the next one will.
        progress: of the iterator; None before there is one.
        moves: how often `set_epoch` or `load_state_dict` had been called.
    """

    loader: "DataLoader"
    start: tuple[int, int]
    progress: Any
    moves: int

    @property
    def position(self) -> tuple[int, int]:
        """Epoch and samples seen over all ranks; after the last batch those of the next epoch."""
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
        """Whether an iterator that starts here would yield nothing."""
        batches = -(-self.start[1] // self.loader.batch_size)
        return self.progress is None and batches >= len(self.loader) > 0

    def of_next_epoch(self) -> "LoaderPosition":
        """Return the position at which the next epoch starts."""
        return replace(self, start=(self.start[0] + 1, 0), progress=None)


Place = LoaderPosition
"""The earlier name."""


def _reject_unknown(options: Mapping[str, object]) -> None:
    for name in options:
        advice = f"; use {_OPTIONS[name]}" if name in _OPTIONS else ""
        raise TypeError(f"DataLoader has no option {name!r}{advice}")


def _checked_dtype(dtype: torch.dtype, mean: float, std: float) -> torch.dtype:
    if dtype not in (torch.float32, torch.bfloat16, torch.uint8):
        raise ValueError(
            f"dtype must be torch.float32, torch.bfloat16 or torch.uint8, got {dtype!r}"
        )
    if dtype == torch.uint8 and (mean, std) != (0.0, 1.0):
        raise ValueError(
            "torch.uint8 keeps the pixels unchanged, so mean and std must be 0 and 1, "
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
