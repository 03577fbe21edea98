"""Explain errors of the model, the loss and the metrics: shapes, dtypes, missing gradients."""

import re
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from mnist_sgd.loader.data_loaders import DataLoaders, check_alike, length_of
from mnist_sgd.training.recorder import metric_name

OF_DTYPES = re.compile(
    r"dtype|datatype|scalar type|types? .*should be the same|Type promoting|not implemented for '"
)
"""torch's errors for an input whose dtype differs from the weights'."""

CONVERSIONS = {
    torch.float32: "float",
    torch.float64: "double",
    torch.bfloat16: "bfloat16",
    torch.float16: "half",
}
"""Methods of tensors and modules that convert to a dtype."""


class ShapeError(ValueError):
    """Predictions and targets have different shapes; the message names both."""


def check_batches(dls: DataLoaders) -> None:
    """Refuse to train on nothing, or on other labels or pixels than validation has.

    Raises:
        ValueError: the training loader is empty, a label has two names, or mean and std differ.
    """
    check_alike(dls.train, dls.valid)
    if length_of(dls.train) == 0:
        raise ValueError(
            "there are no training batches: the training loader is empty, as it is with "
            "drop_last=True and fewer images than batch_size"
        )


def check_same_shape(name: str, predictions: Tensor, targets: Tensor) -> None:
    """Refuse shapes that would broadcast to a comparison of all predictions with all targets.

    Raises:
        TypeError: the predictions are not a tensor.
        ShapeError: the shapes differ.
    """
    check_one_tensor(predictions)
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


def check_one_tensor(predictions: Any) -> None:
    """Check that predictions are a tensor.

    Raises:
        TypeError: they are something else.
    """
    if not isinstance(predictions, Tensor):
        raise TypeError(
            f"predictions must be a tensor of logits [B, 1], got a {type(predictions).__name__}: "
            "of several outputs of a model choose one in a callback's after_pred, as "
            "learn.pred = learn.pred[0] does"
        )


def warn_of_broadcasting(predictions: Any, targets: Tensor) -> None:
    """Warn if one of the two lacks the last axis: most losses then broadcast them."""
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


def check_targets(loss_func: Callable[..., Any], targets: Any) -> None:
    """Refuse targets outside [0, 1] for a binary loss.

    Labels such as -1 and 1, or 1 and 2, would otherwise train a useless model without an error.

    Args:
        loss_func: other losses than this package's and torch's binary ones may take any targets.
        targets: of a batch.

    Raises:
        ValueError: a target is outside [0, 1].
    """
    if not takes_logits(loss_func):
        return
    if not isinstance(targets, Tensor) or not targets.numel() or targets.is_complex():
        return
    low, high = (float(each) for each in targets.aminmax())
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"{metric_name(loss_func)} takes targets from 0 to 1, 1 for the positive class; those "
            f"of the batch go from {low:g} to {high:g}: give labels 0 and 1, or convert them in a "
            f"callback's before_batch, as learn.yb = {_conversion(low, high)} does"
        )


def takes_logits(function: Callable[..., Any]) -> bool:
    """Whether a loss or a metric is known to take logits, and targets in [0, 1]."""
    while isinstance(function, partial):
        function = function.func
    function = getattr(function, "_torchdynamo_orig_callable", function)  # of torch.compile
    is_ours = getattr(function, "__module__", "") in (
        "mnist_sgd.training.losses",
        "mnist_sgd.training.metrics",
    )
    is_torchs = isinstance(function, nn.BCEWithLogitsLoss)
    return is_ours or is_torchs or function is binary_cross_entropy_with_logits


def warn_of_sigmoid(functions: Sequence[Callable[..., Any]]) -> None:
    """Warn that a model returns probabilities where a loss or a metric takes logits."""
    if known := [metric_name(function) for function in functions if takes_logits(function)]:
        warnings.warn(
            f"the model ends in a sigmoid, and {known[0]} applies another, after "
            "which all probabilities are above 0.5: leave out the model's own",
            stacklevel=2,
        )


def _conversion(low: float, high: float) -> str:
    return f"(learn.yb > {(low + high) / 2:g}).float()" if low < high else "learn.yb.clamp(0, 1)"


def raise_explained(
    error: Exception, function: Callable[..., Any], predictions: Any, targets: Tensor
) -> NoReturn:
    """Reraise an error of a loss or a metric with the shapes and dtypes of its arguments.

    Raises:
        TypeError: the targets are integers, and the function works with floating-point ones.
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
                    f"{_name(targets.dtype)}; use mnist_sgd.cross_entropy, "
                    "which takes them as they are, or convert them in a callback's before_batch"
                ) from error
    if not isinstance(error, ShapeError):  # which says it already
        error.add_note(f"in {name}(predictions {_shown(predictions)}, targets {_shown(targets)})")
    raise error


def raise_explained_forward(error: Exception, model: nn.Module, xb: Any) -> NoReturn:
    """Reraise an error of a model with advice, if the dtype of the batch is the cause.

    Raises:
        TypeError: torch complains of dtypes, and the batch's differs from the weights'.
        Exception: otherwise the same error.
    """
    weights = [p.dtype for p in model.parameters() if p.is_floating_point()]
    if (
        not isinstance(xb, Tensor)
        or not weights
        or xb.dtype in weights
        or not OF_DTYPES.search(str(error))
    ):
        raise error
    raise TypeError(
        f"the batches are {_name(xb.dtype)} and the model's weights {_name(weights[0])}: "
        f"{_dtype_advice(xb.dtype, weights[0])}"
    ) from error


def _dtype_advice(batches: torch.dtype, weights: torch.dtype) -> str:
    ways = []
    if weights in (torch.float32, torch.bfloat16):
        ways.append(f"give a DataLoader of images dtype=torch.{_name(weights)}")
    scaled = " / 255" if batches == torch.uint8 else ""
    if weights in CONVERSIONS:
        ways.append(f"convert the items in the data set, as x.{CONVERSIONS[weights]}(){scaled}")
    if batches in CONVERSIONS:
        ways.append(f"convert the model, as model.{CONVERSIONS[batches]}()")
    else:
        ways.append("let the model's forward convert its input so")
    return f"{', '.join(ways[:-1])}, or {ways[-1]}"


def raise_explained_backward(
    error: Exception, function: Callable[..., Any], loss: Any, model: nn.Module
) -> NoReturn:
    """Reraise an error of a backward pass with advice.

    Raises:
        TypeError: the loss is not a tensor.
        ValueError: it is not a scalar, or has no gradient.
        Exception: otherwise the same error.
    """
    name = metric_name(function)
    if not isinstance(loss, Tensor):
        raise TypeError(
            f"{name} must return a tensor, the mean loss of a batch, got {type(loss).__name__}"
        ) from error
    if loss.numel() != 1:
        raise ValueError(
            f"{name} must return a scalar, the mean loss of a batch, got {_shown(loss)}; "
            "give its mean()"
        ) from error
    if loss.requires_grad:
        raise error
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(
            "the model has no parameter that is trained: all are frozen, or there is none; "
            "requires_grad_(True) on a layer lets it learn"
        ) from error
    raise ValueError(
        f"the loss of {name} has no gradient: it must be computed from the model's predictions by "
        "differentiable operations, which comparisons, rounding, item() and detach() are not"
    ) from error


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _shown(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{_name(value.dtype)} {list(value.shape)}"
