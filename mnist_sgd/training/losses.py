"""The loss of the chapter, and cross-entropy."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from mnist_sgd.training.batch_errors import check_same_shape

__all__ = ["at_least_float32", "cross_entropy", "mnist_loss"]


def at_least_float32(values: Tensor) -> Tensor:
    """Floats of fewer bits as float32: their mean over a batch would have three digits."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def mnist_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """How far the probability is from the target, on average: 0 is certain and right, 1 wrong.

    Args:
        predictions: logits, floats `[B, 1]`; those of fewer bits count as float32.
        targets: 1 for the positive class, 0 for the other, `[B, 1]`.

    Returns:
        A scalar: the mean of `1 - p` where the target is 1 and of `p` where it is 0, `p` the
        sigmoid.

    Raises:
        ValueError: the two have different shapes.
    """
    check_same_shape("mnist_loss", predictions, targets)
    # The chapter's torch.where(targets == 1, 1 - p, p).mean(), value and gradient bit for bit, in
    # two operations fewer: a tenth of a training step of the linear model.
    return (targets - at_least_float32(predictions).sigmoid()).abs().mean()


def cross_entropy(predictions: Tensor, targets: Tensor) -> Tensor:
    """How surprising the targets are by the probabilities, on average: 0 if they were certain.

    An image that is called wrong with certainty still pulls at the weights, which it does not with
    `mnist_loss`, and the probabilities come out nearer to how often they are right.

    Args:
        predictions: logits, floats `[B, 1]`; those of fewer bits count as float32.
        targets: 1 for the positive class, 0 for the other, `[B, 1]`.

    Returns:
        A scalar, 0 or more: the mean of `-log(p)` where the target is 1 and of `-log(1 - p)` where
        it is 0, `p` the sigmoid.

    Raises:
        ValueError: the two have different shapes.
    """
    check_same_shape("cross_entropy", predictions, targets)
    logits = at_least_float32(predictions)
    return binary_cross_entropy_with_logits(logits, targets.to(logits.dtype))
