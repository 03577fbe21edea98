"""The models that have a name, and one's own: float32 `[B, 784]` to logits `[B, 1]`."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from mnist_sgd.models.custom import make_model
from mnist_sgd.models.layers import Edges, Histogram, Sum
from mnist_sgd.models.wrappers import unwrapped

__all__ = ["MODELS", "cnn", "cnn_histogram", "create_model", "linear", "mlp", "model_name"]

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
    model = nn.Sequential(nn.Unflatten(1, (1, 28, 28)), *_shapes_anywhere(1))
    # oneDNN then takes the images' channels side by side: an epoch costs a third less.
    return model.to(memory_format=torch.channels_last)


def cnn_histogram() -> nn.Module:
    """A network for whole pictures, of which there may be few.

    The cnn's layers, which also see the edges of the image; and next to them a network of 32 hidden
    units that sees the histogram of its grey levels, in 64 bins. Their logits are added.
    """
    model = nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        Sum(
            [
                nn.Sequential(Edges(), *_shapes_anywhere(3)),
                nn.Sequential(Histogram(64), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)),
            ]
        ),
    )
    return model.to(memory_format=torch.channels_last)


def _shapes_anywhere(inputs: int) -> list[nn.Module]:
    """From images with so many channels to logits: what matters may be anywhere in an image."""
    return [
        *_halving_convolution(inputs, 16, 5),
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

FACTORY = "_mnist_sgd_factory"
"""The attribute that keeps the name of a custom model's factory; a copy of the model has it too."""


def create_model(name: str, seed: int | None = None, example: Tensor | None = None) -> nn.Module:
    """A new model with random weights.

    Args:
        name: a key of `MODELS`, or `package.module:factory` as `factory.make_model` takes it.
        seed: draws the weights from a generator of their own and leaves torch's as it was; None
            draws them from torch's.
        example: two images as a custom model takes them; None stands for float32 `[2, 784]`.

    Raises:
        ValueError: there is no model of that name, or its factory gives none.
    """
    if name not in MODELS and ":" not in name:
        raise ValueError(
            f"there is no model {name!r}; there are: {', '.join(MODELS)}, and "
            "package.module:factory for one of your own"
        )
    if seed is None:
        return _made(name, example)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _made(name, example)


def _made(name: str, example: Tensor | None) -> nn.Module:
    if name in MODELS:
        return MODELS[name]()
    model = make_model(name, example)
    setattr(unwrapped(model), FACTORY, name)
    return model


def model_name(model: nn.Module) -> str:
    """What makes a model of this architecture, or else the name of its class.

    A built-in name is given to what is built of the same torch layers with the same settings,
    whoever built it, and to nothing else: not to a subclass, nor to a layer with hooks. A custom
    model has the name of its factory, `package.module:factory`.

    Args:
        model: any; of a wrapped one, as by `torch.compile`, the model inside is named.
    """
    model = unwrapped(model)
    for name in MODELS:
        if _same_architecture(_built_in(name), model):
            return name
    kind = type(model)
    name = kind.__qualname__.rpartition(".")[2]
    if name in MODELS:  # a class of that name is another model, and must not be taken for it
        name = f"{kind.__module__}.{name}"
    factory: str = getattr(model, FACTORY, name)
    return factory


@cache
def _built_in(name: str) -> nn.Module:
    """A built-in model without memory for its weights."""
    with torch.device("meta"):
        return MODELS[name]()


def _same_architecture(built_in: nn.Module | None, model: nn.Module | None) -> bool:
    """Whether the two compute alike, given the same weights."""
    if built_in is None or model is None or type(model) is not type(built_in):
        return built_in is model
    if list(model._modules) != list(built_in._modules):
        return False
    if _shapes(model) != _shapes(built_in) or model.extra_repr() != built_in.extra_repr():
        return False
    if "forward" in vars(model) or model._forward_hooks or model._forward_pre_hooks:
        return False
    return all(
        _same_architecture(ours, model._modules[name]) for name, ours in built_in._modules.items()
    )


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...] | None]:
    """Of a layer's own parameters and buffers, by name."""
    own = {**module._parameters, **module._buffers}
    return {name: None if t is None else tuple(t.shape) for name, t in own.items()}
