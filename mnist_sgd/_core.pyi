from typing import Any, Never, Self, final

import numpy as np
import torch
from numpy.typing import NDArray

AUGMENTATION_VERSION: int
ORDER_VERSION: int

class _Type(type): ...  # stands for pybind11's metaclass

@final
class Loader(metaclass=_Type):
    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.uint8] | NDArray[np.int64],
        *,
        flatten: bool,
        batch_size: int,
        shuffle: bool,
        drop_last: bool,
        seed: int,
        rank: int,
        world_size: int,
        num_threads: int,
        mean: float,
        std: float,
        dtype: str,
        exchange: object,  # torch.Tensor.__dlpack_c_exchange_api__, or torch.from_dlpack
        augmentation: Augmentation | None = None,
    ) -> None: ...
    def __len__(self) -> int: ...
    def epoch(self, epoch: int, first_batch: int) -> Epoch: ...

@final
class Epoch(metaclass=_Type):
    def __init__(self, *args: object, **kwargs: object) -> Never: ...  # Loader.epoch makes them
    def __iter__(self) -> Self: ...
    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]: ...
    def close(self) -> None: ...
    @property
    def progress(self) -> Progress: ...

@final
class Progress(metaclass=_Type):
    def __init__(self, *args: object, **kwargs: object) -> Never: ...  # Epoch.progress gives them
    @property
    def delivered(self) -> int: ...
    @property
    def exhausted(self) -> bool: ...

@final
class Augmentation(metaclass=_Type):
    def __init__(
        self,
        *,
        degrees: float,
        translate: float,
        scale: tuple[float, float],
        shear: float,
        outside: str = "black",
        share: float = 1.0,
    ) -> None: ...
    def draw(
        self, *, seed: int, epoch: int, sample: int
    ) -> tuple[float, tuple[float, float], float, float]: ...  # as affine's arguments
    def apply(
        self,
        images: NDArray[np.uint8],
        *,
        seed: int,
        epoch: int,
        first_sample: int = 0,
        kernel: str | None = None,
    ) -> NDArray[np.uint8]: ...

def affine(
    images: NDArray[np.uint8],
    *,
    angle: float = 0.0,
    translate: tuple[float, float] = (0.0, 0.0),
    scale: float = 1.0,
    shear: float = 0.0,
    outside: str = "black",
    kernel: str | None = None,
) -> NDArray[np.uint8]: ...
def kernels() -> list[str]: ...
def default_kernel() -> str: ...
def normalize(
    images: NDArray[np.uint8],
    *,
    mean: float = 0.0,
    std: float = 1.0,
    dtype: str = "float32",
    kernel: str | None = None,
) -> NDArray[Any]: ...
def order(
    count: int, *, seed: int, epoch: int, start: int, stop: int, kernel: str | None = None
) -> NDArray[np.int64]: ...
