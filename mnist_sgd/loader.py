"""Batches of normalised images, made by the C++ core at the speed of memory.

Guarantees:
- pixels are torch's `x.float() / 255` (then `(x - mean) / std`) bit for bit, on every processor;
- the order of an epoch is a pure function of (seed, epoch), the same for any number of threads, and
  the ranks' batches together are the single process's batches, for any number of ranks;
- the whole state is a few integers, and a loader that loads it continues with the same bytes;
- a batch that somebody still holds is never overwritten;
- no global random state is read or changed, and no worker process is started.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import index
from typing import Never, SupportsIndex, TypeVar

import numpy as np
from numpy.typing import NDArray

from mnist_sgd.data import ImageSet

try:
    import torch

    from mnist_sgd import _core
except ImportError as error:
    raise ImportError(
        f"mnist_sgd.loader needs torch and the C++ extension, and one is missing here ({error}); "
        "pip install . without MNIST_SGD_WITHOUT_EXTENSION installs both"
    ) from error

__all__ = ["DataLoader", "DataLoaders", "first"]

T = TypeVar("T")

Batch = tuple[torch.Tensor, torch.Tensor]


class DataLoader:
    """An iterable of `(xb, yb)`: float32 `[B, 784]` and int64 `[B, 1]`, for one epoch at a time.

    Every `iter()` begins the next epoch, counted from 0; after `load_state_dict` the first one
    goes on where the state was taken.

    Args:
        dataset: the images and labels; they are read in place, never copied.
        batch_size: images in a batch over all ranks, at least 1; the last batch of an epoch holds
            what is left.
        shuffle: whether the order is a new permutation each epoch, else that of the dataset.
        drop_last: leave out a last batch of fewer than `batch_size` images.
        seed: 0 to 2**64 - 1, chooses the permutations.
        flatten: `xb` is `[B, 784]`, or else `[B, 1, 28, 28]`.
        mean: subtracted from x / 255.
        std: divides the difference; above 0.
        num_threads: threads that fill batches, 1 to 256. The caller's is one of them: with 1
            nothing runs in the background.
        rank: which part of each batch this process takes, 0 to `world_size` - 1.
        world_size: into how many contiguous parts each batch is cut; they differ by one image at
            most, and a short last batch can leave a rank an empty one.

    Raises:
        TypeError: what must be an integer is none; the message names it.
        ValueError: a number is out of its range; the message names it.
    """

    def __init__(
        self,
        dataset: ImageSet,
        batch_size: int = 64,
        shuffle: bool = False,
        drop_last: bool = False,
        *,
        seed: int = 0,
        flatten: bool = True,
        mean: float = 0.0,
        std: float = 1.0,
        num_threads: int = 1,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        world_size = _integer("world_size", world_size, 1)
        self.dataset = dataset
        self.batch_size = _integer("batch_size", batch_size, 1)
        self.shuffle = bool(shuffle)
        self.drop_last = bool(drop_last)
        self.seed = _integer("seed", seed, 0)
        self.mean = float(mean)
        self.std = float(std)
        self.sample_shape = (28 * 28,) if flatten else (1, 28, 28)
        self._core = _core.Loader(
            dataset.images,
            dataset.labels,
            sample_shape=self.sample_shape,
            batch_size=self.batch_size,
            shuffle=self.shuffle,
            drop_last=self.drop_last,
            seed=self.seed,
            rank=_integer("rank", rank, 0, world_size - 1),
            world_size=world_size,
            num_threads=_integer("num_threads", num_threads, 1, 256),
            mean=self.mean,
            std=self.std,
        )
        self._position = _Position(epoch=0)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self._core)

    def __iter__(self) -> Iterator[Batch]:
        """Begin the next epoch, or go on with the one of a loaded state."""
        if self._position.started:
            self.set_epoch(self._position.epoch + 1)
        self._position.started = True
        return self._batches(self._position)

    def _batches(self, position: "_Position") -> Iterator[Batch]:
        last = len(self) * self.batch_size if self.drop_last else len(self.dataset)
        first_batch = -(-position.samples_seen // self.batch_size)
        for xb, yb in self._core.epoch(position.epoch, first_batch):
            position.samples_seen = min(position.samples_seen + self.batch_size, last)
            yield torch.from_numpy(xb), torch.from_numpy(yb)
        position.epoch, position.samples_seen, position.started = position.epoch + 1, 0, False

    def set_epoch(self, epoch: int) -> None:
        """Make `epoch` (from 0) the one that the next `iter()` begins.

        Raises:
            TypeError: it is no integer.
            ValueError: it does not lie in 0 to 2**64 - 1.
        """
        self._position = _Position(_integer("epoch", epoch, 0))

    def state_dict(self) -> dict[str, int]:
        """Where the newest iterator stands, as integers; `samples_seen` counts over all ranks."""
        position = self._position
        return {"epoch": position.epoch, "samples_seen": position.samples_seen} | self._identity()

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Make the next `iter()` go on exactly where `state` was taken.

        A state taken after an epoch's last batch, before its iterator was exhausted, goes on with
        the empty rest of that epoch.

        Raises:
            TypeError: `epoch` or `samples_seen` is no integer.
            ValueError: the state is of another dataset, batch size, seed, order or rest of the
                last batch, or is none at all; the message says which. The loader is as before.
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
        self._position = _Position(epoch, seen)

    def __reduce__(self) -> Never:
        """Refuse to be pickled or copied, which would copy the dataset."""
        raise TypeError(
            "a DataLoader is not pickled or copied: make one in each process, "
            "and hand over its state_dict()"
        )

    def _identity(self) -> dict[str, int]:
        """What a state must share with the loader that loads it."""
        return {
            "dataset": int(self.dataset.fingerprint(), 16),
            "batch_size": self.batch_size,
            "seed": self.seed,
            "shuffle": int(self.shuffle),
            "drop_last": int(self.drop_last),
            "order_version": _core.ORDER_VERSION,
        }

    def normalize(self, images: NDArray[np.uint8]) -> torch.Tensor:
        """Images as a batch holds them.

        Args:
            images: uint8 `[N, 28, 28]`, C-contiguous.

        Returns:
            float32 `[N, 784]`, or `[N, 1, 28, 28]` for a loader that does not flatten.
        """
        pixels = _core.normalize(images, mean=self.mean, std=self.std)
        return torch.from_numpy(pixels).reshape(-1, *self.sample_shape)


class DataLoaders:
    """A training and a validation loader, as `.train` and `.valid` or `[0]` and `[1]`.

    Any iterables of `(xb, yb)` with a length will do; what needs class names or pixels
    (`Learner.predict`, `Learner.export`) needs this package's `DataLoader`.
    """

    def __init__(self, train: Iterable[Batch], valid: Iterable[Batch]) -> None:
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


@dataclass
class _Position:
    """Where an iterator stands, or where the next one begins.

    Each iterator moves its own, and the loader looks at the newest one's: an older iterator that
    still runs, or one from before `load_state_dict`, changes nothing.
    """

    epoch: int
    samples_seen: int = 0
    started: bool = False  # whether an iterator has it: the next one begins another epoch


def _integer(name: str, value: SupportsIndex, low: int, high: int = 2**64 - 1) -> int:
    try:
        number = index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if not low <= number <= high:
        bound = f"at least {low}" if number < low else f"at most {high}"
        raise ValueError(f"{name} must be {bound}, got {number}")
    return number
