"""The built-in models by name, and custom ones: float32 `[B, 784]` to logits `[B, 1]`."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from mnist_sgd.models.custom import make_model
from mnist_sgd.models.layers import Edges, Histogram, Sum
from mnist_sgd.models.wrappers import unwrapped

PIXELS = 28 * 28


def linear() -> nn.Module:
    """Make the chapter's linear model: one weight per pixel, and a bias."""
    return nn.Linear(PIXELS, 1)


def mlp() -> nn.Module:
    """Make the chapter's network: 30 hidden units with ReLU between two linear layers."""
    return nn.Sequential(nn.Linear(PIXELS, 30), nn.ReLU(), nn.Linear(30, 1))


def cnn() -> nn.Module:
    """Make a small convolutional network for characters.

    Three convolutions with batch norm and stride 2, global max pooling and a linear layer.
    """
    model = nn.Sequential(nn.Unflatten(1, (1, 28, 28)), *_cnn_layers(1))
    # The convolutions of oneDNN are faster in this memory format.
    return model.to(memory_format=torch.channels_last)


def cnn_histogram() -> nn.Module:
    """Make a network for whole pictures, also if there are few.

    It adds the logits of two branches: the cnn's layers on the image and its edges, and 32 hidden
    units on the histogram of the grey levels, in 64 bins.
    """
    model = nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        Sum(
            [
                nn.Sequential(Edges(), *_cnn_layers(3)),
                nn.Sequential(Histogram(64), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)),
            ]
        ),
    )
    return model.to(memory_format=torch.channels_last)


def _cnn_layers(channels: int) -> list[nn.Module]:
    """Make the layers from images `[B, channels, 28, 28]` to logits `[B, 1]`."""
    return [
        *_halving_convolution(channels, 16, 5),
        *_halving_convolution(16, 32, 3),
        *_halving_convolution(32, 64, 3),
        nn.MaxPool2d(4),
        nn.Flatten(),
        nn.Linear(64, 1),
    ]


def _halving_convolution(inputs: int, outputs: int, size: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, size, stride=2, padding=size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]


MODELS: dict[str, Callable[[], nn.Module]] = {
    "linear": linear,
    "mlp": mlp,
    "cnn": cnn,
    "cnn_histogram": cnn_histogram,
}

_INTERNAL = frozenset(vars(nn.Module()))

FACTORY = "_mnist_sgd_factory"
"""The attribute of a custom model with its factory's name. Deep copies have it too."""


def create_model(name: str, seed: int | None = None, example: Tensor | None = None) -> nn.Module:
    """Make a model with random weights.

    Args:
        name: a key of `MODELS`, or `package.module:factory` for a custom model.
        seed: of the weights, which leaves torch's random state unchanged; None draws from it.
        example: a batch of two images as a custom model takes them; None means float32
            `[2, 784]`.

    Raises:
        ValueError: there is no model of that name, or its factory does not make one.
    """
    if name not in MODELS and ":" not in name:
        raise ValueError(
            f"there is no model {name!r}; there are: {', '.join(MODELS)}, and "
            "package.module:factory for a custom model"
        )
    if seed is None:
        return _make(name, example)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _make(name, example)


def _make(name: str, example: Tensor | None) -> nn.Module:
    if name in MODELS:
        return MODELS[name]()
    model = make_model(name, example)
    setattr(unwrapped(model), FACTORY, name)
    return model


def model_name(model: nn.Module) -> str:
    """Return the name of the factory that made a model, its built-in name, or that of its class.

    A custom model has the name of its factory, `package.module:factory`, as `create_model` recorded
    it. Any other model has a built-in name if it is the same architecture, see `built_in_name`.

    Args:
        model: any model; of a wrapped one, as by `torch.compile`, the model inside.
    """
    model = unwrapped(model)
    kind = type(model)
    name = kind.__qualname__.rpartition(".")[2]
    if name in MODELS:  # a class of that name is another model
        name = f"{kind.__module__}.{name}"
    return getattr(model, FACTORY, None) or built_in_name(model) or name


def built_in_name(model: nn.Module) -> str | None:
    """Return the name of the built-in model with the same layers and settings, or None.

    Whoever made the model: from `nn.Linear(784, 1)` and from `linear()` the same file is exported.
    A subclass of a layer, or a layer with hooks, is not the same.
    """
    model = unwrapped(model)
    return next((name for name in MODELS if _same_architecture(_built_in(name), model)), None)


@cache
def _built_in(name: str) -> nn.Module:
    """Make a built-in model without memory for its weights."""
    with torch.device("meta"):
        return MODELS[name]()


def _same_architecture(built_in: nn.Module | None, model: nn.Module | None) -> bool:
    """Whether two models compute the same, given the same weights."""
    if built_in is None or model is None or type(model) is not type(built_in):
        return built_in is model
    if "forward" in vars(model) or model._forward_hooks or model._forward_pre_hooks:
        return False
    settings = {name: getattr(model, name, None) for name in _settings(built_in)}
    if settings != _settings(built_in) or _shapes(model) != _shapes(built_in):
        return False
    return list(model._modules) == list(built_in._modules) and all(
        _same_architecture(child, model._modules[name]) for name, child in built_in._modules.items()
    )


def _settings(layer: nn.Module) -> dict[str, Any]:
    """Return a layer's own attributes, such as `in_features` or `stride`."""
    return {name: value for name, value in vars(layer).items() if name not in _INTERNAL}


def _shapes(layer: nn.Module) -> dict[str, tuple[int, ...] | None]:
    """Return the shapes of a layer's own parameters and buffers by name."""
    tensors = {**layer._parameters, **layer._buffers}
    return {name: None if t is None else tuple(t.shape) for name, t in tensors.items()}
