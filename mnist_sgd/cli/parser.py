"""The parser of the command line; it imports only the modules of the subcommands it needs."""

import argparse
import sys
from importlib import import_module
from typing import Any, Never

from mnist_sgd.cli.options.arguments import add_debug_option
from mnist_sgd.cli.options.class_names import protected
from mnist_sgd_serve.process.arguments import ArgumentParser

COMMANDS = (
    *("train", "compare", "export", "evaluate", "predict", "pack"),
    *("serve", "workbench", "inspect", "summary", "benchmark"),
)

DESCRIPTION = (
    "Train a two-class classifier of small grey images, export it as one ONNX file, use it."
)
EPILOG = """\
the main job, with the threes and sevens that come with the package:
  mnist-sgd train                       the chapter's ten epochs; writes model.onnx
  mnist-sgd predict three.png seven.jpg
  mnist-sgd evaluate                    accuracy and mistakes on the validation images
  mnist-sgd serve                       serve the model over HTTP, with a page to draw on
  mnist-sgd COMMAND --help              the options of a command, with examples
  mnist-sgd COMMAND --debug             show the traceback of an error

exit codes: 0 done, 1 the work failed, 2 an argument, file or image is not usable, 130 interrupted
"""


class _Parser(ArgumentParser):
    """A parser that takes class names that begin like options; subcommands use it too.

    A help that cannot be written is an error, which argparse's own method would ignore.
    """

    program = "mnist-sgd"

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        options = self._option_string_actions
        given = sys.argv[1:] if args is None else args
        return super().parse_known_args(
            protected(given, options) if "--positive" in options else given, namespace
        )

    def print_help(self, file: Any = None) -> None:
        (sys.stdout if file is None else file).write(self.format_help())


class _Version(argparse.Action):
    """Print the version, which is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *others: Any) -> Never:
        from importlib.metadata import version

        print(f"mnist-sgd {version('mnist-sgd')}")
        parser.exit()


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser of one subcommand, or of all if none has this name; each sets `run`."""
    whole = _Parser(prog="mnist-sgd", description=DESCRIPTION, epilog=EPILOG)
    whole.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    add_debug_option(whole)
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in (command,) if command in COMMANDS else COMMANDS:
        import_module(f"mnist_sgd.cli.{name}").add_parser(commands)
    return whole
