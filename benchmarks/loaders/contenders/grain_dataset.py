"""grain's MapDataset, read by its threads or by none."""

from collections.abc import Iterator
from typing import Any

import grain
import numpy as np
from contenders.common import BATCH_SIZE, Batch, Data, Loader
from numpy.typing import NDArray

AHEAD = 16
"""Batches that are read ahead: with grain's own 500 a turn would only empty that store."""
THREADS = grain.ReadOptions(num_threads=16, prefetch_buffer_size=AHEAD)
ALONE = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)


def prepare(data: Data, setting: str) -> dict[str, Loader]:
    """Images that grain batches, and batches of row numbers that NumPy gathers by."""
    x, y = data.images(), data.labels()

    def normalized(batch: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> Batch:
        return batch[0].astype(np.float32) / np.float32(255), batch[1].astype(np.int64)

    images = grain.MapDataset.source(Images(x, y)).shuffle(0).batch(BATCH_SIZE)
    rows = grain.MapDataset.range(data.count).shuffle(0).batch(BATCH_SIZE)
    datasets = {
        "images": images.map(normalized).repeat(),
        "rows": rows.map(lambda numbers: normalized((x[numbers], y[numbers]))).repeat(),
    }
    return {
        f"{name}, {threads} threads": Loader(_stream(dataset, options), data.count)
        for name, dataset in datasets.items()
        for threads, options in (("16", THREADS), ("no", ALONE))
    }


class Images:
    """A source of grain's: an image and its label by number."""

    def __init__(self, x: NDArray[np.uint8], y: NDArray[np.uint8]) -> None:
        self.x = x
        self.y = y

    def __len__(self) -> int:
        """Of the images."""
        return len(self.x)

    def __getitem__(self, index: Any) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Uint8 `[784]` and `[1]`."""
        return self.x[index], self.y[index]


def _stream(dataset: Any, options: Any) -> Any:
    def stream() -> Iterator[Batch]:
        batches: Iterator[Batch] = iter(dataset.to_iter_dataset(options))
        return batches

    return stream
