"""Asking a model's file about any number of images."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mnist_sgd_serve import Predictor

__all__ = ["file_probabilities"]

BATCH = 1024
"""Images in a run of the model: the memory stays flat however many there are."""


def file_probabilities(predictor: "Predictor", images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The file's own probabilities of the positive class, always in the same batches.

    Every figure of a model is made of these. Torch's differ: onnxruntime's sigmoid is exactly 0
    below about 3e-8, where torch's goes on to 1e-39, and images that are equal to one and not to
    the other move the areas under the curves.

    Args:
        predictor: of the model's file.
        images: uint8 `[N, 28, 28]`, preprocessed, at least one.

    Returns:
        float32 `[N]`, in [0, 1].
    """
    starts = range(0, len(images), BATCH)
    return np.concatenate([predictor.probabilities(images[i : i + BATCH]) for i in starts])
