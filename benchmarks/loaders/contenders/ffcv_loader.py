"""FFCV's Loader over a file of its own, written first, with one thread."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contenders.common import BATCH_SIZE, PIXELS, Data, Loader, endless
from ffcv.fields import NDArrayField
from ffcv.fields.ndarray import NDArrayDecoder
from ffcv.loader import Loader as FFCVLoader, OrderOption
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.compiler import Compiler
from ffcv.pipeline.operation import Operation
from ffcv.pipeline.state import State
from ffcv.transforms import Convert, ToTensor
from ffcv.writer import DatasetWriter
from torch import Tensor


class Normalize(Operation):  # type: ignore[misc]
    """x / 255 in the code that FFCV compiles."""

    def generate_code(self) -> Callable[..., Any]:
        """A row of the batch after the other."""
        rows = Compiler.get_iterator()

        def normalize(images: Any, out: Any) -> Any:
            for row in rows(images.shape[0]):
                for i in range(images.shape[1]):
                    out[row, i] = np.float32(images[row, i]) / np.float32(255)
            return out[: images.shape[0]]

        normalize.is_parallel = True  # type: ignore[attr-defined]
        return normalize

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, AllocationQuery]:
        """Floats of the same shape."""
        state = replace(previous_state, dtype=np.dtype("float32"))
        return state, AllocationQuery(previous_state.shape, np.dtype("float32"))


class Divide(torch.nn.Module):
    """x / 255 in torch."""

    def forward(self, x: Tensor) -> Tensor:
        """Floats in place."""
        return x.div_(255)


PIPELINES = {
    "compiled": lambda: [NDArrayDecoder(), Normalize(), ToTensor()],
    "torch": lambda: [NDArrayDecoder(), ToTensor(), Convert(torch.float32), Divide()],
}


def prepare(data: Data, setting: str) -> dict[str, Loader]:
    """One loader for each of the two ways to write x / 255."""
    path = Path(f"{data.count}.beton").absolute()
    if not path.exists():
        _write(path, data)
    return {name: _loader(path, data, steps()) for name, steps in PIPELINES.items()}


def _write(path: Path, data: Data) -> None:
    fields = {
        "image": NDArrayField(np.dtype("uint8"), (PIXELS,)),
        "label": NDArrayField(np.dtype("int64"), (1,)),
    }
    images = list(zip(data.images(), data.targets(), strict=True))
    DatasetWriter(str(path), fields, num_workers=1).from_indexed_dataset(images, chunksize=1000)


def _loader(path: Path, data: Data, steps: Sequence[Operation]) -> Loader:
    loader = FFCVLoader(
        str(path),
        BATCH_SIZE,
        num_workers=1,
        order=OrderOption.RANDOM,
        drop_last=False,
        pipelines={"image": steps, "label": [NDArrayDecoder(), ToTensor()]},
    )
    return Loader(endless(lambda: loader), data.count)
