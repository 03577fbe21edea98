"""`mnist-sgd serve`: answer over HTTP from an artefact, without torch."""

from mnist_sgd.cli.arguments import Subcommands, subcommand
from mnist_sgd_serve.command import EXAMPLES, add_arguments, run

__all__ = ["add_parser", "run"]


def add_parser(commands: Subcommands) -> None:
    """Add the subcommand, whose arguments are those of `python -m mnist_sgd_serve`."""
    summary = "answer over HTTP: the Open Inference Protocol v2, image files, a page to draw on"
    examples = EXAMPLES.replace("{program}", "mnist-sgd serve")
    add_arguments(subcommand(commands, "serve", summary, examples, run))
