"""What probabilities and labels must be before anything is made of them."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["checked"]


def checked(
    probabilities: ArrayLike, labels: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The probabilities in float64, and which of the labels are 1.

    float64 holds every float32 exactly, and in it an artifact's threshold is compared.

    Raises:
        ValueError: they are not one probability in [0, 1] and one label of 0 or 1 an image, for one
            image or more.
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
