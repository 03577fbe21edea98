"""Run one subcommand and report its errors."""

import shlex
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mnist_sgd.cli.parser import parser
from mnist_sgd.cli.terminal import OutputClosedError, one_line, quiet_libraries, usable_streams
from mnist_sgd_serve.process.interruption import was_interrupted


def run(argv: Sequence[str]) -> int:
    """Run the subcommand that the arguments name; with none, print the help.

    Returns:
        The exit code.

    Raises:
        SystemExit: as `mnist_sgd.cli.main`.
    """
    with usable_streams():
        return _run(argv)


def _run(argv: Sequence[str]) -> int:
    debug = False
    try:
        with _output_written(), quiet_libraries():
            whole = parser(argv[0] if argv else None)
            if not argv:
                whole.print_help()
                return 0
            args = whole.parse_args(argv)
            debug = vars(args).pop("debug", False)
            args.typed = shlex.join(argv)
            code: int = args.run(args)
    except OutputClosedError:  # the reader has seen enough
        return 1
    except KeyboardInterrupt:
        return _interrupted()
    except (ValueError, OSError, ImportError) as error:
        if isinstance(error, ImportError) and was_interrupted(error):
            return _interrupted()
        _report(error, debug)
        return 2
    except RuntimeError as error:
        _report(error, debug)
        return 1
    return code


def _interrupted() -> int:
    print("mnist-sgd: interrupted", file=sys.stderr)
    return 130


@contextmanager
def _output_written() -> Iterator[None]:
    """Flush standard output at the end, also after the help or the version.

    Raises:
        OSError: it cannot be written.
    """
    try:
        yield
    except SystemExit:
        sys.stdout.flush()
        raise
    sys.stdout.flush()


def _report(error: Exception, debug: bool) -> None:
    """Print an error as one line, with --debug below its traceback."""
    if debug:
        traceback.print_exception(error)
    text = one_line(error) or type(error).__name__
    if isinstance(error, UnicodeEncodeError):  # it does not say what was written
        text = f"a name cannot be written in {error.encoding}: {one_line(error.object)}"
    if isinstance(error, ModuleNotFoundError) and error.name == "torch":
        text = (
            "this command needs torch, which is not installed; pip install . without "
            "MNIST_SGD_WITHOUT_EXTENSION installs it"
        )
    # This package's errors are subclasses, whose messages say what to do.
    hint = "; --debug shows where" if type(error) is RuntimeError and not debug else ""
    print(f"mnist-sgd: {text}{hint}", file=sys.stderr)
