"""`mnist-sgd pack`: folders of pictures, to sets that are mapped and not read."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_sgd._names import printable
from mnist_sgd.cli.options.arguments import Subcommands, add_json_argument, path, subcommand
from mnist_sgd.cli.options.class_names import class_name, option_with
from mnist_sgd.cli.options.pictures import add_picture_arguments, reading
from mnist_sgd.cli.options.preprocessing import preprocessed_text

if TYPE_CHECKING:
    from mnist_sgd.data import ImageSet, UnusableFile
    from mnist_sgd.data.pictures.preprocessing_choice import Choice

__all__ = ["add_parser", "run"]

EXAMPLES = """\
  mnist-sgd pack digits packed                 digits/3/*.png and digits/7/*.png, say
  mnist-sgd pack digits packed --positive 3    the model will give the probability of a 3
  mnist-sgd pack scans packed --skip-unusable  without the files that are not usable

Pictures are preprocessed as predict does it, and kept for the next time as train --data keeps them.
The set records which pictures are for training and which for validation, as the folder does. A
folder with train and valid becomes two sets, packed/train and packed/valid. In Python,
mnist_sgd.load_packed("packed") gives a set; only the pages that are used are in memory.
"""


def add_parser(commands: Subcommands) -> None:
    """Add the subcommand."""
    summary = "preprocess the pictures in folders, one a class, and pack them as a set"
    parser = subcommand(commands, "pack", summary, EXAMPLES, run)
    parser.add_argument(
        "folder", type=path, metavar="FOLDER", help="it holds one folder for each of two classes"
    )
    parser.add_argument(
        "out", type=path, metavar="OUT", help="the folder for the set; an old set is replaced"
    )
    parser.add_argument(
        "--classes",
        type=class_name,
        nargs=2,
        metavar=("NEGATIVE", "POSITIVE"),
        help="the two classes, of a folder with more",
    )
    add_picture_arguments(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Pack, and print what the sets hold; files that are left out are named on standard error."""
    from mnist_sgd.data import pack_folder

    skipped: list[UnusableFile] = []
    chosen: list[Choice] = []
    with reading(args, skipped) as options:
        sets = pack_folder(
            args.folder,
            args.out,
            classes=tuple(args.classes) if args.classes else None,
            preprocessing=args.preprocess,
            on_choice=chosen.append,
            **options,
        )
    left_out = sum(each.files for each in skipped)
    if args.json:
        facts = {str(_path(args.out, sets, data)): _facts(data) for data in sets}
        print(json.dumps({"sets": facts, "skipped": left_out}))
        return 0
    for data in sets:
        parts = ", ".join(f"{count:,} of {name}" for name, count in _counts(data).items())
        shown = printable(str(_path(args.out, sets, data)))
        print(f"{shown}: {len(data):,} images, {printable(parts)}")
    if left_out:
        print(f"files left out: {left_out:,}")
    print(f"pictures {preprocessed_text(sets[0].preprocessing, *chosen)}")
    negative, positive = sets[0].classes
    print(f"the positive class is {positive}; {option_with('--positive', negative)} turns it round")
    return 0


def _path(out: Path, sets: "tuple[ImageSet, ...]", data: "ImageSet") -> Path:
    """The folder of a set: OUT, or a part of it that the set is named after."""
    return out if len(sets) == 1 else out / data.name


def _facts(data: "ImageSet") -> dict[str, object]:
    return {
        "images": len(data),
        "classes": data.classes,
        "counts": _counts(data),
        "preparation": data.preprocessing,
        "fingerprint": data.fingerprint(),
    }


def _counts(data: "ImageSet") -> dict[str, int]:
    positive = int(data.labels.sum())
    return dict(zip(data.classes, (len(data) - positive, positive), strict=True))
