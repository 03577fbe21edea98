"""The chapter's loss, and cross-entropy."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from mnist_sgd.training.batch_errors import check_same_shape

Loss = Callable[[Tensor, Tensor], Tensor]
"""Takes (predictions, targets) of a batch; returns a scalar, the mean over the images."""


def at_least_float32(values: Tensor) -> Tensor:
    """Convert float16 and bfloat16, whose mean over a batch would have three digits, to float32."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def mnist_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute difference between probabilities and targets, the chapter's loss.

    Args:
        predictions: logits, floating `[B, 1]`; half precision is computed in float32.
        targets: 1 for the positive class, 0 for the other, `[B, 1]`.

    Returns:
        A scalar in [0, 1]: the mean of `1 - p` where the target is 1 and of `p` where it is 0, with
        `p` the sigmoid of the logit.

    Raises:
        ValueError: the shapes differ.
    """
    check_same_shape("mnist_loss", predictions, targets)
    # The chapter's torch.where(targets == 1, 1 - p, p).mean(), value and gradient bit for bit, in
    # two operations fewer, which a small model notices.
    return (targets - at_least_float32(predictions).sigmoid()).abs().mean()


def cross_entropy(predictions: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of logits.

    Unlike with `mnist_loss`, an image that is misclassified with certainty still has a gradient,
    and the probabilities are better calibrated.

    Args:
        predictions: logits, floating `[B, 1]`; half precision is computed in float32.
        targets: 1 for the positive class, 0 for the other, `[B, 1]`.

    Returns:
        A scalar, 0 or more: the mean of `-log(p)` where the target is 1 and of `-log(1 - p)` where
        it is 0, with `p` the sigmoid of the logit.

    Raises:
        ValueError: the shapes differ.
    """
    check_same_shape("cross_entropy", predictions, targets)
    logits = at_least_float32(predictions)
    return binary_cross_entropy_with_logits(logits, targets.to(logits.dtype))
