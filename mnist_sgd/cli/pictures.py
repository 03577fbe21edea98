"""What the commands that read folders of pictures share: their options, and what they say."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mnist_sgd.cli.arguments import path, positive_int

if TYPE_CHECKING:
    from mnist_sgd.data import UnusableFile

__all__ = ["add_picture_arguments", "reading", "say"]

PROGRESS_INTERVAL = 0.1
"""Seconds between two drawings of the bar."""


def add_picture_arguments(group: argparse._ActionsContainer) -> None:
    """Add the options of a folder of pictures."""
    group.add_argument(
        "--positive",
        metavar="NAME",
        help="the class whose probability the model gives (default: the last in sorted order)",
    )
    group.add_argument(
        "--prepare",
        choices=("mnist", "fit", "stretch"),
        help="how a picture becomes 28 x 28 pixels: mnist crops and centres one drawn character, "
        "fit shows the whole picture in its proportions, stretch without them (default: mnist)",
    )
    group.add_argument(
        "--cache",
        type=path,
        metavar="DIR",
        help="where prepared pictures are kept (default: .mnist_sgd in their own folder)",
    )
    group.add_argument(
        "--skip-unusable",
        action="store_true",
        help="leave out files that are not usable and name them (default: end with the first)",
    )
    group.add_argument(
        "--workers",
        type=positive_int,
        default=_processors(),
        help="processes that decode pictures (default: the processors, %(default)s here)",
    )


def _processors() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def reading(args: argparse.Namespace, skipped: list[UnusableFile]) -> Iterator[dict[str, Any]]:
    """Give the keyword arguments for `load_data` and `pack_folder`, whose errors become advice.

    Args:
        args: with the options above.
        skipped: files that are left out are added to it, and named on standard error.
    """
    from mnist_sgd.data import CacheError, UnusableFile

    bar = _Bar()

    def skip(error: UnusableFile) -> None:
        skipped.append(error)
        bar.erase()
        say("skipped " + " ".join(str(error).split()))

    def wait() -> None:
        bar.erase()
        say("another process is reading these pictures; waiting for it")

    try:
        yield {
            "positive": args.positive,
            "cache": args.cache,
            "workers": args.workers,
            "on_unusable": skip if args.skip_unusable else None,
            "on_progress": bar.show,
            "on_wait": wait,
        }
    except UnusableFile as error:
        raise ValueError(f"{error}; --skip-unusable leaves such files out") from error
    except CacheError as error:
        raise ValueError(f"{error}; --cache DIR keeps them in another place") from error
    finally:
        bar.erase()


def say(text: str) -> None:
    """Print a line on standard error, in the first of the processes that torchrun starts."""
    if os.environ.get("RANK", "0") == "0":
        print("mnist-sgd:", text, file=sys.stderr, flush=True)


class _Bar:
    """A bar with the number of files that are done, on a terminal; elsewhere nothing."""

    def __init__(self) -> None:
        self.shown = sys.stderr.isatty() and os.environ.get("RANK", "0") == "0"
        self.drawn = 0.0

    def show(self, done: int, total: int) -> None:
        """Draw, if it is time to."""
        if not self.shown or time.monotonic() - self.drawn < PROGRESS_INTERVAL:
            return
        self.drawn = time.monotonic()
        tail = f" {done:,} of {total:,} files"
        width = max(10, min(40, shutil.get_terminal_size().columns - len(tail) - 3))
        filled = width * done // total
        bar = "█" * filled + "-" * (width - filled)
        print(f"\r|{bar}|{tail}\033[K", end="", file=sys.stderr, flush=True)

    def erase(self) -> None:
        """Leave no line behind."""
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
