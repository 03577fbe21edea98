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


def add_json_option(container: argparse._ActionsContainer) -> None:
    """Add `--json` to a parser, or to one of its groups."""
    container.add_argument("--json", action="store_true", help=JSON_HELP)


JSON_HELP = "print JSON, for scripts"


LARGEST = 2**63 - 1
"""The largest number of images, batches or processes that an option takes."""


def path(text: str) -> Path:
    """A path; an empty one, as from an unset shell variable, is refused."""
    if not text:
        raise argparse.ArgumentTypeError("must name a file or a folder, got ''")
    return Path(text)


def whole_number(text: str, least: int = 1, most: int = LARGEST) -> int:
    """A whole number in [least, most]."""
    value = _parsed(int, text)
    if value is None or not least <= value <= most:
        has_limit = most != LARGEST or (value is not None and value > most)
        allowed = f"from {least} to {most}" if has_limit else f"above {least - 1}"
        raise argparse.ArgumentTypeError(f"must be a whole number {allowed}, got {text!r}")
    return value


def fraction(text: str) -> float:
    """A number in [0, 1]."""
    value = _parsed(float, text)
    if value is None or not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, got {text!r}")
    return value


def positive_fraction(text: str) -> float:
    """A number in (0, 1]."""
    value = _parsed(float, text)
    if value is None or not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number above 0 and at most 1, got {text!r}")
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
