"""The command `mnist-sgd`: one module a subcommand, each with `add_parser` and `run`.

A subcommand imports what it needs when it runs, so that `predict` never waits for torch. Exit
codes: 0, it did what was asked; 1, the work itself failed (an export that does not answer as the
model does); 2, an argument, a file or an image is not usable, which one line on standard error
says.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Never

from mnist_sgd.cli import (
    benchmark,
    compare,
    evaluate,
    export,
    inspect,
    pack,
    predict,
    serve,
    summary,
    train,
)

__all__ = ["main"]

DESCRIPTION = (
    "Train a two-class classifier of small grey images, export it as one ONNX file, use it."
)
EPILOG = """\
the main job, with the threes and sevens that come with the package:
  mnist-sgd train                       the chapter's ten epochs; leaves model.onnx
  mnist-sgd predict three.png seven.jpg
  mnist-sgd evaluate                    accuracy and mistakes on the validation images
  mnist-sgd serve                       answer over HTTP, with a page to draw on
  mnist-sgd COMMAND --help              what a command can do, with examples

exit codes: 0 done, 1 the work failed, 2 an argument, file or image is not usable
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: the arguments after the program's name; None takes the process's.

    Returns:
        The exit code.
    """
    args = _parser().parse_args(argv)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough; keep Python's exit from flushing again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("mnist-sgd: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError) as error:
        print(f"mnist-sgd: {_one_line(error)}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"mnist-sgd: {_one_line(error)}", file=sys.stderr)
        return 1
    return code


class _Parser(argparse.ArgumentParser):
    """A parser, and those of its subcommands, whose error is one line."""

    def error(self, message: str) -> Never:
        self.exit(2, f"mnist-sgd: {message}; {self.prog} --help shows what is allowed\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="mnist-sgd",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    modules = (
        *(train, compare, export, evaluate, predict, pack),
        *(serve, inspect, summary, benchmark),
    )
    for module in modules:
        module.add_parser(commands)
    return parser


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
