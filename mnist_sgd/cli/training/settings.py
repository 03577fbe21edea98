"""Settings of a training that contradict each other, or that could never have an effect."""

import argparse
from pathlib import Path

from mnist_sgd.cli.training.places import own_files
from mnist_sgd.cli.training.recipes import Recipe

__all__ = ["check_early_stopping", "check_settings"]


def check_settings(args: argparse.Namespace, recipe: Recipe) -> None:
    """Refuse what the user cannot have meant.

    Args:
        args: of the command, with the folder for its files as `out`.
        recipe: what the arguments came to.

    Raises:
        ValueError: two settings do not go together; the message says which.
    """
    if args.data is None or args.epochs is not None:  # else the pictures decide on the epochs
        check_early_stopping(args, recipe)
    _check_weight_decay(recipe)
    _check_logs(args)


def check_early_stopping(args: argparse.Namespace, recipe: Recipe) -> None:
    """Refuse to wait for more epochs than there are.

    Raises:
        ValueError: the training would never end early.
    """
    if args.early_stopping is not None and args.early_stopping >= recipe.epochs:
        raise ValueError(
            f"--early-stopping {args.early_stopping} needs more epochs than the training has "
            f"({recipe.epochs}); give fewer, or more --epochs"
        )


def _check_weight_decay(recipe: Recipe) -> None:
    if recipe.lr != "find" and recipe.lr * recipe.weight_decay >= 1:
        raise ValueError(
            f"--weight-decay {recipe.weight_decay:g} with a learning rate of {recipe.lr:g} would "
            f"multiply weights by {1 - recipe.lr * recipe.weight_decay:g} in each step; it must be "
            f"below {1 / recipe.lr:g} here"
        )


def _check_logs(args: argparse.Namespace) -> None:
    """A log must not take the name of a file that the training writes as well."""
    if args.csv is None:
        return
    if _absolute(args.csv) in map(_absolute, own_files(args)):
        raise ValueError(
            f"--csv {args.csv} is a file that the training itself writes; choose another"
        )


def _absolute(path: Path) -> Path:
    """A path in the form in which two of the same file are equal; the file need not be there."""
    return path.parent.resolve() / path.name
