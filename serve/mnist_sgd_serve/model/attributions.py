"""What each pixel of an image contributes to the logit of a linear model.

A linear model's logit is a constant for blank paper plus a term for each pixel. So images with a
single pixel on blank paper reveal all of it without reading weights, for any artifact. Whether the
model is linear is tested on the given image. It takes one run of up to 789 images.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

ROUNDING = 2.0**-22
"""The largest error of a probability: that of onnxruntime's float32 sigmoid, which is absolute
because it adds a half at the end, and that of the sum before it."""

FINEST = 0.01
"""The largest acceptable error of a pixel's logit."""

THINNED = (1, 2, 4, 8)
"""Every pixel, every second, ...: where all together saturate the sigmoid, fewer do not."""


def attributions(
    probabilities: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    image: NDArray[np.uint8],
    paper: int = 0,
) -> NDArray[np.float32] | None:
    """Compute what each pixel adds to the logit of a linear model, relative to blank paper.

    It is the logit of the image with this pixel alone, minus that of the blank image; the blank
    image's logit plus all attributions is the image's logit. This is checked on the image and on
    thinned copies of it. The check compares probabilities, as logits beyond 17 saturate.

    Args:
        probabilities: the model, uint8 `[N, 28, 28]` to float32 `[N]` in [0, 1].
        image: uint8 `[28, 28]`, the model's input.
        paper: the grey level of blank paper, 0 to 255.

    Returns:
        float32 `[28, 28]`, positive towards the positive class; 0 where the image is blank.
        None if the model is not linear on this image, or saturates so far on blank paper or a
        single pixel that the logit's error there may exceed `FINEST`.
    """
    drawn = np.flatnonzero(image != paper)
    count = len(drawn)
    batch = np.full((1 + count + len(THINNED), image.size), paper, np.uint8)  # the first is blank
    batch[np.arange(1, count + 1), drawn] = image.ravel()[drawn]
    for row, step in zip(batch[1 + count :], THINNED, strict=True):
        row[drawn[::step]] = image.ravel()[drawn[::step]]
    outputs = probabilities(batch.reshape(-1, *image.shape)).astype(np.float64)

    single, thinned = np.split(outputs, [1 + count])
    slope = single * (1 - single)  # of the sigmoid
    if slope.min() * FINEST < ROUNDING:
        return None
    logits, errors = np.log(single / (1 - single)), ROUNDING / slope
    added = logits[1:] - logits[0]
    doubts = errors[1:] + errors[0]
    for output, step in zip(thinned, THINNED, strict=True):
        total, doubt = logits[0] + added[::step].sum(), errors[0] + doubts[::step].sum()
        least, most = _sigmoid(total - doubt) - ROUNDING, _sigmoid(total + doubt) + ROUNDING
        if not least <= output <= most:
            return None
    result = np.zeros(image.shape, np.float32)
    result.ravel()[drawn] = added
    return result


def _sigmoid(logit: float) -> float:
    """The logistic function, without overflow."""
    return 0.5 + 0.5 * math.tanh(logit / 2)
