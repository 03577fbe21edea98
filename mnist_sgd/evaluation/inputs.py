"""Validation of probabilities and labels."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def validate_inputs(
    probabilities: ArrayLike, labels: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the probabilities as float64, and a mask of the positive labels.

    float64 holds every float32 exactly, and a model file compares its threshold in float64.

    Raises:
        ValueError: the inputs are not one probability in [0, 1] and one label, 0 or 1, per image,
            for at least one image.
    """
    given, classes = np.asarray(probabilities), np.asarray(labels)
    if given.ndim != 1 or given.shape != classes.shape:
        raise ValueError(
            "probabilities and labels must have the same shape [N], got "
            f"{list(given.shape)} and {list(classes.shape)}"
        )
    if len(given) == 0:
        raise ValueError("there is nothing to evaluate: at least 1 probability is needed")
    values = given.astype(np.float64)
    outside = ~((values >= 0) & (values <= 1))  # written so that nan is outside
    if outside.any():
        raise ValueError(f"probabilities must lie in [0, 1], got {values[outside][0]}")
    positive = classes == 1
    wrong = ~(positive | (classes == 0))
    if wrong.any():
        raise ValueError(f"labels must be 0 or 1, got {classes[wrong][0]}")
    return values, positive
