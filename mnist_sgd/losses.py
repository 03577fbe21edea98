"""The loss of the chapter."""

import torch
from torch import Tensor

__all__ = ["mnist_loss"]


def mnist_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """How far the probability is from the target, on average: 0 is certain and right, 1 wrong.

    Args:
        predictions: logits, float32 `[B, 1]`.
        targets: 1 for the positive class, 0 for the other, `[B, 1]`.

    Returns:
        A scalar: the mean of `1 - p` where the target is 1 and of `p` elsewhere, `p` the sigmoid.
    """
    p = predictions.sigmoid()
    return torch.where(targets == 1, 1 - p, p).mean()
