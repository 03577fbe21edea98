"""The chapter's metric, and fastai's names for it and its complement."""

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
    return _fraction_right("batch_accuracy", predictions, targets)


def accuracy(predictions: Tensor, targets: Tensor) -> Tensor:
    """Compute `batch_accuracy`, in a column named as fastai's metric.

    For two classes, fastai compares the class of the higher of two outputs with the target. A
    single logit is above 0 exactly where the positive class is the more probable one.

    Args:
        predictions: logits, floating `[B, 1]`.
        targets: 1 for the positive class, 0 for the other, `[B, 1]`.

    Returns:
        A scalar in [0, 1].

    Raises:
        ValueError: the shapes differ.
    """
    return _fraction_right("accuracy", predictions, targets)


def error_rate(predictions: Tensor, targets: Tensor) -> Tensor:
    """Fraction of a batch that is misclassified: 1 minus `accuracy`, as in fastai.

    Args:
        predictions: logits, floating `[B, 1]`.
        targets: 1 for the positive class, 0 for the other, `[B, 1]`.

    Returns:
        A scalar in [0, 1].

    Raises:
        ValueError: the shapes differ.
    """
    return 1 - _fraction_right("error_rate", predictions, targets)


def _fraction_right(name: str, predictions: Tensor, targets: Tensor) -> Tensor:
    check_same_shape(name, predictions, targets)
    return ((at_least_float32(predictions).sigmoid() > 0.5) == targets).float().mean()
