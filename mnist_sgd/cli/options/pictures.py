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

from mnist_sgd.cli.options.arguments import path, positive_int
from mnist_sgd.cli.options.class_names import class_name
from mnist_sgd.cli.terminal import say
from mnist_sgd.training.torchrun import is_first_process

if TYPE_CHECKING:
    from mnist_sgd.data import UnusableFile

__all__ = ["MODELS", "add_picture_arguments", "reading", "say"]

MODELS = "the model's"
_OTHERWISE = "--preprocess fit takes whole pictures"
CHOSEN = "mnist if the pictures are drawn characters, else fit"

PROGRESS_INTERVAL = 0.1
"""Seconds between two drawings of the bar."""


def add_picture_arguments(group: argparse._ActionsContainer, *, trained: bool = False) -> None:
    """Add the options of a folder of pictures.

    Args:
        group: of a parser.
        trained: the command is about a model that is there, which has a kind of preprocessing and a
            positive class.
    """
    group.add_argument(
        "--positive",
        type=class_name,
        metavar="NAME",
        help="the class whose probability the model gives "
        f"(default: {MODELS if trained else 'the last in sorted order'})",
    )
    group.add_argument(
        "--preprocess",
        choices=("mnist", "fit", "stretch"),
        help="how a picture becomes 28 x 28 pixels: mnist crops and centres one drawn character, "
        "fit shows the whole picture in its proportions, stretch without them "
        f"(default: {MODELS if trained else CHOSEN})",
    )
    group.add_argument(  # its earlier name
        "--prepare", dest="preprocess", choices=("mnist", "fit", "stretch"), help=argparse.SUPPRESS
    )
    group.add_argument(
        "--cache",
        type=path,
        metavar="DIR",
        help="where preprocessed pictures are kept (default: .mnist_sgd in their own folder)",
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
def reading(
    args: argparse.Namespace, skipped: list[UnusableFile], *, fixed: bool = False
) -> Iterator[dict[str, Any]]:
    """Give the keyword arguments for `load_data` and `pack_folder`, whose errors become advice.

    Args:
        args: with the options above.
        skipped: files that are left out are added to it, and named on standard error.
        fixed: a model is there, which has its preprocessing.
    """
    from mnist_sgd.data import CacheError, UnusableFile
    from mnist_sgd.data.pictures.folders import UnusableClass

    bar = _Bar()

    def skip(error: UnusableFile) -> None:
        skipped.append(error)
        bar.erase()
        say(f"skipped {error}")

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
        other = f", and {_OTHERWISE}" if error.refused_by == "mnist" and not fixed else ""
        raise ValueError(f"{error}; --skip-unusable leaves such files out{other}") from error
    except UnusableClass as error:
        other = f"; {_OTHERWISE}" if error.refused_by == "mnist" and not fixed else ""
        raise ValueError(f"{error}{other}") from error
    except CacheError as error:
        raise ValueError(f"{error}; --cache DIR keeps them in another place") from error
    finally:
        bar.erase()


class _Bar:
    """A bar with the number of files that are done, on a terminal; elsewhere nothing."""

    def __init__(self) -> None:
        self.shown = sys.stderr.isatty() and is_first_process()
        self.block = _block()
        self.drawn = 0.0

    def show(self, done: int, total: int) -> None:
        """Draw, if it is time to."""
        if not self.shown or time.monotonic() - self.drawn < PROGRESS_INTERVAL:
            return
        self.drawn = time.monotonic()
        tail = f" {done:,} of {total:,} files"
        width = max(10, min(40, shutil.get_terminal_size().columns - len(tail) - 3))
        filled = width * done // total
        bar = self.block * filled + "-" * (width - filled)
        print(f"\r|{bar}|{tail}\033[K", end="", file=sys.stderr, flush=True)

    def erase(self) -> None:
        """Leave no line behind."""
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _block() -> str:
    """What a bar is made of: a block, or where standard error cannot show it, another sign."""
    try:
        "█".encode(getattr(sys.stderr, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return "#"
    return "█"
