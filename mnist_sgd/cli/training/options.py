"""How a model is trained: the options that change its recipe, and what watches the training."""

import argparse
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from mnist_sgd.cli.options.arguments import add_model_argument, path, positive_float, positive_int
from mnist_sgd.cli.options.datasets import SAMPLE
from mnist_sgd.cli.training.recipes import (
    LOSSES,
    OPTIMIZERS,
    RECIPES,
    SCHEDULES,
    Recipe,
    adjusted,
    recipe_of,
    with_enough_steps,
)

if TYPE_CHECKING:
    from torch import Tensor

    from mnist_sgd.training.callbacks.base import Callback

__all__ = [
    "add_training_arguments",
    "chosen_loss",
    "chosen_model",
    "chosen_optimizer",
    "chosen_recipe",
    "default_of",
    "suited_recipe",
    "watchers",
]


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, an option for each field of its recipe that is not about batches, watchers."""
    add_model_argument(
        parser, None, "linear for the sample, cnn_histogram for whole pictures of --data, else cnn"
    )
    parser.add_argument("--epochs", type=positive_int, help=default_of("epochs"))
    parser.add_argument(
        "--lr",
        type=_learning_rate,
        help="learning rate; find tries growing ones on 100 batches and takes the one that "
        f"it suggests {default_of('lr')}",
    )
    group = parser.add_argument_group("training")
    group.add_argument(
        "--schedule",
        choices=SCHEDULES,
        help="keep the rate, or let it rise to --lr over a quarter of the training and then fall, "
        f"while a momentum does the reverse, from 0.95 to 0.85 and back {default_of('schedule')}",
    )
    group.add_argument(
        "--loss",
        choices=LOSSES,
        help="the chapter's, or cross-entropy, which goes on learning from what is called wrong "
        f"with certainty {default_of('loss')}",
    )
    rates = " and ".join(f"{each['lr']:g} for {name}" for name, each in OPTIMIZERS.items())
    group.add_argument(
        "--optimizer",
        choices=tuple(OPTIMIZERS),
        help="adam is torch's AdamW; another one than the model's own has another rate, "
        f"{rates}, and momentum 0.9 {default_of('optimizer')}",
    )
    group.add_argument(
        "--momentum",
        type=partial(_from_zero, below=1.0),
        help=f"0 is none; of adam the first beta {default_of('momentum')}",
    )
    group.add_argument(
        "--weight-decay",
        type=_from_zero,
        metavar="WD",
        help="each step multiplies weights, but not biases, by 1 - LR * WD "
        f"{default_of('weight_decay')}",
    )
    group.add_argument(
        "--mixed-precision",
        action="store_true",
        help="train in bfloat16 where that is safe; pays for the cnn on a GPU or a processor with "
        "AVX512_BF16 (default: float32)",
    )
    group.add_argument(
        "--early-stopping",
        type=positive_int,
        metavar="N",
        help="end after N epochs without a lower valid_loss (default: go through all epochs)",
    )
    group.add_argument(
        "--best",
        action="store_true",
        help="leave the weights of the epoch with the lowest valid_loss (default: of the last)",
    )
    group.add_argument(
        "--csv", type=path, metavar="FILE", help="write the table there after each epoch"
    )
    group.add_argument(
        "--tensorboard",
        type=path,
        metavar="FOLDER",
        help="write events there, of each batch and epoch, which TensorBoard shows",
    )


def default_of(field: str) -> str:
    """A field's values in the recipes, for the end of an option's help."""
    names: dict[str, list[str]] = {}
    for name, recipe in RECIPES.items():
        value = getattr(recipe, field)
        names.setdefault(value if isinstance(value, str) else f"{value:g}", []).append(name)
    if len(names) == 1:
        return f"(default: {next(iter(names))})"
    texts = (f"{value} for {' and '.join(models)}" for value, models in names.items())
    return f"(default: {', '.join(texts)})"


def chosen_model(args: argparse.Namespace, preprocessing: str = "mnist") -> str:
    """The model's name.

    Without `--model` it is the chapter's for the chapter's images, `cnn_histogram` for whole
    pictures of `--data`, and the cnn for characters.

    Args:
        args: of the command.
        preprocessing: of the images; before they are read, what they may turn out to have.
    """
    if args.model is not None:
        return str(args.model)
    if args.data is None:
        return "linear" if args.dataset == SAMPLE else "cnn"
    return "cnn" if preprocessing == "mnist" else "cnn_histogram"


def chosen_recipe(args: argparse.Namespace) -> Recipe:
    """The recipe of the chosen model with what the arguments change.

    Images of one's own are shuffled unless told otherwise: folders give one class after the other.
    """
    recipe = recipe_of(chosen_model(args))
    if args.data is not None:
        recipe = replace(recipe, shuffle=True)
    return adjusted(recipe, _given(args))


def suited_recipe(args: argparse.Namespace, images: int) -> Recipe:
    """The chosen recipe for so many training images: those of a folder may be few.

    A custom model keeps the size of its batches: a last one of one image may be too small for it.
    """
    recipe = chosen_recipe(args)
    if args.data is None:
        return recipe
    given = _given(args)
    if args.model not in RECIPES:
        given["batch_size"] = recipe.batch_size
    return with_enough_steps(recipe, images, given)


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """What the user gave of a recipe, by its fields; None stands for nothing."""
    return {field.name: getattr(args, field.name) for field in fields(Recipe)}


def chosen_loss(recipe: Recipe) -> Callable[["Tensor", "Tensor"], "Tensor"]:
    """The recipe's loss."""
    from mnist_sgd.training.losses import cross_entropy, mnist_loss

    return {"mnist": mnist_loss, "cross-entropy": cross_entropy}[recipe.loss]


def chosen_optimizer(recipe: Recipe) -> Callable[..., Any]:
    """What makes the recipe's optimizer of parameters and a learning rate."""
    from mnist_sgd.training.optimizers import SGD, adamw

    make: Callable[..., Any] = {"sgd": SGD, "adam": adamw}[recipe.optimizer]
    return partial(make, mom=recipe.momentum, wd=recipe.weight_decay)


def watchers(args: argparse.Namespace) -> list["Callback"]:
    """The callbacks of the arguments, in an order in which each sees what it needs."""
    from mnist_sgd import CSVLogger, EarlyStopping, SaveBest, TensorBoard

    cbs: list[Callback] = []
    if args.csv:
        cbs.append(CSVLogger(args.csv, keep_going=True))
    if args.tensorboard:
        cbs.append(TensorBoard(args.tensorboard, keep_going=True))
    if args.early_stopping:
        cbs.append(EarlyStopping(args.early_stopping))
    if args.best:
        cbs.append(SaveBest())
    return cbs


def _learning_rate(text: str) -> float | Literal["find"]:
    """A learning rate, or the word for looking for one."""
    if text == "find":
        return "find"
    try:
        rate = positive_float(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, which is not 'find' either") from None
    if not 1e-38 <= rate <= 1e38:  # what float32 can hold, which weights are in
        raise argparse.ArgumentTypeError(f"must be a number from 1e-38 to 1e38, got {text!r}")
    return rate


def _from_zero(text: str, below: float = float("inf")) -> float:
    """An argument that is a number from 0 on."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < below:
        limit = f" and below {below:g}" if below < float("inf") else ""
        raise argparse.ArgumentTypeError(f"must be a number from 0 on{limit}, got {text!r}")
    return value
