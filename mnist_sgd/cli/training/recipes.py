"""What `mnist-sgd train` takes for each model where the user says nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

__all__ = [
    "LEAST_STEPS",
    "LOSSES",
    "OPTIMIZERS",
    "OWN",
    "RECIPES",
    "SCHEDULES",
    "Recipe",
    "adjusted",
    "recipe_of",
    "with_enough_steps",
]

Schedule = Literal["flat", "one-cycle"]
Optimizer = Literal["sgd", "adam"]
Loss = Literal["mnist", "cross-entropy"]

SCHEDULES: tuple[Schedule, ...] = ("flat", "one-cycle")
LOSSES: tuple[Loss, ...] = ("mnist", "cross-entropy")


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; each field is an option of the command, of the same name.

    Attributes:
        epochs: how often all images are gone through, above 0.
        lr: the learning rate, or the highest of a schedule; above 0; "find" lets `lr_find` suggest
            one.
        schedule: whether the rate stays or makes one cycle.
        loss: the chapter's, `mnist_loss`, or `cross_entropy`.
        optimizer: this package's SGD, or torch's AdamW.
        momentum: in [0, 1).
        weight_decay: decoupled, of weights but not of biases and norms; 0 or more.
        batch_size: images in a batch, over all processes.
        shuffle: whether each epoch has an order of its own.
        augment: whether training images are turned, shifted, scaled and sheared at random.
    """

    epochs: int
    lr: float | Literal["find"]
    schedule: Schedule = "flat"
    loss: Loss = "mnist"
    optimizer: Optimizer = "sgd"
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int = 256
    shuffle: bool = False
    augment: bool = False


OWN = "package.module:factory"
"""Stands for every model that has no name of its own."""

_CONVOLUTIONS = Recipe(
    epochs=20,
    lr=0.01,
    schedule="one-cycle",
    loss="cross-entropy",
    optimizer="adam",
    momentum=0.9,
    batch_size=128,
    shuffle=True,
    augment=True,
)

RECIPES = {
    "linear": Recipe(epochs=10, lr=1.0),
    "mlp": Recipe(epochs=40, lr=0.1),
    "cnn": _CONVOLUTIONS,
    "cnn_histogram": _CONVOLUTIONS,
    OWN: Recipe(
        epochs=20,
        lr=0.003,
        schedule="one-cycle",
        loss="cross-entropy",
        optimizer="adam",
        momentum=0.9,
        shuffle=True,
    ),
}
"""Of each model; the first two are the chapter's."""

OPTIMIZERS: dict[Optimizer, dict[str, float]] = {
    "sgd": {"lr": 0.1, "momentum": 0.9},
    "adam": {"lr": 0.003, "momentum": 0.9},
}
"""What goes with an optimizer that is not the recipe's own."""


LEAST_STEPS = 600
"""Steps of the optimizer that a training on a folder has, or more."""

BATCHES = 10
"""Batches of a small set's epoch, or more; its batches have 16 images or more."""
LEAST_BATCH = 16


def recipe_of(model: str) -> Recipe:
    """The recipe of a model by its name."""
    return RECIPES.get(model, RECIPES[OWN])


def adjusted(recipe: Recipe, given: Mapping[str, Any]) -> Recipe:
    """A recipe with what the user gave, by the names of the fields; None stands for nothing.

    Another optimizer than the recipe's brings a learning rate and a momentum that suit it.
    """
    given = {name: value for name, value in given.items() if value is not None}
    optimizer = given.get("optimizer", recipe.optimizer)
    suited = OPTIMIZERS[optimizer] if optimizer != recipe.optimizer else {}
    changes: dict[str, Any] = suited | given
    return replace(recipe, **changes)


def with_enough_steps(recipe: Recipe, images: int, given: Mapping[str, Any]) -> Recipe:
    """A recipe that also trains on few images long enough.

    The batches of a small set are halved until an epoch has `BATCHES` of them; then there are as
    many epochs as `LEAST_STEPS` steps need, or as the recipe has, if these are more.

    Args:
        recipe: for any number of images.
        images: to train with, above 0.
        given: what the user gave, by the names of the fields; that stays.
    """
    size = recipe.batch_size
    if given.get("batch_size") is None:
        while size > LEAST_BATCH and images < BATCHES * size:
            size //= 2
    batches = -(-images // size)
    epochs = recipe.epochs
    if given.get("epochs") is None:
        epochs = max(epochs, -(-LEAST_STEPS // batches))
    return replace(recipe, batch_size=size, epochs=epochs)
