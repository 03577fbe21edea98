"""SPDL's Pipeline: row numbers in, batches that NumPy gathered out, by one thread or two."""

from collections.abc import Callable, Iterator

import numpy as np
from contenders.common import BATCH_SIZE, Batch, Data, Loader
from numpy.typing import NDArray
from spdl.pipeline import PipelineBuilder


def prepare(data: Data, setting: str) -> dict[str, Loader]:
    """The batches come in the order of the row numbers."""
    x, y = data.images(), data.labels()

    def rows() -> Iterator[NDArray[np.int64]]:
        random = np.random.default_rng()
        while True:
            order = random.permutation(data.count)
            for start in range(0, data.count, BATCH_SIZE):
                yield order[start : start + BATCH_SIZE]

    def gather(numbers: NDArray[np.int64]) -> Batch:
        floats = np.divide(x[numbers], np.float32(255), dtype=np.float32)
        return floats, y[numbers].astype(np.int64)

    def stream(threads: int) -> Callable[[], Iterator[Batch]]:
        def batches() -> Iterator[Batch]:
            pipeline = (
                PipelineBuilder()
                .add_source(rows())
                .pipe(gather, concurrency=threads, output_order="input")
                .add_sink()
                .build(num_threads=threads)
            )
            with pipeline.auto_stop():
                yield from pipeline

        return batches

    return {f"{n} thread{'s'[: n - 1]}": Loader(stream(n), data.count) for n in (1, 2)}
