"""The command `mnist-sgd`: one module a subcommand, each with `add_parser` and `run`.

A subcommand imports what it needs when it runs, so that `predict` never waits for torch. Exit
codes: 0, it did what was asked; 1, the work itself failed (an export that does not answer as the
model does); 2, an argument, a file or an image is not usable, which one line on standard error
says.
"""

import argparse
import re
import sys
import traceback
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Never

from mnist_sgd._names import printable
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
from mnist_sgd.cli.arguments import add_debug_argument
from mnist_sgd.cli.class_names import protected
from mnist_sgd.cli.terminal import OutputClosedError, one_line, usable_streams

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
  mnist-sgd COMMAND --debug             show the traceback of an error

exit codes: 0 done, 1 the work failed, 2 an argument, file or image is not usable
"""


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
    with usable_streams():
        return _run(sys.argv[1:] if argv is None else argv)


def _run(argv: Sequence[str]) -> int:
    parser = _parser()
    if not argv:
        parser.print_help(sys.stderr)  # the error that follows says what is missing
    args = parser.parse_args(argv)
    debug = vars(args).pop("debug", False)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except OutputClosedError:  # the reader has seen enough
        return 1
    except KeyboardInterrupt:
        print("mnist-sgd: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError) as error:
        _say_what_failed(error, debug)
        return 2
    except RuntimeError as error:
        _say_what_failed(error, debug)
        return 1
    return code


def _say_what_failed(error: Exception, debug: bool) -> None:
    """Print an error as one line, below its traceback if that is wanted."""
    if debug:
        traceback.print_exception(error)
    text = one_line(error) or type(error).__name__
    if isinstance(error, UnicodeEncodeError):  # it has lost sight of what was to be written
        text = f"a name cannot be written in {error.encoding}: {one_line(error.object)}"
    # Those of this package have classes of their own, and say what to do.
    hint = "; --debug shows where" if type(error) is RuntimeError and not debug else ""
    print(f"mnist-sgd: {text}{hint}", file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    """A parser, and those of its subcommands, whose error is one line."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        options = self._option_string_actions
        given = sys.argv[1:] if args is None else args
        return super().parse_known_args(
            protected(given, options) if "--positive" in options else given, namespace
        )

    def error(self, message: str) -> Never:
        text = printable(_with_suggestion(message))
        self.exit(2, f"mnist-sgd: {text}; {self.prog} --help shows what is allowed\n")


def _with_suggestion(message: str) -> str:
    """An error of argparse; of a misspelt choice it names the one that was probably meant."""
    found = re.fullmatch(r"(.*invalid choice: '(.*)') (\(choose from (.*)\))", message, re.DOTALL)
    if found is None:
        return message
    start, given, allowed, names = found.groups()
    choices = {name.casefold(): name for name in re.findall(r"[^\s',]+", names)}
    near = get_close_matches(given.casefold(), choices, n=1)
    return f"{start}, did you mean {choices[near[0]]}? {allowed}" if near else message


class _Version(argparse.Action):
    """Prints the version; it is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *others: Any) -> Never:
        from importlib.metadata import version

        print(f"mnist-sgd {version('mnist-sgd')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="mnist-sgd",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    add_debug_argument(parser)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    modules = (
        *(train, compare, export, evaluate, predict, pack),
        *(serve, inspect, summary, benchmark),
    )
    for module in modules:
        module.add_parser(commands)
    return parser
