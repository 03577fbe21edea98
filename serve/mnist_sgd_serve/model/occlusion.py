"""Occlusion maps: what a prediction changes by if a part of the image is covered.

An occlusion map gives, for each pixel, how much the logit drops when a small patch around it is
covered with the background grey (Zeiler and Fergus, "Visualizing and Understanding Convolutional
Networks", 2014, section 4.2). It only needs predictions, so it works for every architecture. It
cannot show evidence from ink that is absent.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.pixels import border

MARGIN = 2
"""Pixels that a patch extends beyond the covered pixel on each side: a stroke is 2 to 4 wide."""


def background(image: NDArray[np.uint8], preprocessing: str) -> int:
    """Return the grey level of an image's background, from 0 to 255.

    The preprocessing `mnist` draws light ink on black. The others keep the background of the
    picture; it is estimated by the median of the border, as in
    `mnist_sgd_serve.images.resize.fit`.
    """
    return 0 if preprocessing == "mnist" else int(np.median(border(image)) + 0.5)


def occlusion_map(
    logits: Callable[[NDArray[np.uint8]], NDArray[np.float64]],
    image: NDArray[np.uint8],
    blank: int,
    step: int = 1,
) -> NDArray[np.float64]:
    """Compute how much the logit drops when the patch around each pixel is covered.

    Args:
        logits: the model, uint8 `[N, side, side]` to float64 `[N]`.
        image: uint8 `[side, side]`.
        blank: grey level of the patch, 0 to 255.
        step: side of the squares whose pixels share a value; 2 takes a quarter of the predictions.

    Returns:
        float64 `[side, side]`, positive where the image is evidence for the positive class.
    """
    side = len(image)
    starts, pixels = np.arange(0, side, step)[:, None], np.arange(side)
    covered = (starts - MARGIN <= pixels) & (pixels < starts + step + MARGIN)
    patches = covered[:, None, :, None] & covered[None, :, None, :]
    copies = np.where(patches, np.uint8(blank), image).reshape(-1, side, side)
    found = logits(np.concatenate([image[None], copies]))
    drops: NDArray[np.float64] = (found[0] - found[1:]).reshape(len(starts), len(starts))
    return drops.repeat(step, axis=0).repeat(step, axis=1)[:side, :side]
