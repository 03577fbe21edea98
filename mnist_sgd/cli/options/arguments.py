"""What several subcommands share: parsers that teach, and argument types."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from mnist_sgd.cli.training.recipes import OWN, RECIPES

__all__ = [
    "Subcommands",
    "add_debug_argument",
    "add_json_argument",
    "add_model_argument",
    "path",
    "positive_float",
    "positive_int",
    "share",
    "subcommand",
]

Subcommands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def subcommand(
    commands: Subcommands,
    name: str,
    summary: str,
    examples: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    """Add a subcommand whose help ends in examples."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="examples:\n" + examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    add_debug_argument(parser)
    return parser


def add_debug_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--debug`, which leaves no trace among the arguments where it is not given."""
    parser.add_argument(
        "--debug",
        action="store_true",
        default=argparse.SUPPRESS,
        help="show the traceback of an error, for instance of one in your own model",
    )


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON, for other programs")


def add_model_argument(
    parser: argparse.ArgumentParser, default: str | None, shown: str = "%(default)s"
) -> None:
    """Add the choice of a model that has a name, or of one's own."""
    parser.add_argument(
        "--model",
        type=_model,
        default=default,
        metavar="NAME",
        help=f"{', '.join(name for name in RECIPES if name != OWN)}, or {OWN}: a function of yours "
        "without arguments that gives a torch.nn.Module for [B, 784] to [B, 1]; its module may be "
        f"in this folder (default: {shown})",
    )


def _model(text: str) -> str:
    """The name of a model."""
    if text not in RECIPES and ":" not in text:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(RECIPES)}, got {text!r}")
    return text


def path(text: str) -> Path:
    """An argument that is a path; an empty one, as of a variable that is not set, is refused."""
    if not text:
        raise argparse.ArgumentTypeError("must name a file or a folder, got ''")
    return Path(text)


def positive_int(text: str) -> int:
    """An argument that is a whole number above 0."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, got {text!r}")
    return value


def positive_float(text: str) -> float:
    """An argument that is a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return value


def share(text: str) -> float:
    """An argument that is a number in [0, 1]."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, got {text!r}")
    return value
