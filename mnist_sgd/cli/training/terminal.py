"""What a training shows: its table on standard output, and a status line on a terminal."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mnist_sgd.training.callbacks.bar import is_terminal
from mnist_sgd.training.torchrun import is_first_process


class Table:
    """Prints lines on standard output until that fails, which does not end the training.

    Attributes:
        error: why a line could not be printed; None if all were.
    """

    def __init__(self) -> None:
        self.error: OSError | ValueError | None = None

    def __call__(self, line: str) -> None:
        """Print a line at once."""
        if self.error is not None:
            return
        try:
            print(line, flush=True)
        except (OSError, ValueError) as error:  # ValueError: it was closed by this process
            self.error = error
            _discard_output()

    @property
    def exit_code(self) -> int:
        """0, also if the reader has left; 1 if lines are lost that somebody still wants."""
        return 0 if self.error is None or isinstance(self.error, BrokenPipeError) else 1


def _discard_output() -> None:
    """Discard what is left in the stream's buffer, or Python's exit would fail on it."""
    with suppress(OSError, ValueError, AttributeError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


@contextmanager
def status(text: str) -> Iterator[None]:
    """Show a line on a terminal's standard error while the block runs; the first rank does."""
    if not is_first_process() or not is_terminal(sys.stderr):
        yield
        return
    print(f"\r{text} ...\033[K", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
