"""The chapter's metric."""

from torch import Tensor

from mnist_sgd.training.batch_errors import check_same_shape
from mnist_sgd.training.losses import at_least_float32


def batch_accuracy(predictions: Tensor, targets: Tensor) -> Tensor:
    """Fraction of a batch that is classified correctly at a threshold of 0.5.

    Args:
        predictions: logits, floating `[B, 1]`.
        targets: 1 for the positive class, 0 for the other, `[B, 1]`.

    Returns:
        A scalar in [0, 1].

    Raises:
        ValueError: the shapes differ.
    """
    check_same_shape("batch_accuracy", predictions, targets)
    return ((at_least_float32(predictions).sigmoid() > 0.5) == targets).float().mean()
