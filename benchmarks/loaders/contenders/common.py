"""What all contenders share: the images, a loader, its turn, the check of what it delivers."""

import mmap
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BATCH_SIZE", "PIXELS", "Batch", "Data", "Loader", "endless"]

BATCH_SIZE = 256
PIXELS = 28 * 28
IN_MEMORY = 600_000
"""Up to so many images a worker reads them into its memory; more stay in the mapped file."""
WARM_PART = 0.25
"""Of the seconds of a turn, for which it runs before it counts."""

Batch = tuple[Any, Any]
"""Images and labels, as arrays or tensors."""


@dataclass(frozen=True)
class Data:
    """Random images in a file: all their bytes, in another their labels, a byte each, 0 or 1.

    Attributes:
        folder: where the files are.
        count: of the images that are used, from the first.
    """

    folder: Path
    count: int

    def images(self) -> NDArray[np.uint8]:
        """Uint8 `[N, 784]`; if they are mapped, all pages are in the process's page table."""
        images = self._mapped("images", PIXELS)
        if self.count <= IN_MEMORY:
            return np.array(images)
        images.reshape(-1)[:: mmap.PAGESIZE].max()
        return images

    def labels(self) -> NDArray[np.uint8]:
        """Uint8 `[N, 1]`, in memory."""
        return np.array(self._mapped("labels", 1))

    def floats(self) -> NDArray[np.float32]:
        """The images as float32 `[N, 784]`, x / 255, in memory."""
        images = self._mapped("images", PIXELS)
        return np.divide(images, np.float32(255), dtype=np.float32)

    def targets(self) -> NDArray[np.int64]:
        """The labels as int64 `[N, 1]`."""
        return self.labels().astype(np.int64)

    def _mapped(self, name: str, width: int) -> NDArray[np.uint8]:
        return np.memmap(self.folder / name, np.uint8, "r", shape=(self.count, width))


def endless(epoch: Callable[[], Iterable[Batch]]) -> Callable[[], Iterator[Batch]]:
    """Make a stream of what begins one epoch each time it is called."""
    return lambda: chain.from_iterable(epoch() for _ in count())


class Loader:
    """Something that delivers batches of 256, the last of an epoch with what is left.

    Args:
        stream: begins anew, and then delivers epoch after epoch.
        images: in an epoch.
        dtype: of the batches' images.
        white: their highest value.
    """

    def __init__(
        self,
        stream: Callable[[], Iterator[Batch]],
        images: int,
        dtype: str = "float32",
        white: float = 1,
    ) -> None:
        self.stream = stream
        self.images = images
        self.dtype = dtype
        self.white = white

    def turn(self, seconds: float) -> float:
        """Images a second, over so many batches as take about that long.

        The first batch, for which threads are started and the order is made, and those of a
        quarter of the time do not count. As in a training loop, a batch is alive while the next
        one is made.
        """
        batches = self.stream()
        next(batches)
        done, took = 1, 0.0
        start = time.perf_counter()
        for _xb, _yb in batches:
            done += 1
            took = time.perf_counter() - start
            if took >= WARM_PART * seconds:
                break
        n = max(1, round((done - 1) * seconds / took))
        while (took := _time(batches, n)) < seconds / 2:  # what was made ahead came in a burst
            done += n
            n = min(10 * n, round(n * seconds / took))
        return (self._images_in(done + n) - self._images_in(done)) / took

    def _images_in(self, batches: int) -> int:
        epochs, rest = divmod(batches, -(-self.images // BATCH_SIZE))
        return epochs * self.images + rest * BATCH_SIZE

    def check(self, data: Data) -> None:
        """Take two epochs of a loader over `data`.

        Raises:
            ValueError: an epoch does not deliver each image once with its label, or a batch has
                not the shape or the type that it should, or the epochs have one order.
        """
        batches = self.stream()
        orders = [self._checked_epoch(batches, data) for _ in range(2)]
        if np.array_equal(orders[0], orders[1]):
            raise ValueError("two epochs have the same order")

    def _checked_epoch(self, batches: Iterator[Batch], data: Data) -> NDArray[np.float64]:
        """The sums of the images' pixels, negative for label 1, in the order of an epoch."""
        sums = []
        for start in range(0, data.count, BATCH_SIZE):
            xb, yb = next(batches)
            rows = min(BATCH_SIZE, data.count - start)
            given = [(tuple(z.shape), str(z.dtype).removeprefix("torch.")) for z in (xb, yb)]
            wanted = [((rows, PIXELS), self.dtype), ((rows, 1), "int64")]
            if given != wanted:
                raise ValueError(f"a batch is {given}, not {wanted}")
            pixels = np.asarray(xb.float() if self.dtype == "bfloat16" else xb)
            sums.append(_signed_sums(pixels / self.white, np.asarray(yb)))
        order = np.concatenate(sums)
        expected = _signed_sums(data.images() / 255, data.labels())
        tolerance = 1e-2 if self.dtype == "bfloat16" else 1e-6
        if not np.allclose(np.sort(order), np.sort(expected), rtol=tolerance):
            raise ValueError("an epoch does not deliver each image once with its label")
        return order


def _time(batches: Iterator[Batch], n: int) -> float:
    """The seconds that `n` batches take."""
    start = time.perf_counter()
    for _xb, _yb in islice(batches, n):
        pass
    return time.perf_counter() - start


def _signed_sums(pixels: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.float64]:
    sums: NDArray[np.float64] = pixels.sum(axis=1, dtype=np.float64)
    return np.where(labels[:, 0] == 1, -sums, sums)
