"""What a model relies on: the weights of a linear model, and occlusion maps for any model."""

from typing import TYPE_CHECKING

import numpy as np

from mnist_sgd.report.occlusion import PATCH, background, linear_weights, occlusion_map
from mnist_sgd.report.pictures import Picture, data_uri, picture, signed_png
from mnist_sgd.report.predictions import Predictions

if TYPE_CHECKING:
    from torch import nn

MAPS, MISCLASSIFIED_MAPS = 10, 4
"""Number of occlusion maps, and how many of them at most are of misclassified images."""


def weights_picture(model: "nn.Module") -> tuple[str, float] | None:
    """Draw the weights of a linear model, as a data URI, with the largest absolute one.

    Returns:
        None for other models.
    """
    weights = linear_weights(model)
    if weights is None:
        return None
    largest = float(np.abs(weights).max())
    return data_uri(signed_png(weights, largest or 1.0)), largest


def occlusion_pictures(predictions: Predictions) -> list[Picture]:
    """Draw occlusion maps: of correctly classified images of both classes, and of mistakes.

    Each map is scaled by its largest change, which is its picture's note.
    """
    wrong = predictions.misclassified[:MISCLASSIFIED_MAPS].tolist()
    count = (MAPS - len(wrong)) // 2
    shown = [*predictions.typical(1, count), *predictions.typical(0, count), *wrong]
    return [_map(predictions, index) for index in shown]


def _map(predictions: Predictions, index: int) -> Picture:
    data = predictions.dataset
    image = data.images[index]
    values = occlusion_map(predictions, image)
    largest = float(np.abs(values).max())
    ink = np.abs(image.astype(np.int16) - background(image, data.preprocessing))
    overlay = signed_png(values, largest or 1.0, under=ink.astype(np.uint8))
    return picture(predictions, index, data_uri(overlay), f"largest change: {largest:.1f}")


def occlusion_caption(predictions: Predictions) -> str:
    """Explain the occlusion maps."""
    negative, positive = predictions.dataset.classes
    black = predictions.dataset.preprocessing == "mnist"
    cover = "black" if black else "the median grey of the image's border"
    mistakes = ", then the most confident mistakes" if len(predictions.misclassified) else ""
    return (
        f"Evidence for {positive} (orange) and for {negative} (blue): how much the log-odds "
        f"change when the {PATCH} by {PATCH} pixels around a pixel are covered with {cover}. The "
        "strongest colour is the largest change in each image, given below it. First typical "
        f"images of each class{mistakes}."
    )
