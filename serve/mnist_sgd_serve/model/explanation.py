"""Why a model predicts what it does for an image, as members of JSON.

A linear model is explained exactly, by the contribution of each pixel; any other by an occlusion
map.
"""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.model.attributions import ROUNDING, attributions
from mnist_sgd_serve.model.manager import Model
from mnist_sgd_serve.model.occlusion import background, occlusion_map

STEP = 2
"""Of occlusion maps: 197 predictions instead of 785."""


def explanation(model: Model, image: NDArray[np.uint8]) -> dict[str, Any]:
    """Explain a prediction: what the model saw, and the evidence for its positive class.

    Args:
        model: the model.
        image: uint8 `[28, 28]`, its input.

    Returns:
        `preparation`, `paper` and `version` of the model; the bytes of `image`; and float32
        `[28, 28]` of log-odds, positive towards the positive class, as `contributions` if the
        model is linear, else as `occlusion`. The other one is None. Arrays are in base64.
    """
    metadata = model.metadata
    blank = background(image, metadata.preprocessing)
    if metadata.preprocessing != "mnist" and metadata.paper is not None:
        blank = metadata.paper

    def logits(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        # Beyond these, float32 probabilities say nothing about the logit.
        found = model.predictor.probabilities(images).astype(np.float64)
        found = found.clip(ROUNDING, 1 - ROUNDING)
        odds: NDArray[np.float64] = found / (1 - found)
        return np.log(odds)

    contributions = occlusion = None
    if metadata.model == "linear":
        contributions = attributions(model.predictor.probabilities, image, blank)
    if contributions is None:
        occlusion = occlusion_map(logits, image, blank, STEP)
    return {
        "preparation": metadata.preprocessing,
        "paper": metadata.paper,
        "version": model.version,
        "image": _encode(image),
        "contributions": None if contributions is None else _encode(contributions.astype("<f4")),
        "occlusion": None if occlusion is None else _encode(occlusion.astype("<f4")),
    }


def _encode(values: NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode()
