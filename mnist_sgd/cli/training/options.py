"""How a model is trained: the options that change its recipe."""

import argparse
from dataclasses import fields

from mnist_sgd.cli.arguments import positive_float, positive_int
from mnist_sgd.recipes import RECIPES, Recipe, adjusted

__all__ = ["add_training_arguments", "chosen_recipe"]


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, and an option for each field of its recipe that is not about batches."""
    parser.add_argument(
        "--model", choices=tuple(RECIPES), default="linear", help="(default: %(default)s)"
    )
    parser.add_argument("--epochs", type=positive_int, help=default_of("epochs"))
    parser.add_argument("--lr", type=positive_float, help=f"learning rate {default_of('lr')}")


def default_of(field: str) -> str:
    """A field's values in the recipes, for the end of an option's help."""
    values = {name: getattr(recipe, field) for name, recipe in RECIPES.items()}
    if len(set(values.values())) == 1:
        return f"(default: {next(iter(values.values()))})"
    return f"(default: {', '.join(f'{v:g} for {name}' for name, v in values.items())})"


def chosen_recipe(args: argparse.Namespace) -> Recipe:
    """The model's recipe with what the arguments change."""
    given = {field.name: getattr(args, field.name, None) for field in fields(Recipe)}
    return adjusted(RECIPES[args.model], given)
