"""What a model looks at: its weights if it is linear, and for any model what it loses by covering.

The occlusion map of an image tells, for each place, by how much the log-odds fall when a small
patch there is covered with the grey of the paper (Zeiler and Fergus, "Visualizing and Understanding
Convolutional Networks", 2014, section 4.2). It asks the model alone, so any architecture will do;
it does not show where ink that is missing would have spoken. 784 answers an image.
"""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mnist_sgd.models.wrappers import unwrapped
from mnist_sgd.report.answers import Answers
from mnist_sgd_serve.images.pixels import border

__all__ = ["PATCH", "linear_weights", "occlusion_map", "paper"]

PATCH = 5
"""The side of the patch, a little wider than a stroke."""


def linear_weights(model: nn.Module) -> NDArray[np.float64] | None:
    """The weight of each pixel, `[28, 28]`, of a model that is one linear layer; else None."""
    model = unwrapped(model)
    if type(model) is nn.Linear and model.weight.numel() == 28 * 28:
        return model.weight.detach().cpu().double().numpy().reshape(28, 28)
    return None


def paper(image: NDArray[np.uint8], preprocessing: str) -> int:
    """The grey that is behind the thing in an image, from 0 to 255.

    It is black where the preprocessing `mnist` has laid light ink on it. The kinds of preprocessing
    for whole pictures leave the paper as it is; there it is the median of the image's border, as it
    is for `mnist_sgd_serve.images.resize.fit`.
    """
    return 0 if preprocessing == "mnist" else int(np.median(border(image)) + 0.5)


def occlusion_map(answers: Answers, image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """By how much the log-odds for the positive class fall when a patch is covered, `[28, 28]`.

    Args:
        answers: holds the model.
        image: uint8 `[28, 28]`. At each pixel the patch around it is covered with the image's
            paper, as far as it lies in the image.
    """
    height, width = image.shape
    rows, columns = np.arange(height), np.arange(width)
    covered_rows = np.abs(rows[:, None] - rows) <= PATCH // 2
    covered_columns = np.abs(columns[:, None] - columns) <= PATCH // 2
    covered = covered_rows[:, None, :, None] & covered_columns[None, :, None, :]
    blank = np.uint8(paper(image, answers.dataset.preprocessing))
    copies = np.where(covered, blank, image).reshape(-1, height, width)
    whole = answers.logits(image[None])[0]
    falls: NDArray[np.float64] = whole - answers.logits(copies)
    return falls.reshape(height, width)
