"""`mnist-sgd pack`: two folders of pictures, to one set that is mapped and not read."""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_sgd.cli.arguments import Subcommands, add_json_argument, positive_int, subcommand

if TYPE_CHECKING:
    from mnist_sgd.data import ImageSet

__all__ = ["add_parser", "run"]

EXAMPLES = """\
  mnist-sgd pack digits packed                 digits/3/*.png and digits/7/*.png, say
  mnist-sgd pack digits packed --positive 3    the model will give the probability of a 3
  mnist-sgd pack scans packed --skip           without the files that are not usable

The pictures are prepared as predict prepares them. In Python mnist_sgd.load_packed("packed") gives
the set, of which only the pages that are used are in memory.
"""

PROGRESS_INTERVAL = 0.1
"""Seconds between two drawings of the progress line."""


def add_parser(commands: Subcommands) -> None:
    """Add the subcommand."""
    summary = "prepare the pictures in two folders, one a class, and pack them as a set"
    parser = subcommand(commands, "pack", summary, EXAMPLES, run)
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="it holds one folder for each of two classes"
    )
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="the folder for the set; an old set is replaced"
    )
    parser.add_argument(
        "--positive",
        metavar="NAME",
        help="the class whose probability a model gives (default: the last in sorted order)",
    )
    parser.add_argument(
        "--skip",
        action="store_true",
        help="leave out files that are not usable and name them (default: end at the first)",
    )
    parser.add_argument(
        "--workers",
        type=positive_int,
        default=os.cpu_count() or 1,
        help="processes that decode (default: the processors, %(default)s here)",
    )
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Pack, and print what the set holds; files that are left out are named on standard error."""
    from mnist_sgd.data.folders import UnusableFile, pack_folder

    skipped: list[UnusableFile] = []
    progress = _Progress()

    def skip(error: UnusableFile) -> None:
        skipped.append(error)
        progress.erase()
        print("mnist-sgd: skipped", *str(error).split(), file=sys.stderr)

    try:
        packed = pack_folder(
            args.folder,
            args.out,
            positive=args.positive,
            workers=args.workers,
            on_unusable=skip if args.skip else None,
            on_progress=progress.show,
        )
    except UnusableFile as error:
        raise ValueError(f"{error}; --skip leaves such files out") from error
    finally:
        progress.erase()
    _report(args.out, packed, skipped=len(skipped), as_json=args.json)
    return 0


def _report(out: Path, packed: "ImageSet", *, skipped: int, as_json: bool) -> None:
    """Print what the set holds."""
    positive = int(packed.labels.sum())
    counts = dict(zip(packed.classes, (len(packed) - positive, positive), strict=True))
    if as_json:
        facts = {
            "images": len(packed),
            "classes": packed.classes,
            "counts": counts,
            "skipped": skipped,
            "fingerprint": packed.fingerprint(),
        }
        print(json.dumps(facts))
        return
    parts = ", ".join(f"{count:,} of {name}" for name, count in counts.items())
    left_out = f"; {skipped:,} files were left out" if skipped else ""
    print(f"{out}: {len(packed):,} images, {parts}{left_out}")
    print(
        f"the positive class is {packed.classes[1]}; --positive {packed.classes[0]} turns it round"
    )


class _Progress:
    """A line of standard error with the number of files done, on a terminal; elsewhere nothing."""

    def __init__(self) -> None:
        self.shown = sys.stderr.isatty()
        self.drawn = 0.0

    def show(self, done: int, total: int) -> None:
        """Draw, if it is time to."""
        if self.shown and time.monotonic() - self.drawn >= PROGRESS_INTERVAL:
            self.drawn = time.monotonic()
            print(f"\r{done:,} of {total:,} files\033[K", end="", file=sys.stderr, flush=True)

    def erase(self) -> None:
        """Leave no line behind."""
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
