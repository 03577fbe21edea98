"""Run a model file on any number of images."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mnist_sgd_serve import Predictor

BATCH = 1024
"""Images per run of the model, so that memory use does not depend on their number."""


def predict_probabilities(predictor: "Predictor", images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Compute the model file's probabilities of the positive class, always in the same batches.

    All metrics are computed from these. Torch's probabilities differ: onnxruntime's sigmoid is
    exactly 0 below about 3e-8, while torch's reaches 1e-39, and images that tie in one but not in
    the other change the areas under the curves.

    Args:
        predictor: of the model file.
        images: uint8 `[N, 28, 28]`, preprocessed, at least one.

    Returns:
        float32 `[N]`, in [0, 1].
    """
    starts = range(0, len(images), BATCH)
    return np.concatenate([predictor.probabilities(images[i : i + BATCH]) for i in starts])
