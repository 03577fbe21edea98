"""`mnist-sgd summary`: the layers of a model, their outputs and parameters."""

import argparse
import json
from dataclasses import asdict

from mnist_sgd.cli.options.arguments import (
    Subcommands,
    add_json_argument,
    add_model_argument,
    subcommand,
)

__all__ = ["add_parser", "run"]

EXAMPLES = """\
  mnist-sgd summary --model cnn
  mnist-sgd summary --model nets:small              small() of nets.py in this folder
"""


def add_parser(commands: Subcommands) -> None:
    """Add the subcommand."""
    summary = "show a model's layers, the shapes of their outputs, their parameters"
    parser = subcommand(commands, "summary", summary, EXAMPLES, run)
    add_model_argument(parser, "linear")
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Make the model and print its table."""
    from mnist_sgd.models.builtin import create_model
    from mnist_sgd.models.summary import layers, summary

    model = create_model(args.model, seed=0)
    print(json.dumps([asdict(layer) for layer in layers(model)]) if args.json else summary(model))
    return 0
