"""Subcommands, the options that most of them have, and types of arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias, TypeVar

Number = TypeVar("Number", int, float)

Subcommands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def subcommand(
    commands: Subcommands,
    name: str,
    summary: str,
    examples: str,
    run: Callable[[argparse.Namespace], int],
    usage: str | None = None,
) -> argparse.ArgumentParser:
    """Add a subcommand whose help ends in examples; `usage` replaces the list of all options."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="examples:\n" + examples,
        usage=usage,
    )
    parser.set_defaults(run=run)
    add_debug_option(parser)
    return parser


def add_debug_option(parser: argparse.ArgumentParser) -> None:
    """Add `--debug`; the namespace has no `debug` if it is not given."""
    parser.add_argument(
        "--debug",
        action="store_true",
        default=argparse.SUPPRESS,
        help="show the traceback of an error, for instance of one in a custom model",
    )


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help=JSON_HELP)


JSON_HELP = "print JSON, for scripts"


def path(text: str) -> Path:
    """A path; an empty one, as from an unset shell variable, is refused."""
    if not text:
        raise argparse.ArgumentTypeError("must name a file or a folder, got ''")
    return Path(text)


def positive_int(text: str) -> int:
    """A whole number above 0."""
    value = _parsed(int, text)
    if value is None or value <= 0:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, got {text!r}")
    return value


def positive_float(text: str) -> float:
    """A finite number above 0."""
    value = _parsed(float, text)
    if value is None or not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return value


def fraction(text: str) -> float:
    """A number in [0, 1]."""
    value = _parsed(float, text)
    if value is None or not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, got {text!r}")
    return value


def non_negative_float(text: str, below: float = float("inf")) -> float:
    """A number in [0, below)."""
    value = _parsed(float, text)
    if value is None or not 0 <= value < below:
        limit = f" and below {below:g}" if below < float("inf") else ""
        raise argparse.ArgumentTypeError(f"must be a number of at least 0{limit}, got {text!r}")
    return value


def _parsed(kind: Callable[[str], Number], text: str) -> Number | None:
    try:
        return kind(text)
    except ValueError:
        return None
