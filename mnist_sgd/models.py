"""The models that have a name. Each takes float32 `[B, 784]` and gives logits `[B, 1]`."""

from collections.abc import Callable

import torch
from torch import nn

__all__ = ["MODELS", "create_model", "linear", "mlp", "model_name"]

PIXELS = 28 * 28


def linear() -> nn.Module:
    """The chapter's model: a weight for each pixel, and a bias."""
    return nn.Linear(PIXELS, 1)


def mlp() -> nn.Module:
    """The chapter's network: 30 hidden units with ReLU between two linear layers."""
    return nn.Sequential(nn.Linear(PIXELS, 30), nn.ReLU(), nn.Linear(30, 1))


MODELS: dict[str, Callable[[], nn.Module]] = {"linear": linear, "mlp": mlp}


def create_model(name: str, seed: int | None = None) -> nn.Module:
    """A new model with random weights.

    Args:
        name: a key of `MODELS`.
        seed: draws the weights from a generator of their own and leaves torch's as it was; None
            draws them from torch's.

    Raises:
        ValueError: there is no model of that name.
    """
    if name not in MODELS:
        raise ValueError(f"there is no model {name!r}; there are: {', '.join(MODELS)}")
    if seed is None:
        return MODELS[name]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MODELS[name]()


def model_name(model: nn.Module) -> str:
    """The key of `MODELS` that makes models of this architecture, or else the class's name."""
    with torch.device("meta"):  # neither memory nor random numbers are spent
        for name, make in MODELS.items():
            if repr(make()) == repr(model):
                return name
    return type(model).__name__
