"""Small learners that print nothing, and what a fit of theirs computed."""

from typing import Any

import torch
from torch import nn

from image_sets import random_set
from mnist_sgd import DataLoader, DataLoaders, Learner, batch_accuracy, create_model
from mnist_sgd.training.loop import print_nothing

__all__ = ["BATCHES", "figures", "learner"]

BATCHES = 6
"""Training batches in an epoch of a learner of 22 images, 4 at a time."""


def learner(
    model: nn.Module | None = None,
    *,
    train: int = 22,
    valid: int = 10,
    seed: int = 5,
    **settings: Any,
) -> Learner:
    """A learner of random images in shuffled batches of 4, linear unless a model is given.

    Args:
        model: from float32 `[B, 784]` to logits `[B, 1]`.
        train: number of training images.
        valid: number of validation images.
        seed: of the training images' order.
        settings: more arguments of `Learner`, or others in place of these.
    """
    dls = DataLoaders(
        DataLoader(random_set(train), 4, shuffle=True, seed=seed),
        DataLoader(random_set(valid), 4, shuffle=True, seed=6),
    )
    model = create_model("linear", 0) if model is None else model
    learn = Learner(**{"dls": dls, "model": model, "metrics": batch_accuracy, **settings})
    learn.logger = print_nothing
    return learn


def figures(learn: Learner) -> dict[str, Any]:
    """Everything that two equal fits compute alike, to the last bit."""
    recorder = learn.recorder
    return {
        "weights": dict(learn.model.state_dict()),
        "buffers": dict(learn.model.named_buffers()),
        "optimizer": learn.opt.state_dict(),
        "figures": [recorder.values, recorder.losses, recorder.lrs, recorder.moms],
        "random": torch.get_rng_state(),
    }
