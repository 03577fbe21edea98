"""What several subcommands share: parsers that teach, argument types, the choice of a data set."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from mnist_sgd.data import ImageSet

__all__ = [
    "Subcommands",
    "add_dataset_arguments",
    "add_json_argument",
    "load_datasets",
    "positive_float",
    "positive_int",
    "share",
    "subcommand",
]

Subcommands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

SAMPLE = "sample"
NAMED = ("MNIST", "FashionMNIST", "KMNIST", "QMNIST", "EMNIST")


def subcommand(
    commands: Subcommands,
    name: str,
    summary: str,
    examples: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    """Add a subcommand whose help ends in examples."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="examples:\n" + examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON, for other programs")


def add_dataset_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the choice of a data set and two of its classes."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "--dataset",
        choices=(SAMPLE, *NAMED),
        default=SAMPLE,
        help="the threes and sevens that come with the package, or a set of torchvision's "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--classes",
        nargs=2,
        metavar=("NEGATIVE", "POSITIVE"),
        help="the two classes of a torchvision set, by name or label; the model gives the "
        "probability of POSITIVE (default: 7 3)",
    )
    group.add_argument(
        "--root", default="data", help="the folder of torchvision's sets (default: %(default)s)"
    )
    group.add_argument(
        "--download", action="store_true", help="let torchvision download a set that is missing"
    )


def load_datasets(args: argparse.Namespace) -> tuple[ImageSet, ImageSet]:
    """The training and the validation set that the arguments choose.

    Raises:
        ValueError: `--classes` was given for the sample, a class does not exist, or files are
            missing or damaged.
    """
    from mnist_sgd.data import mnist_sample, torchvision_set

    if args.dataset == SAMPLE:
        if args.classes:
            raise ValueError(
                "the sample has threes and sevens only; choose other classes of a torchvision "
                "set, as in --dataset MNIST --classes 1 8"
            )
        return mnist_sample()
    negative, positive = args.classes or ("7", "3")
    return torchvision_set(
        args.dataset, (negative, positive), root=args.root, download=args.download
    )


def positive_int(text: str) -> int:
    """An argument that is a whole number above 0."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, got {text!r}")
    return value


def positive_float(text: str) -> float:
    """An argument that is a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return value


def share(text: str) -> float:
    """An argument that is a number in [0, 1]."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, got {text!r}")
    return value
