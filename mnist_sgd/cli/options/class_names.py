"""Names of classes on the command line: names of folders, so any text.

argparse takes a word that begins with "-" for an option. After `--positive` and `--classes` it is a
name, unless the command has such an option: `--positive -a`, `--classes -a -b`.
"""

import argparse
import shlex
from collections.abc import Iterable, Sequence

_NAMES = {"--positive": 1, "--classes": 2}
"""How many names follow each option."""

_MARK = "\0"
"""Stands before a name that argparse would take for an option; no argument can hold it."""


def protected(arguments: Sequence[str], options: Iterable[str]) -> list[str]:
    """Mark the class names among a command's arguments that argparse would take for options.

    Args:
        arguments: as they were given.
        options: the command's options; a prefix of one is not taken for a name.
    """
    known, marked = tuple(options), list(arguments)
    for place, argument in enumerate(arguments):
        end = place + 1 + _NAMES.get(argument, 0)
        for i in range(place + 1, min(end, len(marked))):
            if marked[i].startswith("-") and not any(each.startswith(marked[i]) for each in known):
                marked[i] = _MARK + marked[i]
    return marked


def class_name(text: str) -> str:
    """The name of a class, without the mark; an empty one is refused."""
    if not text:
        raise argparse.ArgumentTypeError("must be the name of a class, got ''")
    return text.removeprefix(_MARK)


def option_with(option: str, name: str) -> str:
    """An option with the name of a class, quoted for a shell."""
    quoted = shlex.quote(name)
    plain = quoted == name and not name.startswith("-")
    return f"{option} {name}" if plain else f"{option}={quoted}"
