"""`mnist-sgd pack`: turn folders of pictures into a packed set, which is memory-mapped."""

import argparse
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_sgd._names import printable
from mnist_sgd.cli.options.arguments import Subcommands, add_json_option, path, subcommand
from mnist_sgd.cli.options.class_names import option_with
from mnist_sgd.cli.options.fields import add_options, section
from mnist_sgd.cli.options.pictures import PictureConfig, preprocessed_text, reading
from mnist_sgd.cli.program import program

if TYPE_CHECKING:
    from mnist_sgd.data import ImageSet, UnusableFile
    from mnist_sgd.data.pictures.preprocessing_choice import Choice

EXAMPLES = """\
  mnist-sgd pack digits packed                 digits/3/*.png and digits/7/*.png, say
  mnist-sgd pack digits packed --positive 3    the model will give the probability of a 3
  mnist-sgd pack scans packed --skip-unusable  leave out unusable files

Pictures are preprocessed as for predict, and cached as for train --data. The set records which
pictures are for training and which for validation. A folder with train and valid becomes two sets,
packed/train and packed/valid. In Python, mnist_sgd.load_packed("packed") opens a set; only the
pages in use are in memory.
"""


def add_parser(commands: Subcommands) -> None:
    """Add the subcommand."""
    summary = "turn two folders of pictures into one packed set"
    parser = subcommand(commands, "pack", summary, EXAMPLES, run)
    parser.add_argument(
        "folder",
        type=path,
        metavar="FOLDER",
        help="the pictures, in a subfolder for each of two classes",
    )
    parser.add_argument(
        "out", type=path, metavar="OUT", help="the folder for the set; an existing set is replaced"
    )
    pictures = parser.add_argument_group("data")
    add_options(pictures, PictureConfig, {"classes": "the two that there are"})
    add_json_option(parser.add_argument_group("output"))


def run(args: argparse.Namespace) -> int:
    """Pack, and print what is in the sets; name files that are left out on standard error."""
    from mnist_sgd.data import pack_folder

    skipped: list[UnusableFile] = []
    chosen: list[Choice] = []
    config = section(PictureConfig, args)
    with reading(config, skipped) as options:
        sets = pack_folder(
            args.folder,
            args.out,
            classes=config.classes,
            preprocessing=config.preprocess,
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
    print(f"the positive class is {positive}; use {option_with('--positive', negative)} to swap")
    print(f"next: {program()} train --data {printable(shlex.quote(str(args.out)))}")
    return 0


def _path(out: Path, sets: "tuple[ImageSet, ...]", data: "ImageSet") -> Path:
    """The folder of a set: OUT, or its subfolder with the set's name."""
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
