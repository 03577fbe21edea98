"""The models that have a name, and one's own: float32 `[B, 784]` to logits `[B, 1]`."""

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from torch import nn

from mnist_sgd.factory import make_model

__all__ = ["MODELS", "cnn", "create_model", "linear", "mlp", "model_name"]

PIXELS = 28 * 28


def linear() -> nn.Module:
    """The chapter's model: a weight for each pixel, and a bias."""
    return nn.Linear(PIXELS, 1)


def mlp() -> nn.Module:
    """The chapter's network: 30 hidden units with ReLU between two linear layers."""
    return nn.Sequential(nn.Linear(PIXELS, 30), nn.ReLU(), nn.Linear(30, 1))


def cnn() -> nn.Module:
    """A small convolutional network.

    Three convolutions with batch norm halve the image's sides, each; then the highest activation
    of each of the 64 channels counts, wherever in the image it is.
    """
    model = nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        *_halving_convolution(1, 16, 5),
        *_halving_convolution(16, 32, 3),
        *_halving_convolution(32, 64, 3),
        nn.MaxPool2d(4),
        nn.Flatten(),
        nn.Linear(64, 1),
    )
    # oneDNN then takes the images' channels side by side: an epoch costs a third less.
    return model.to(memory_format=torch.channels_last)


def _halving_convolution(inputs: int, outputs: int, size: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, size, stride=2, padding=size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]


MODELS: dict[str, Callable[[], nn.Module]] = {"linear": linear, "mlp": mlp, "cnn": cnn}

_FACTORIES: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()
"""The names of the factories that made the models which live and have no name of their own."""


def create_model(name: str, seed: int | None = None) -> nn.Module:
    """A new model with random weights.

    Args:
        name: a key of `MODELS`, or `package.module:factory` as `factory.make_model` takes it.
        seed: draws the weights from a generator of their own and leaves torch's as it was; None
            draws them from torch's.

    Raises:
        ValueError: there is no model of that name, or its factory gives none.
    """
    if name not in MODELS and ":" not in name:
        raise ValueError(
            f"there is no model {name!r}; there are: {', '.join(MODELS)}, and "
            "package.module:factory for one of your own"
        )
    if seed is None:
        return _made(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _made(name)


def _made(name: str) -> nn.Module:
    if name in MODELS:
        return MODELS[name]()
    model = make_model(name)
    _FACTORIES[model] = name
    return model


def model_name(model: nn.Module) -> str:
    """What `create_model` makes models of this architecture by, or else the class's name."""
    with torch.device("meta"):  # neither memory nor random numbers are spent
        for name, make in MODELS.items():
            if repr(make()) == repr(model):
                return name
    return _FACTORIES.get(model, type(model).__name__)
