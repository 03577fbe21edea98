"""`mnist-sgd serve`: serve a model over HTTP, without torch."""

import argparse
import signal

from mnist_sgd.cli.options.arguments import Subcommands, subcommand
from mnist_sgd.cli.options.models import model_file
from mnist_sgd_serve.command import EXAMPLES, USAGE, add_arguments, run as serve


def add_parser(commands: Subcommands) -> None:
    """Add the subcommand, whose arguments are those of `python -m mnist_sgd_serve`."""
    summary = "serve a model over HTTP: Open Inference Protocol v2, image files, a page to draw on"
    examples = EXAMPLES.replace("{program}", "mnist-sgd serve")
    add_arguments(subcommand(commands, "serve", summary, examples, run, USAGE))


def run(args: argparse.Namespace) -> int:
    """Serve a model, named by its file or the folder of its run.

    Returns:
        What `mnist_sgd_serve.command.run` returns.
    """
    if hasattr(signal, "pthread_sigmask"):  # else serving fails for any model
        args.model = model_file(args.model, "mnist-sgd serve {}")
    return serve(args)
