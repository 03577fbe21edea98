"""What a training says before it begins: the pictures it found, and what it makes of them."""

import argparse
from typing import TYPE_CHECKING

from mnist_sgd.cli.options.class_names import option_with
from mnist_sgd.cli.options.datasets import SAMPLE
from mnist_sgd.cli.options.pictures import say
from mnist_sgd.cli.options.preprocessing import OTHERWISE, preprocessed_text
from mnist_sgd.cli.training.recipes import Recipe

if TYPE_CHECKING:
    from mnist_sgd.data import ImageSet, LoadedData

__all__ = ["announce"]


def announce(args: argparse.Namespace, recipe: Recipe, data: "LoadedData") -> None:
    """Say it on standard error, unless a program reads, or the images are the bundled ones."""
    if not args.json and (args.data is not None or args.dataset != SAMPLE):
        say(_data(args, data))
        say(_plan(args, recipe, data))


def _data(args: argparse.Namespace, data: "LoadedData") -> str:
    import numpy as np  # here: every command imports this module

    train, valid = data.train, data.valid
    positive = sum(int(np.count_nonzero(each.labels)) for each in (train, valid))
    every = len(train) + len(valid)
    counts = zip(train.classes, (every - positive, positive), strict=True)
    each_class = ", ".join(f"{count:,} {name}" for name, count in counts)
    where = args.dataset if args.data is None else args.data
    count = train.refused + valid.refused
    refused = f"; {count:,} more {'was' if count == 1 else 'were'} refused" if count else ""
    return (
        f"{where}: {every:,} {_kind(train)}, {each_class}; {len(train):,} to train, "
        f"{len(valid):,} to validate{refused}."
    )


def _plan(args: argparse.Namespace, recipe: Recipe, data: "LoadedData") -> str:
    epochs = f"{recipe.epochs:,} epoch{'' if recipe.epochs == 1 else 's'}"
    other, positive = data.train.classes
    chosen = args.positive or args.classes
    swap = "" if chosen else f" ({option_with('--positive', other)} for the other)"
    return (
        f"Model: {args.model}, {epochs}; it gives the probability of {positive}{swap}. "
        f"{_preprocessed(args, data)}."
    )


def _preprocessed(args: argparse.Namespace, data: "LoadedData") -> str:
    text = preprocessed_text(data.train.preprocessing, data.choice)
    if data.train.files:
        return f"Pictures {text}"
    other = "" if args.preprocess else f"; {OTHERWISE[data.train.preprocessing]}"
    return f"These images are used as they are; pictures to predict are {text}{other}"


def _kind(images: "ImageSet") -> str:
    return "pictures" if images.files else "images"
