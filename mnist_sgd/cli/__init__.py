"""The command `mnist-sgd`: a module for each subcommand, with `add_parser` and `run`.

A subcommand imports what it needs when it runs, so that `predict` never waits for torch. Exit
codes: 0, success; 1, the work itself failed (an export that does not answer as the model does); 2,
an argument, a file or an image is not usable, and one line on standard error says why; 130,
interrupted.

This module imports next to nothing at its top: until `main` runs, Ctrl-C ends in a traceback.
"""

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: the arguments after the program's name; None takes the process's.

    Returns:
        The exit code.

    Raises:
        SystemExit: the arguments cannot be parsed, with code 2; or they ask for the help or the
            version, with code 0.
    """
    try:
        from mnist_sgd.cli.command import run

        return run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        with suppress(OSError, ValueError, AttributeError):  # standard error may be closed or None
            sys.stderr.write("mnist-sgd: interrupted\n")
        return 130


def _parser() -> "argparse.ArgumentParser":
    from mnist_sgd.cli.parser import parser

    return parser()
