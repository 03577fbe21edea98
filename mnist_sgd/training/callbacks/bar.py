"""A progress bar on standard error, for training and reading pictures; does not import torch."""

import shutil
import sys
import time

BAR_INTERVAL = 0.1
"""Seconds between updates of a bar."""


def is_terminal(stream: object) -> bool:
    """Whether a stream is an open terminal; sys.stderr may be None, closed or without isatty."""
    try:
        return bool(stream.isatty())  # type: ignore[attr-defined]
    except (AttributeError, ValueError, OSError):
        return False


class Bar:
    """A bar that is drawn over itself, in one line of standard error.

    Args:
        shown: whether it is drawn at all.
        drawn: when it was last drawn, by `time.monotonic`.
    """

    def __init__(self, shown: bool, drawn: float = float("-inf")) -> None:
        self.shown = shown
        self.drawn = drawn

    def is_due(self) -> bool:
        """Whether it is time to draw; a bar that is not shown never is due."""
        return self.shown and time.monotonic() - self.drawn >= BAR_INTERVAL

    def draw(self, head: str, done: int, total: int, tail: str) -> None:
        """Draw `done` of `total`, between two texts; an unknown total is 0."""
        self.drawn = time.monotonic()
        width = max(10, min(40, shutil.get_terminal_size().columns - len(head) - len(tail) - 3))
        filled = width * done // total if total else 0
        bar = _block() * filled + "-" * (width - filled)
        print(f"\r{head}|{bar}|{tail}", end="", file=sys.stderr, flush=True)

    def erase(self) -> None:
        """Clear the line."""
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _block() -> str:
    """Return what fills the bar: a full block, or # where the terminal cannot show it."""
    try:
        "█".encode(getattr(sys.stderr, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return "#"
    return "█"
