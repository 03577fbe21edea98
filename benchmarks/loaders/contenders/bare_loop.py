"""The roofline: a bare C++ loop over the same rows, in an order that was made beforehand."""

import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from contenders.common import BATCH_SIZE, PIXELS, WARM_PART, Batch, Data, Loader
from numpy.typing import NDArray

SOURCE = Path(__file__).parent.parent / "roofline.cpp"
ISAS = ("plain", "AVX2", "AVX-512")
PREFETCHES = ((0, 0), (2, 0), (2, 12), (4, 16), (2, 24))
"""Images ahead for the first-level cache and for the second-level cache; 0 for none."""
RINGS = {"held": (2, 3), "overwritten": (1,)}
"""Batches in memory, by whether a batch is still there while the next one is made."""
ORDERED = 100_000
"""The order has at least so many rows, that is several epochs of a small set."""
FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC")


@cache
def library() -> ctypes.CDLL:
    """The loops, compiled for this processor in the current folder."""
    path = Path("roofline.so").absolute()
    compiler = os.environ.get("CXX", "c++")
    subprocess.run([compiler, *FLAGS, str(SOURCE), "-o", str(path)], check=True)
    loops = ctypes.CDLL(str(path))
    size, pointer = ctypes.c_size_t, ctypes.c_void_p
    loops.roofline.restype = ctypes.c_double
    loops.roofline.argtypes = (
        [ctypes.c_int] * 2 + [size] * 3 + [pointer] * 3 + [size] + [pointer] * 2
    )
    return loops


def prepare(data: Data, setting: str) -> dict[str, Loader]:
    """The loops that this processor has; the setting is what becomes of a batch, see `RINGS`."""
    rings = RINGS[setting]
    arrays = Arrays(data, max(rings))
    loaders = {}
    for isa, stream, ahead, ring in product(range(len(ISAS)), (0, 1), PREFETCHES, rings):
        if library().roofline_has(isa, stream):
            stores = "streaming" if stream else "plain"
            name = f"{ISAS[isa]}, {stores} stores, {ahead[0]} and {ahead[1]} ahead, ring of {ring}"
            loaders[name] = Roofline(arrays, isa, stream, ahead, ring)
    return dict[str, Loader](loaders)


class Arrays:
    """What the loops share: the images, some epochs' order, and the ring of batches."""

    def __init__(self, data: Data, slots: int) -> None:
        self.images, self.labels = data.images(), data.labels()
        random = np.random.default_rng(0)
        epochs = max(2, -(-ORDERED // data.count)) if data.count <= ORDERED else 1
        orders = [random.permutation(data.count) for _ in range(epochs)]
        self.rows = epochs * data.count
        beyond = max(far for _, far in PREFETCHES)
        order = np.concatenate([*orders, orders[0]])[: self.rows + beyond]
        self.order = order.astype(np.int32)
        self.x = _aligned(slots * BATCH_SIZE * PIXELS)
        self.y = np.empty(slots * BATCH_SIZE, np.int64)


class Roofline(Loader):
    """One of the loops."""

    def __init__(
        self, arrays: Arrays, isa: int, stream: int, ahead: tuple[int, int], ring: int
    ) -> None:
        super().__init__(self._batches, len(arrays.images))
        self.arrays = arrays
        self.place = 0  # in the order
        pointers = (arrays.images.ctypes.data, arrays.labels.ctypes.data)
        self.call: Callable[..., float] = lambda order, images: library().roofline(
            isa,
            stream,
            *ahead,
            ring,
            *pointers,
            order,
            images,
            arrays.x.ctypes.data,
            arrays.y.ctypes.data,
        )

    def turn(self, seconds: float) -> float:
        """Images a second; the order goes on where the last turn ended."""
        warm = self._run(4 * BATCH_SIZE)
        n = max(BATCH_SIZE, int(WARM_PART * seconds * 4 * BATCH_SIZE / warm))
        rate = n / self._run(n)
        n = max(BATCH_SIZE, int(seconds * rate))
        return n / self._run(n)

    def _run(self, images: int) -> float:
        """The seconds for so many images, in as many calls as orders end on the way."""
        took = 0.0
        while images:
            part = min(images, self.arrays.rows - self.place)
            took += self.call(self.arrays.order[self.place :].ctypes.data, part)
            self.place = (self.place + part) % self.arrays.rows
            images -= part
        return took

    def _batches(self) -> Iterator[Batch]:
        """Batch by batch, to be checked."""
        self.place = 0
        while True:
            left = self.images - self.place % self.images
            rows = min(BATCH_SIZE, left)
            self._run(rows)
            x = self.arrays.x[: rows * PIXELS].reshape(rows, PIXELS)
            yield x, self.arrays.y[:rows, None]


def _aligned(floats: int) -> NDArray[Any]:
    """Memory that begins at a multiple of 64 bytes."""
    memory = np.empty(floats + 16, np.float32)
    first = -memory.ctypes.data % 64 // 4
    return memory[first : first + floats]
