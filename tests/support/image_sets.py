"""Small sets of random images, and a second way, without the loader, to what its batches hold."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mnist_sgd import DataLoader, _core
from mnist_sgd.data import ImageSet

Batch = tuple[torch.Tensor, torch.Tensor]
Bytes = tuple[bytes, bytes]

_PIXELS = np.random.default_rng(0).integers(0, 256, (512, 28, 28), np.uint8)
_LABELS = np.random.default_rng(1).integers(0, 2, 512, np.uint8)
_PIXELS.flags.writeable = _LABELS.flags.writeable = False


def random_set(count: int, labels: type[Any] = np.uint8) -> ImageSet:
    """The first `count` of 512 random images, read-only, with labels of the dtype `labels`."""
    return ImageSet(_PIXELS[:count], _LABELS[:count].astype(labels), ("no", "yes"), "random")


def shuffled(images: int = 64, batch_size: int = 8, num_threads: int = 1) -> DataLoader:
    """A loader of random images, eight batches of eight unless told otherwise."""
    return DataLoader(random_set(images), batch_size, True, seed=7, num_threads=num_threads)


def as_bytes(batch: Batch) -> Bytes:
    xb, yb = batch
    return xb.numpy().tobytes(), yb.numpy().tobytes()


def taken(batches: Iterable[Batch]) -> list[Bytes]:
    """What the batches hold, each looked at before the next is asked for."""
    return [as_bytes(batch) for batch in batches]


def joined(parts: Iterable[Bytes]) -> Bytes:
    """Batches one after the other, as the bytes of one."""
    images, labels = zip(*parts, strict=True)
    return b"".join(images), b"".join(labels)


def indices(loader: DataLoader, epoch: int) -> list[NDArray[np.int64]]:
    """Which images the batches of an epoch hold, by the definition of the order and the cut."""
    count, size = len(loader.dataset), loader.batch_size
    order = np.arange(count)
    if loader.shuffle:
        order = _core.order(count, seed=loader.seed, epoch=epoch, start=0, stop=count)
    whole = count - count % size if loader.drop_last else count
    return [order[start : start + size] for start in range(0, whole, size)]


def expected(loader: DataLoader, epoch: int) -> list[Bytes]:
    """The bytes of an epoch as torch's arithmetic gives them, for one process."""
    data = loader.dataset
    images = data.images
    if loader.augment is not None:
        images = loader.augment.apply(images, seed=loader.seed, epoch=epoch)
    return [
        as_bytes(
            (
                (torch.from_numpy(images[rows]).float() / 255 - loader.mean) / loader.std,
                torch.from_numpy(data.labels[rows].astype(np.int64)),
            )
        )
        for rows in indices(loader, epoch)
    ]
