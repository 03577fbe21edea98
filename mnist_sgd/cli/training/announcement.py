"""What a training says before it begins: the pictures it found, and what it makes of them."""

import argparse
from typing import TYPE_CHECKING

from mnist_sgd.cli.class_names import option_with
from mnist_sgd.cli.datasets import SAMPLE
from mnist_sgd.cli.pictures import say
from mnist_sgd.recipes import Recipe

if TYPE_CHECKING:
    from mnist_sgd.data import ImageSet

__all__ = ["announce"]

PREPARED = {
    "mnist": "prepared as drawn characters (--prepare mnist)",
    "fit": "shown whole, in their proportions (--prepare fit)",
    "stretch": "shown whole, stretched to a square (--prepare stretch)",
}


def announce(
    args: argparse.Namespace, recipe: Recipe, datasets: tuple["ImageSet", "ImageSet"]
) -> None:
    """Say it on standard error, unless a program reads, or the images are the bundled ones."""
    if not args.json and (args.data is not None or args.dataset != SAMPLE):
        say(_data(args, datasets))
        say(_plan(args, recipe, datasets[0]))


def _data(args: argparse.Namespace, datasets: tuple["ImageSet", "ImageSet"]) -> str:
    import numpy as np  # here: every command imports this module

    train, valid = datasets
    positive = sum(int(np.count_nonzero(each.labels)) for each in datasets)
    every = len(train) + len(valid)
    counts = zip(train.classes, (every - positive, positive), strict=True)
    each_class = ", ".join(f"{count:,} {name}" for name, count in counts)
    where = args.dataset if args.data is None else args.data
    return (
        f"{where}: {every:,} {_kind(train)}, {each_class}; {len(train):,} to train, "
        f"{len(valid):,} to validate."
    )


def _plan(args: argparse.Namespace, recipe: Recipe, train: "ImageSet") -> str:
    epochs = f"{recipe.epochs:,} epoch{'' if recipe.epochs == 1 else 's'}"
    other, positive = train.classes
    chosen = args.positive or args.classes
    swap = "" if chosen else f" ({option_with('--positive', other)} for the other)"
    how = PREPARED[train.preparation]
    whole = "; for whole pictures: --prepare fit" if _by_default(args, train) else ""
    return (
        f"Model: {args.model}, {epochs}; it gives the probability of {positive}{swap}. "
        f"Pictures {how}{whole}."
    )


def _by_default(args: argparse.Namespace, train: "ImageSet") -> bool:
    """Whether pictures are taken for drawn characters because nothing else was said."""
    return args.prepare is None and train.preparation == "mnist" and bool(train.files)


def _kind(images: "ImageSet") -> str:
    return "pictures" if images.files else "images"
