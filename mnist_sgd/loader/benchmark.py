"""Compare the loader with loading in plain torch, in one run.

Every contender does the same work: each epoch in a new order, float32 `x / 255` as `[B, 784]` with
int64 labels `[B, 1]`. They take turns, so a machine that slows down slows all of them. A turn is a
warm-up and a measurement of a tenth of a second each: the warm-up fills the caches, as in training,
where epoch follows epoch. The result is the median over the turns.
"""

import statistics
import time
from collections.abc import Callable, Iterable
from typing import TypedDict

import numpy as np
import torch

from mnist_sgd._extension import _core
from mnist_sgd.data import ImageSet
from mnist_sgd.loader.dataloader import Batch, DataLoader

TURN_SECONDS = 0.1

Contender = Callable[[], Iterable[Batch]]


class LoaderBenchmark(TypedDict):
    """Images per second of each contender, and the conditions."""

    images: int
    batch_size: int
    repeats: int
    kernel: str
    images_per_second: dict[str, float]


def loader_benchmark(images: int, batch_size: int, repeats: int) -> LoaderBenchmark:
    """Time shuffled epochs over random images, with torch limited to one thread."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (images, 28, 28), np.uint8)
    labels = random.integers(0, 2, images, np.uint8)
    contenders = _contenders(ImageSet(pixels, labels, ("7", "3")), batch_size)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        speeds = _measure(contenders, images, repeats)
    finally:
        torch.set_num_threads(threads)
    return {
        "images": images,
        "batch_size": batch_size,
        "repeats": repeats,
        "kernel": _core.default_kernel(),
        "images_per_second": {name: statistics.median(s) for name, s in speeds.items()},
    }


def _contenders(dataset: ImageSet, batch_size: int) -> dict[str, Contender]:
    """Return the contenders by name: this loader, then plain torch."""
    from torch.utils.data import DataLoader as TorchDataLoader, TensorDataset

    x = torch.from_numpy(dataset.images).reshape(-1, 28 * 28)
    y = torch.from_numpy(dataset.labels.astype(np.int64)).unsqueeze(1)
    floats = x.float().div_(255)
    torch_loader = TorchDataLoader(TensorDataset(floats, y), batch_size, shuffle=True)

    def gather_bytes() -> Iterable[Batch]:
        order = torch.randperm(len(x))
        for rows in torch.split(order, batch_size):
            yield x[rows].float().div_(255), y[rows]

    def gather_floats() -> Iterable[Batch]:
        order = torch.randperm(len(x))
        for rows in torch.split(order, batch_size):
            yield floats[rows], y[rows]

    ours = DataLoader(dataset, batch_size, shuffle=True)
    ours_2 = DataLoader(dataset, batch_size, shuffle=True, num_threads=2)
    return {
        "mnist_sgd, 1 thread": lambda: ours,
        "mnist_sgd, 2 threads": lambda: ours_2,
        "torch, x[rows].float().div_(255)": gather_bytes,
        "torch, float32 kept in memory, x[rows]": gather_floats,
        "torch DataLoader over a TensorDataset": lambda: torch_loader,
    }


def _measure(contenders: dict[str, Contender], images: int, repeats: int) -> dict[str, list[float]]:
    """Return the images per second of each contender, turn by turn."""
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, load_epoch in contenders.items():
            _run(load_epoch)
            seen, epochs, seconds = _run(load_epoch)
            speeds[name].append(seen / seconds)
            if seen != images * epochs:
                raise RuntimeError(f"{name} delivered {seen:,} images in {epochs} epochs")
    return speeds


def _run(load_epoch: Contender) -> tuple[int, int, float]:
    """Load whole epochs for the time of a turn; return images, epochs, seconds."""
    seen = epochs = 0
    start = time.perf_counter()
    while (seconds := time.perf_counter() - start) < TURN_SECONDS:
        seen += sum(len(yb) for _, yb in load_epoch())
        epochs += 1
    return seen, epochs, seconds
