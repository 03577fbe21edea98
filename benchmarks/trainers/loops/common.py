"""What all contenders share: data, first weights, the chapter's loss and accuracy."""

import time
from typing import NotRequired, TypedDict

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from mnist_sgd import create_model
from mnist_sgd.data import ImageSet

__all__ = ["BATCH_SIZE", "LR", "Clock", "Trained", "accuracy", "floats", "loss", "model"]

BATCH_SIZE = 256
LR = 1.0


class Trained(TypedDict):
    """What a turn answers: see worker.py."""

    ends: list[tuple[float, float]]
    accuracy: float
    stages: NotRequired[dict[str, float]]


class Clock:
    """Notes when epochs end: the time, and the processor time that the process has used."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float]] = []

    def tick(self) -> None:
        """An epoch has ended."""
        self.ends.append((time.perf_counter(), time.process_time()))


def model() -> torch.nn.Module:
    """A new linear model, always of the same weights."""
    return create_model("linear", 0)


def floats(images: ImageSet) -> TensorDataset:
    """Images as float32 `[N, 784]` in [0, 1], and their labels as int64 `[N, 1]`."""
    x = torch.tensor(images.images).view(-1, 28 * 28).float() / 255
    return TensorDataset(x, torch.tensor(images.labels).long().unsqueeze(1))


def loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """The loss as the chapter writes it."""
    p = predictions.sigmoid()
    return torch.where(targets == 1, 1 - p, p).mean()


def accuracy(predictions: Tensor, targets: Tensor) -> Tensor:
    """The accuracy as the chapter writes it."""
    return ((predictions.sigmoid() > 0.5) == targets).float().mean()
