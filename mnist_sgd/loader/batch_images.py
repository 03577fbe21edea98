"""The images and the class names in a batch, to be shown."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnist_sgd.data import ImageSet


def class_names(batches: object) -> list[str]:
    """Return the class names of a loader in label order.

    Raises:
        TypeError: it is not a loader of an `ImageSet`.
    """
    dataset = getattr(batches, "dataset", None)
    if not isinstance(dataset, ImageSet):
        raise TypeError(
            "class names come from a mnist_sgd.DataLoader of an ImageSet; these batches come from "
            f"a {type(batches).__name__} of a {type(dataset or batches).__name__}"
        )
    return list(dataset.classes)


def titles_of(yb: Tensor, batches: object) -> list[str]:
    """Return the class name of each target, `[B]` or `[B, 1]`; without names its number."""
    labels = yb.flatten().tolist()
    if not isinstance(getattr(batches, "dataset", None), ImageSet):
        return [f"{label:g}" for label in labels]
    names = class_names(batches)
    return [names[round(label)] for label in labels]


def images_of(xb: Tensor, batches: Any) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Undo the normalisation of a batch.

    Args:
        xb: `[B, 784]`, `[B, H, W]` or `[B, 1, H, W]`.
        batches: where it comes from; this package's loader of an `ImageSet` knows its
            normalisation.

    Returns:
        `[B, H, W]`: uint8 if `xb` is, or if the normalisation is known, else float32.

    Raises:
        ValueError: the shape is another.
    """
    if xb.shape[1:] == (784,):
        xb = xb.reshape(-1, 28, 28)
    elif xb.ndim == 4 and xb.shape[1] == 1:
        xb = xb[:, 0]
    elif xb.ndim != 3:
        raise ValueError(
            f"images are shown of batches [B, 784] or [B, 1, H, W], got {list(xb.shape)}"
        )
    xb = xb.detach().cpu()
    pixels: NDArray[np.uint8] | NDArray[np.float32]
    pixels = xb.numpy() if xb.dtype == torch.uint8 else xb.float().numpy()
    known = hasattr(batches, "mean") and isinstance(batches.dataset, ImageSet)
    if xb.dtype == torch.uint8 or not known:
        return pixels
    restored: NDArray[np.float32] = (pixels * batches.std + batches.mean) * 255
    return np.rint(restored).clip(0, 255).astype(np.uint8)
