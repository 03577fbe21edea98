"""What a model looks at: the weights of a linear model, and occlusion maps for any model.

An occlusion map gives, for each pixel, how much the logit drops when a small patch around it is
covered with the background grey (Zeiler and Fergus, "Visualizing and Understanding Convolutional
Networks", 2014, section 4.2). It only needs predictions, 784 per image, so it works for every
architecture. It cannot show evidence from ink that is absent.
"""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mnist_sgd.models.wrappers import unwrapped
from mnist_sgd.report.predictions import Predictions
from mnist_sgd_serve.images.pixels import border

PATCH = 5
"""Side of the patch in pixels, a little wider than a stroke."""


def linear_weights(model: nn.Module) -> NDArray[np.float64] | None:
    """Return the weights, `[28, 28]`, of a model that is one linear layer; None otherwise."""
    model = unwrapped(model)
    if type(model) is nn.Linear and model.weight.numel() == 28 * 28:
        return model.weight.detach().cpu().double().numpy().reshape(28, 28)
    return None


def background(image: NDArray[np.uint8], preprocessing: str) -> int:
    """Return the grey level of an image's background, from 0 to 255.

    The preprocessing `mnist` draws light ink on black. The others keep the background of the
    picture; it is estimated by the median of the border, as in
    `mnist_sgd_serve.images.resize.fit`.
    """
    return 0 if preprocessing == "mnist" else int(np.median(border(image)) + 0.5)


def occlusion_map(predictions: Predictions, image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute how much the logit drops when the patch around each pixel is covered, `[28, 28]`.

    Args:
        predictions: holds the model.
        image: uint8 `[28, 28]`.
    """
    height, width = image.shape
    rows, columns = np.arange(height), np.arange(width)
    covered_rows = np.abs(rows[:, None] - rows) <= PATCH // 2
    covered_columns = np.abs(columns[:, None] - columns) <= PATCH // 2
    covered = covered_rows[:, None, :, None] & covered_columns[None, :, None, :]
    blank = np.uint8(background(image, predictions.dataset.preprocessing))
    copies = np.where(covered, blank, image).reshape(-1, height, width)
    drops: NDArray[np.float64] = predictions.logits_of(image[None])[0] - predictions.logits_of(
        copies
    )
    return drops.reshape(height, width)
