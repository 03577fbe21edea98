"""Mixed-precision training in bfloat16."""

from functools import partial
from typing import Any

import torch

from mnist_sgd.training.callbacks.base import Callback
from mnist_sgd.training.data_parallel import map_tensors
from mnist_sgd.training.losses import at_least_float32


class MixedPrecision(Callback):
    """Runs the model under torch's autocast to bfloat16, in training only.

    Weights, loss, gradients of weights and steps stay float32, and so do validation and the
    exported model. bfloat16 has float32's range, so no loss scaling is needed. It pays for larger
    models on processors that multiply in bfloat16 (AVX512_BF16, recent GPUs), and is slower
    elsewhere. Autocast is on while the model is called, and off in other callbacks.
    """

    order = 10  # after callbacks that change the batch, as in fastai

    def before_batch(self, learn: Any) -> None:
        """Call the model under autocast, if this is a training batch."""
        if learn.training:
            learn.forward_context = partial(torch.autocast, learn.ranks.device.type, torch.bfloat16)

    def after_pred(self, learn: Any) -> None:
        """Convert the logits to float32; those of a float64 model stay float64."""
        learn.pred = map_tensors(learn.pred, at_least_float32)

    def fit_settings(self) -> dict[str, str]:
        """Return what a fit that resumes must have in common."""
        return {"mixed precision": "bfloat16"}
