"""What a model looks at: the weights of a linear model, and occlusion maps for any model."""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mnist_sgd.models.wrappers import unwrapped
from mnist_sgd.report.predictions import Predictions
from mnist_sgd_serve.model import occlusion
from mnist_sgd_serve.model.occlusion import background as background

PATCH = 2 * occlusion.MARGIN + 1
"""Side of the patch in pixels, a little wider than a stroke."""


def linear_weights(model: nn.Module) -> NDArray[np.float64] | None:
    """Return the weights, `[28, 28]`, of a model that is one linear layer; None otherwise."""
    model = unwrapped(model)
    if type(model) is nn.Linear and model.weight.numel() == 28 * 28:
        return model.weight.detach().cpu().double().numpy().reshape(28, 28)
    return None


def occlusion_map(predictions: Predictions, image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute how much the logit drops when the patch around each pixel is covered, `[28, 28]`.

    Args:
        predictions: holds the model.
        image: uint8 `[28, 28]`.
    """
    blank = background(image, predictions.dataset.preprocessing)
    return occlusion.occlusion_map(predictions.logits_of, image, blank)
