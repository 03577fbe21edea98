"""Compare the probabilities of two runtimes that hold the same model.

Every image is predicted by torch and by the file's own runtime, in the same batches, and no
probability may differ by more than the tolerance. Two labels can then differ only where the
threshold lies between two probabilities that the tolerance calls equal. Rounding decides such a
tie, and torch itself may decide it differently in another batch or on another processor.
Therefore differing labels are counted and reported, but not refused.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

BATCH = 256

PredictFn = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""A runtime that holds a model: uint8 images [B, 28, 28] to probabilities float32 [B]."""


class ExportError(RuntimeError):
    """A model cannot be exported, or its file does not predict what the model does.

    Attributes:
        reason: why, without the name of the file.

    Args:
        reason: why.
        path: the file that was not written, if any.
    """

    def __init__(self, reason: str, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__(reason if path is None else f"{path} was not written: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class ParityResult:
    """How closely two runtimes agree.

    Attributes:
        max_difference: the largest difference of two probabilities; nan if one of them is nan.
        label_disagreements: number of images whose labels differ.
    """

    max_difference: float
    label_disagreements: int


def torch_predict_fn(module: nn.Module) -> PredictFn:
    """Wrap a torch module that maps uint8 [B, 28, 28] to float32 [B, 1]."""

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            probability = module(torch.from_numpy(images))
        if probability.shape != (len(images), 1) or probability.dtype != torch.float32:
            raise ExportError(
                "the model must have one output, torch.float32 [B, 1]; for a batch of "
                f"{len(images)} it returns {probability.dtype} {list(probability.shape)}"
            )
        result: NDArray[np.float32] = probability.numpy().reshape(-1)
        return result

    return predict


def predict_all(predict: PredictFn, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the probabilities float32 [N] of images uint8 [N, 28, 28].

    The first batch has one image, the next ones have 256 and the last one the rest, so that a file
    with a fixed batch size fails.
    """
    bounds = [0, *range(1, len(images), BATCH), len(images)]
    # Copies, because torch warns of memory that it may not write to, such as a memory map.
    return np.concatenate([predict(np.array(images[a:b])) for a, b in pairwise(bounds)])


def compare(
    expected: NDArray[np.float32], given: NDArray[np.float32], *, threshold: float
) -> ParityResult:
    """Compare two runtimes' probabilities, [N] each, and the labels at the threshold.

    In float64, as `Metadata.label` compares a probability with the threshold.
    """
    a, b = expected.astype(np.float64), given.astype(np.float64)
    return ParityResult(
        max_difference=float(np.max(np.abs(a - b))),
        label_disagreements=int(np.sum((a > threshold) != (b > threshold))),
    )
