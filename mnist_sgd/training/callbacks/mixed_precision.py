"""Mixed-precision training in bfloat16."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mnist_sgd.training.callbacks.base import Callback
from mnist_sgd.training.losses import at_least_float32

if TYPE_CHECKING:
    from mnist_sgd.training.interface import Learner


class MixedPrecision(Callback):
    """Runs the model under torch's autocast to bfloat16, in training only.

    Weights, loss, gradients of weights and steps stay float32, and so do validation and the
    exported model. bfloat16 has float32's range, so no loss scaling is needed. It pays for larger
    models on processors that multiply in bfloat16 (AVX512_BF16, recent GPUs), and is slower
    elsewhere. Autocast is on while the model is called, and off in other callbacks.
    """

    order = 10  # after callbacks that change the batch, as in fastai

    def before_batch(self, learn: Learner) -> None:
        """Call the model under autocast, if this is a training batch."""
        if learn.training:
            learn.forward_context = partial(torch.autocast, learn.ranks.device.type, torch.bfloat16)

    def after_pred(self, learn: Learner) -> None:
        """Convert the logits to float32; those of a float64 model stay float64."""
        learn.pred = _at_least_float32(learn.pred)

    def fit_settings(self) -> dict[str, str]:
        """Return what a fit that resumes must have in common."""
        return {"mixed precision": "bfloat16"}


def _at_least_float32(pred: Any) -> Any:
    """Convert half-precision predictions, or a tuple, list or dictionary of them, to float32."""
    if isinstance(pred, Tensor):
        return at_least_float32(pred)
    if type(pred) in (tuple, list):
        return type(pred)(map(_at_least_float32, pred))
    if isinstance(pred, tuple) and hasattr(pred, "_make"):
        return pred._make(map(_at_least_float32, pred))
    if type(pred) is dict:
        return {name: _at_least_float32(each) for name, each in pred.items()}
    return pred
