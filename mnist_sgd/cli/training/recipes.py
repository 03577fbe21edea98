"""How `mnist-sgd train` trains each model by default."""

import argparse
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from functools import partial
from typing import Any, Literal

from mnist_sgd.cli.options.arguments import non_negative_float, whole_number
from mnist_sgd.cli.options.fields import option
from mnist_sgd_serve.process.arguments import suggestion

Schedule = Literal["flat", "one-cycle"]
Optimizer = Literal["sgd", "adam"]
Loss = Literal["mnist", "cross-entropy"]

AUGMENTATION: dict[str, dict[str, Any]] = {
    "sample": {"degrees": 10, "translate": 0.05, "scale": (0.9, 1.1), "shear": 5},
    # Printed characters of --data may differ by a slant, as italics do.
    "characters": {
        "degrees": 5,
        "translate": 0.05,
        "scale": (0.9, 1.1),
        "shear": 2.5,
        "share": 0.75,
    },
    # Whole pictures have a frame, and the place of a thing in it matters.
    "whole": {"degrees": 5, "translate": 0.04, "scale": (0.95, 1.05), "outside": "edge"},
}
"""What --augment does. Shifts of up to 0.1 serve the mlp as well, but harm the linear model.

Nothing is mirrored: a mirrored letter or arrow means something else.
"""

OPTIMIZERS: dict[Optimizer, dict[str, float]] = {
    "sgd": {"lr": 0.1, "momentum": 0.9},
    "adam": {"lr": 0.003, "momentum": 0.9},
}
"""The defaults of an optimizer that is not the recipe's own."""


def _learning_rate(text: str) -> float | Literal["find"]:
    """A learning rate, or "find"."""
    if text == "find":
        return "find"
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        near = suggestion(text, ["find"])
        raise argparse.ArgumentTypeError(f"must be a positive number or find, got {text!r}{near}")
    if not 1e-38 <= rate <= 1e38:  # the range of float32, the type of the weights
        raise argparse.ArgumentTypeError(f"must be a number from 1e-38 to 1e38, got {text!r}")
    return rate


def _augmentation_text() -> str:
    """What `--augment` does, for its help."""
    sample, characters, whole = AUGMENTATION.values()
    scales = ["{} to {}".format(*each["scale"]) for each in (sample, whole)]
    return (
        f"rotate each training image at random by up to {sample['degrees']} degrees, shift it by "
        f"up to {sample['translate']:.0%} of its side, scale it by {scales[0]} and shear it by up "
        f"to {sample['shear']} degrees; with --data, rotate {characters['share']:.0%} of the "
        f"characters by up to {characters['degrees']} degrees and shear them by "
        f"{characters['shear']}, or rotate whole pictures by up to {whole['degrees']} degrees, "
        f"shift them by {whole['translate']:.0%} and scale them by {scales[1]}"
    )


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; each field is an option, whose default depends on the model.

    The optimizers are this package's SGD and torch's AdamW. Weight decay is decoupled. The learning
    rate "find" stands for the one that `lr_find` suggests.
    """

    epochs: int = option(
        "passes over the training images", default=MISSING, type=whole_number, metavar="N"
    )
    lr: float | Literal["find"] = option(
        "learning rate; find tries growing rates on 100 batches and takes the one it suggests",
        default=MISSING,
        type=_learning_rate,
        metavar="LR",
    )
    schedule: Schedule = option(
        "keep the learning rate, or let it rise to --lr over a quarter of the training and then "
        "fall, while the momentum goes from 0.95 to 0.85 and back",
        default="flat",
        choices=("flat", "one-cycle"),
    )
    loss: Loss = option(
        "the chapter's loss, or cross-entropy, which also learns from images that are "
        "misclassified with certainty",
        default="mnist",
        choices=("mnist", "cross-entropy"),
    )
    optimizer: Optimizer = option(
        "sgd, or adam, which is torch's AdamW; if you change the optimizer, the default learning "
        f"rate changes too, to {OPTIMIZERS['sgd']['lr']} for sgd and {OPTIMIZERS['adam']['lr']} "
        "for adam, and the default momentum to 0.9",
        default="sgd",
        choices=tuple(OPTIMIZERS),
    )
    momentum: float = option(
        "momentum of sgd, where 0 turns it off, or the first beta of adam",
        default=0.0,
        type=partial(non_negative_float, below=1.0),
        metavar="M",
    )
    weight_decay: float = option(
        "multiply weights, but not biases, by 1 - LR * WD in each step",
        default=0.0,
        type=non_negative_float,
        metavar="WD",
    )
    batch_size: int = option(
        "images in a batch, over all processes", default=256, type=whole_number, metavar="N"
    )
    shuffle: bool = option(
        "shuffle the training images in each epoch",
        default=False,
        action=argparse.BooleanOptionalAction,
    )
    augment: bool = option(
        _augmentation_text(), default=False, action=argparse.BooleanOptionalAction
    )


CUSTOM = "package.module:factory"
"""Stands for every model that is not built in."""

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
    CUSTOM: replace(_CONVOLUTIONS, lr=0.003, batch_size=256, augment=False),
}
"""The recipe of each model; the first two are the chapter's."""

LEAST_STEPS = 600
"""Steps of the optimizer in a training on a folder, at least."""

BATCHES = 10
"""Batches in an epoch of a small data set, at least, if they have `LEAST_BATCH` images or more."""
LEAST_BATCH = 16


def defaults_text() -> dict[str, str]:
    """The defaults of each option, in words: `10 for linear, 40 for mlp, ...`."""
    texts = {each.name: _values(each.name) for each in fields(Recipe)}
    texts["shuffle"] = texts["shuffle"].replace("on for", "on with --data and for", 1)
    return texts


def _values(field: str) -> str:
    names: dict[str, list[str]] = {}
    for name, recipe in RECIPES.items():
        value = getattr(recipe, field)
        shown = ("off", "on")[value] if isinstance(value, bool) else value
        text = shown if isinstance(shown, str) else f"{shown:g}"
        names.setdefault(text, []).append("custom models" if name == CUSTOM else name)
    if len(names) == 1:
        return next(iter(names))
    if set(names) == {"off", "on"}:
        return f"on for {_enumeration(names['on'])}, off otherwise"
    return "; ".join(f"{value} for {_enumeration(models)}" for value, models in names.items())


def _enumeration(names: list[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def recipe_of(model: str) -> Recipe:
    """The recipe of a model by its name."""
    return RECIPES.get(model, RECIPES[CUSTOM])


def adjusted(recipe: Recipe, given: Mapping[str, Any]) -> Recipe:
    """A recipe with what the user gave, by field; None stands for nothing.

    An optimizer that is not the recipe's own brings a learning rate and a momentum that suit it.
    """
    given = {name: value for name, value in given.items() if value is not None}
    optimizer = given.get("optimizer", recipe.optimizer)
    suited = OPTIMIZERS[optimizer] if optimizer != recipe.optimizer else {}
    changes: dict[str, Any] = suited | given
    return replace(recipe, **changes)


def with_enough_steps(recipe: Recipe, images: int, given: Mapping[str, Any]) -> Recipe:
    """A recipe that trains long enough on few images too.

    The batches of a small data set are halved until an epoch has `BATCHES` of them; then there are
    as many epochs as `LEAST_STEPS` steps need, or as the recipe has, if these are more.

    Args:
        recipe: for any number of images.
        images: number of training images, above 0.
        given: what the user gave, by field; that stays.
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
