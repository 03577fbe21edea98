"""Standard output and standard error, which a command can write to whatever they are.

Either may be closed, missing, of an encoding that lacks a letter, or no file at all: a program that
is started by cron, a notebook or `2>&-` still does its work. And whatever a file is named, its name
gives the terminal no orders.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TextIO, cast

from mnist_sgd._names import printable
from mnist_sgd.training.torchrun import is_first_process

__all__ = ["OutputClosedError", "one_line", "quiet_libraries", "say", "usable_streams"]


class OutputClosedError(BrokenPipeError):
    """Whoever read standard output has stopped."""


def one_line(text: object) -> str:
    """A message on one line, with each run of white space as one space."""
    return printable(" ".join(str(text).split()))


def say(text: str) -> None:
    """Print a line on standard error, in the first of the processes that torchrun starts."""
    if is_first_process():
        print("mnist-sgd:", one_line(text), file=sys.stderr, flush=True)


@contextmanager
def usable_streams() -> Iterator[None]:
    """Let `sys.stdout` and `sys.stderr` take any text, for as long as the block lasts.

    What the stream's encoding lacks is written as an escape. What is written to a stream that is
    not there is dropped, and so is a message on standard error that nobody can be told.
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
    """Keep what Matplotlib logs from standard error, as of fonts and of the folder of its cache.

    It makes its pictures all the same.
    """
    import logging

    logger = logging.getLogger("matplotlib")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _open_closed_descriptors() -> None:
    """Open those of the three that are closed, so that no file of ours is taken for one of them."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, descriptor)  # which lets child processes have it, unlike `open`
            if nowhere != descriptor:
                os.close(nowhere)


def _present(stream: TextIO | None, opened: ExitStack) -> TextIO:
    """The stream, or one that drops everything."""
    if stream is None or getattr(stream, "closed", False):
        return opened.enter_context(open(os.devnull, "w", encoding="utf-8"))
    return stream


class _Stream:
    """A stream in front of another.

    Args:
        target: has at least `write`.
        name: for the errors that the target raises; None if they shall not be raised.
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
        """Raise the error if it matters; what is left in the buffer must not be written again.

        Python's exit would try to, and end with code 120.
        """
        with suppress(OSError, ValueError, AttributeError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), self._target.fileno())
        if self._name is None or not isinstance(error, OSError):
            return
        if isinstance(error, BrokenPipeError):
            raise OutputClosedError(error.errno, error.strerror) from error
        raise OSError(error.errno, error.strerror, self._name) from error
