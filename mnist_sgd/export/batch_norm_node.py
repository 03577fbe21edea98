"""Batch norm in evaluation mode as ONNX's node, for an exporter that cannot translate it.

onnxscript's own translation expects one output of the node; the exporter of torch 2.6 gives it all
three that the operator may have. A batch norm without weights of its own, affine=False, stays
untranslated there.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from onnxscript import BFLOAT16, FLOAT, FLOAT16, opset18 as op

T = TypeVar("T", FLOAT, FLOAT16, BFLOAT16)


def _batch_norm(  # torch looks for the operator's own names of its parameters
    input: T,  # noqa: A002
    weight: T,
    bias: T,
    running_mean: T,
    running_var: T,
    momentum: float,
    eps: float,
) -> tuple[T, T, T]:
    result: Any = op.BatchNormalization(
        input, weight, bias, running_mean, running_var, epsilon=eps, momentum=1.0 - momentum
    )
    normalised = result[0] if isinstance(result, tuple | list) else result
    return normalised, normalised, normalised  # in evaluation only the first is read


TRANSLATION: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten._native_batch_norm_legit_no_training.default: _batch_norm
}
"""For `torch.onnx.export`'s `custom_translation_table`."""
