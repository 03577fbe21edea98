"""`mnist-sgd summary`: print the layers of a model, their output shapes and parameters."""

import argparse
import json
from dataclasses import asdict

from mnist_sgd.cli.options.arguments import Subcommands, add_json_option, subcommand
from mnist_sgd.cli.options.models import ARCHITECTURES, architecture

EXAMPLES = """\
  mnist-sgd summary --model cnn
  mnist-sgd summary --model nets:small              small() of nets.py in this folder
"""


def add_parser(commands: Subcommands) -> None:
    """Add the subcommand."""
    summary = "show a model's layers, their output shapes and parameters"
    parser = subcommand(commands, "summary", summary, EXAMPLES, run)
    parser.add_argument_group("model").add_argument(
        "--model",
        type=architecture,
        default="linear",
        metavar="NAME",
        help=f"{ARCHITECTURES} (default: %(default)s)",
    )
    add_json_option(parser.add_argument_group("output"))


def run(args: argparse.Namespace) -> int:
    """Make the model and print its table."""
    from mnist_sgd.models.builtin import create_model
    from mnist_sgd.models.summary import layers, summary

    model = create_model(args.model, seed=0)
    print(json.dumps([asdict(layer) for layer in layers(model)]) if args.json else summary(model))
    return 0
