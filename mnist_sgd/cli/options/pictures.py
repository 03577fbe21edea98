"""The options of a folder of pictures, and what is said while it is read."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_sgd.cli.options.arguments import path, whole_number
from mnist_sgd.cli.options.class_names import class_name
from mnist_sgd.cli.options.fields import flag, option
from mnist_sgd.cli.terminal import say
from mnist_sgd.training.callbacks.bar import Bar, is_terminal
from mnist_sgd.training.torchrun import is_first_process

if TYPE_CHECKING:
    from mnist_sgd.data import UnusableFile
    from mnist_sgd.data.pictures.preprocessing_choice import Choice

_WHOLE = "--preprocess fit takes whole pictures"

PREPROCESSED = {
    "mnist": "preprocessed as drawn characters (--preprocess mnist)",
    "fit": "shown whole, in their proportions (--preprocess fit)",
    "stretch": "shown whole, stretched to a square (--preprocess stretch)",
}

OTHERWISE = {
    "mnist": "for whole pictures: --preprocess fit",
    "fit": "for drawn characters: --preprocess mnist",
}


def _processors() -> int:
    """The number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class PictureConfig:
    """How folders of pictures are read; each field is an option."""

    classes: tuple[str, str] | None = option(
        "two of the classes, by name or label; the model gives the probability of POSITIVE",
        type=class_name,
        nargs=2,
        metavar=("NEGATIVE", "POSITIVE"),
        shown="the two that there are; 7 3 of a torchvision set",
    )
    positive: str | None = option(
        "the class whose probability the model gives",
        type=class_name,
        metavar="NAME",
        shown="the last in sorted order",
    )
    preprocess: str | None = option(
        "how a picture becomes 28 x 28 pixels: mnist crops and centres one drawn character, fit "
        "keeps the whole picture and its proportions, stretch fills the square with it",
        choices=tuple(PREPROCESSED),
        alias="--prepare",
        shown="mnist if the pictures are drawn characters, else fit",
    )
    cache: Path | None = option(
        "where preprocessed pictures are kept",
        type=path,
        metavar="DIR",
        shown=".mnist_sgd in the folder of the pictures",
    )
    skip_unusable: bool = flag("leave out unusable files and name them", "stop at the first")
    workers: int = option(
        "processes that decode pictures",
        default=_processors(),
        type=whole_number,
        metavar="N",
        shown=f"one for each processor, {_processors()} here",
    )


def preprocessed_text(preprocessing: str, choice: Choice | None = None) -> str:
    """How pictures are preprocessed; if the pictures decided it, also why and how to change it.

    Args:
        preprocessing: mnist, fit or stretch.
        choice: what the pictures decided; None if the user or a model did.
    """
    how = PREPROCESSED[preprocessing]
    return how if choice is None else f"{how}: {choice}; {OTHERWISE[preprocessing]}"


@contextmanager
def reading(
    config: PictureConfig, skipped: list[UnusableFile], *, fixed: bool = False
) -> Iterator[dict[str, Any]]:
    """Give the keyword arguments for `load_data` and `pack_folder`, and add advice to their errors.

    Args:
        config: how the pictures are read.
        skipped: a list to which files that are left out are added; standard error names them.
        fixed: a model decides the preprocessing, so no other is proposed.
    """
    from mnist_sgd.data import CacheError, UnusableFile
    from mnist_sgd.data.pictures.folders import UnusableClass

    bar = Bar(is_terminal(sys.stderr) and is_first_process())

    def show(done: int, total: int) -> None:
        if bar.is_due():
            bar.draw("", done, total, f" {done:,} of {total:,} files")

    def skip(error: UnusableFile) -> None:
        skipped.append(error)
        bar.erase()
        say(f"skipped {error}")

    def wait() -> None:
        bar.erase()
        say("another process is reading these pictures; waiting for it")

    try:
        yield {
            "positive": config.positive,
            "cache": config.cache,
            "workers": config.workers,
            "on_unusable": skip if config.skip_unusable else None,
            "on_progress": show,
            "on_wait": wait,
        }
    except UnusableFile as error:
        other = f", and {_WHOLE}" if error.refused_by == "mnist" and not fixed else ""
        raise ValueError(f"{error}; --skip-unusable leaves such files out{other}") from error
    except UnusableClass as error:
        other = f"; {_WHOLE}" if error.refused_by == "mnist" and not fixed else ""
        raise ValueError(f"{error}{other}") from error
    except CacheError as error:
        raise ValueError(f"{error}; --cache DIR keeps them in another place") from error
    finally:
        bar.erase()
