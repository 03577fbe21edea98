"""What to say when predictions and targets do not fit each other, or a loss fails on a batch."""

import warnings
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor

from mnist_sgd.recorder import metric_name

__all__ = ["ShapeError", "check_same_shape", "raise_explained", "warn_of_broadcasting"]


class ShapeError(ValueError):
    """Predictions and targets have different shapes; the message names both."""


def check_same_shape(name: str, predictions: Tensor, targets: Tensor) -> None:
    """Refuse a pair that broadcasting would turn into a comparison of all with all.

    Raises:
        ShapeError: the shapes differ.
    """
    if predictions.shape != targets.shape:
        raise ShapeError(
            f"{name} takes predictions and targets of one shape, [B, 1]; got predictions "
            f"{list(predictions.shape)} and targets {list(targets.shape)}"
            f"{_advice(predictions, targets)}"
        )


def _advice(predictions: Tensor, targets: Tensor) -> str:
    if targets.ndim == 1 and predictions.shape == (len(targets), 1):
        return "; make the targets [B, 1], as targets.unsqueeze(1) does"
    if predictions.ndim == 1 and targets.shape == (len(predictions), 1):
        return "; let the model end in [B, 1], without squeezing it"
    if predictions.shape[:1] == targets.shape[:1] and predictions.shape[1:] != (1,):
        return "; the model must have one output"
    return ""


def warn_of_broadcasting(predictions: Any, targets: Tensor) -> None:
    """Warn where one of the two lacks the last axis: most losses then compare all with all."""
    if not isinstance(predictions, Tensor):
        return
    size = targets.shape[:1]
    shapes = predictions.shape, targets.shape
    if shapes in ((size, (*size, 1)), ((*size, 1), size)) and size != (1,):
        warnings.warn(
            f"the predictions are {list(shapes[0])}, the targets {list(shapes[1])}: a loss that "
            "broadcasts them compares each prediction with every target; give both the same shape",
            stacklevel=2,
        )


def raise_explained(
    error: Exception, function: Callable[..., Any], predictions: Any, targets: Tensor
) -> NoReturn:
    """Raise an error of a loss or a metric again, with what the function was given.

    Raises:
        TypeError: it was given integer targets, and works with floating-point ones.
        Exception: otherwise the same error, with a note.
    """
    name = metric_name(function)
    if isinstance(error, RuntimeError) and not targets.is_floating_point():
        with torch.no_grad():
            try:
                function(predictions, targets.float())
            except Exception:  # then the dtype is not what it fails on
                pass
            else:
                raise TypeError(
                    f"{name} needs floating-point targets, the batches have "
                    f"{str(targets.dtype).removeprefix('torch.')}; use mnist_sgd.cross_entropy, "
                    "which takes them as they are, or convert them in a callback's before_batch"
                ) from error
    if not isinstance(error, ShapeError):  # which says it already
        error.add_note(f"in {name}(predictions {_shown(predictions)}, targets {_shown(targets)})")
    raise error


def _shown(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
