"""Standard output and standard error that a command can always write to.

Either may be closed, missing, of an encoding that lacks a letter, or not a file at all: a program
started by cron, a notebook or with `2>&-` still does its work. Control characters in a file's name
never reach the terminal.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TextIO, cast

from mnist_sgd._names import printable
from mnist_sgd.training.torchrun import is_first_process


class OutputClosedError(BrokenPipeError):
    """The reader of standard output has closed it."""


def one_line(text: object) -> str:
    """A message on one line; runs of white space become one space."""
    return printable(" ".join(str(text).split()))


def say(text: str) -> None:
    """Print a line on standard error, in the first of torchrun's processes only."""
    if is_first_process():
        print("mnist-sgd:", one_line(text), file=sys.stderr, flush=True)


@contextmanager
def usable_streams() -> Iterator[None]:
    """Let `sys.stdout` and `sys.stderr` take any text while the block runs.

    Characters that the encoding lacks are escaped. Text for a missing stream is dropped, and so is
    text that standard error cannot take.
    """
    _open_closed_descriptors()
    before = sys.stdout, sys.stderr
    with ExitStack() as opened:
        sys.stdout = cast(TextIO, _Stream(_present(before[0], opened), "standard output"))
        sys.stderr = cast(TextIO, _Stream(_present(before[1], opened), None))
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep Matplotlib's warnings, of missing fonts or an unwritable cache, off standard error."""
    import logging

    logger = logging.getLogger("matplotlib")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _open_closed_descriptors() -> None:
    """Open closed descriptors from 0 to 2, so that no file of ours becomes a standard stream."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, descriptor)  # inherited by child processes, unlike what `open` returns
            if nowhere != descriptor:
                os.close(nowhere)


def _present(stream: TextIO | None, opened: ExitStack) -> TextIO:
    """The stream, or one that drops everything if it is missing."""
    if stream is None or getattr(stream, "closed", False):
        return opened.enter_context(open(os.devnull, "w", encoding="utf-8"))
    return stream


class _Stream:
    """A wrapper of a stream that takes any text.

    Args:
        target: has at least `write`.
        name: the stream's name in errors; None to suppress errors.
    """

    def __init__(self, target: TextIO, name: str | None) -> None:
        self._target = target
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._target, attribute)

    def write(self, text: str) -> int:
        try:
            try:
                self._target.write(text)
            except UnicodeEncodeError as error:
                encoding = getattr(self._target, "encoding", None) or error.encoding
                self._target.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except (OSError, ValueError) as error:  # ValueError: it was closed in the meantime
            self._failed(error)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            getattr(self._target, "flush", lambda: None)()
        except (OSError, ValueError) as error:
            self._failed(error)

    def isatty(self) -> bool:
        with suppress(ValueError):
            return bool(getattr(self._target, "isatty", lambda: False)())
        return False

    def _failed(self, error: OSError | ValueError) -> None:
        """Raise the error if it matters, and discard the buffer.

        Python's exit would write it again, fail, and end with code 120.
        """
        with suppress(OSError, ValueError, AttributeError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), self._target.fileno())
        if self._name is None or not isinstance(error, OSError):
            return
        if isinstance(error, BrokenPipeError):
            raise OutputClosedError(error.errno, error.strerror) from error
        raise OSError(error.errno, error.strerror, self._name) from error
