"""The proof that a file answers as the model it was made from does.

Every image is answered by torch and by the file's own runtime, both in the same batches, and no
probability may differ by more than the tolerance. Then two labels can differ only where the
threshold lies between two probabilities that the tolerance calls equal: a tie, which rounding
alone decides and which torch itself may decide otherwise in another batch or on another
processor. Such a label proves nothing against the file; it is counted and reported, not refused.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

__all__ = ["BATCH", "Answer", "ExportError", "Parity", "answer_all", "compare", "torch_answer"]

BATCH = 256

Answer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""A runtime that holds a model: uint8 images [B, 28, 28] to probabilities float32 [B]."""


class ExportError(RuntimeError):
    """A model cannot be exported, or its file does not answer as the model does.

    Attributes:
        reason: why, without the name of the file.

    Args:
        reason: why.
        path: of the file that was not written; None where there is none.
    """

    def __init__(self, reason: str, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__(reason if path is None else f"{path} was not written: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Parity:
    """How near two runtimes' answers are.

    Attributes:
        max_difference: the largest distance of two probabilities; nan if one of them is nan.
        label_disagreements: images whose labels differ.
    """

    max_difference: float
    label_disagreements: int


def torch_answer(module: nn.Module) -> Answer:
    """Give the answers of a torch module that takes uint8 [B, 28, 28] and gives float32 [B, 1]."""

    def answer(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            probability = module(torch.from_numpy(images))
        if probability.shape != (len(images), 1) or probability.dtype != torch.float32:
            raise ExportError(
                "the model must have one output, torch.float32 [B, 1]: for a batch of "
                f"{len(images)} it gives {probability.dtype} {list(probability.shape)}"
            )
        result: NDArray[np.float32] = probability.numpy().reshape(-1)
        return result

    return answer


def answer_all(answer: Answer, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Give the probabilities float32 [N] of images uint8 [N, 28, 28].

    The first image is asked alone, the others in batches of 256 and a rest, so that a file with a
    frozen batch size cannot pass.
    """
    bounds = [0, *range(1, len(images), BATCH), len(images)]
    # A copy of each batch: torch warns of memory that it may not write to, as in a memory map.
    return np.concatenate([answer(np.array(images[a:b])) for a, b in pairwise(bounds)])


def compare(
    expected: NDArray[np.float32], given: NDArray[np.float32], *, threshold: float
) -> Parity:
    """Compare two runtimes' probabilities, [N] each, and the labels that the threshold gives them.

    In float64, as `Metadata.label` compares a probability with the threshold.
    """
    a, b = expected.astype(np.float64), given.astype(np.float64)
    return Parity(
        max_difference=float(np.max(np.abs(a - b))),
        label_disagreements=int(np.sum((a > threshold) != (b > threshold))),
    )
