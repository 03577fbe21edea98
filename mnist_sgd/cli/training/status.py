"""A line on the terminal that says what the command is doing while nothing else is printed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mnist_sgd.training.torchrun import is_first_process

__all__ = ["status"]


@contextmanager
def status(text: str) -> Iterator[None]:
    """Show a line on standard error while the block runs, and erase it at the end.

    Nothing is shown where standard error is no terminal, or by any rank but the first.
    """
    if not is_first_process() or not _on_terminal():
        yield
        return
    print(f"\r{text} ...\033[K", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def _on_terminal() -> bool:
    """Whether standard error is there and is a terminal."""
    isatty = getattr(sys.stderr, "isatty", None)
    return isatty is not None and bool(isatty())
