"""The choice of a data set and two of its classes, and its loading."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from mnist_sgd._names import printable
from mnist_sgd.cli.options.arguments import path
from mnist_sgd.cli.options.class_names import class_name
from mnist_sgd.cli.options.pictures import MODELS, add_picture_arguments, reading, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnist_sgd.data import ImageSet, LoadedData, UnusableFile
    from mnist_sgd_serve import Metadata

__all__ = ["SAMPLE", "add_dataset_arguments", "load_datasets", "load_whole_set"]

T = TypeVar("T")

SAMPLE = "sample"
NAMED = ("MNIST", "FashionMNIST", "KMNIST", "QMNIST", "EMNIST")


def add_dataset_arguments(parser: argparse.ArgumentParser, *, trained: bool = False) -> None:
    """Add the choice of a data set and two of its classes.

    Args:
        parser: of the command.
        trained: the command is about a model that is there, which has its classes.
    """
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data",
        type=path,
        metavar="DIR",
        help="your own: DIR/CLASS/* with pictures, or DIR/train/CLASS/* and DIR/valid/CLASS/* (or "
        "val, test); or a packed set, or IDX files under MNIST's names",
    )
    group.add_argument(
        "--dataset",
        choices=(SAMPLE, *NAMED),
        default=SAMPLE,
        help="the threes and sevens that come with the package, or a set of torchvision's "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--classes",
        type=class_name,
        nargs=2,
        metavar=("NEGATIVE", "POSITIVE"),
        help="two of the classes, by name or label; the model gives the probability of POSITIVE "
        f"(default: {MODELS if trained else 'the two that there are; 7 3 of a torchvision set'})",
    )
    group.add_argument(
        "--root",
        type=path,
        default="data",
        help="the folder of torchvision's sets (default: %(default)s)",
    )
    group.add_argument(
        "--download", action="store_true", help="let torchvision download a set that is missing"
    )
    add_picture_arguments(group, trained=trained)


def load_datasets(args: argparse.Namespace, model: Metadata | None = None) -> LoadedData:
    """The training and the validation set that the arguments choose.

    Args:
        args: with the options above.
        model: one that is to be measured: its preprocessing is the default, and of `--data` its
            classes.

    Raises:
        ValueError: options do not go together, a class does not exist, or files are missing,
            damaged or no pictures.
    """
    _check_together(args)
    if args.data is not None:
        return _load_own(args, model)
    from mnist_sgd.data import LoadedData, mnist_sample, torchvision_set

    if args.dataset == SAMPLE:
        return LoadedData(*mnist_sample())
    negative, positive = args.classes or (model.classes if model else ("7", "3"))
    train, valid = torchvision_set(
        args.dataset, (negative, positive), root=args.root, download=args.download
    )
    how = args.preprocess or (model.preprocessing if model else "mnist")
    return LoadedData(replace(train, preprocessing=how), replace(valid, preprocessing=how))


def load_whole_set(args: argparse.Namespace, model: Metadata) -> ImageSet:
    """All images of `--data` as one set.

    Args:
        args: with the options above.
        model: that is to be measured: its classes and its preprocessing are the default.

    Raises:
        ValueError: `--data` is missing; or as `load_datasets`.
    """
    if args.data is None:
        raise ValueError("--all goes with --data")
    _check_together(args)
    from mnist_sgd.data import load_whole

    return _load(load_whole, args, model)


def _check_together(args: argparse.Namespace) -> None:
    """Refuse options that would have no effect."""
    if args.data is not None:
        if args.dataset != SAMPLE or args.download:
            raise ValueError("--data is a choice of its own: leave out --dataset and --download")
        return
    if args.dataset == SAMPLE and args.download:
        raise ValueError("--download goes with --dataset NAME: the sample comes with the package")
    for option in ("positive", "cache", "skip_unusable"):
        if getattr(args, option):
            raise ValueError(f"--{option.replace('_', '-')} goes with --data")
    if args.dataset == SAMPLE and args.classes:
        raise ValueError(
            "the sample has threes and sevens only; choose other classes of a torchvision "
            "set, as in --dataset MNIST --classes 1 8"
        )
    if args.dataset == SAMPLE and args.preprocess:
        raise ValueError("--preprocess goes with --data, or with a set of torchvision's")


def _load_own(args: argparse.Namespace, model: Metadata | None) -> LoadedData:
    """Load `--data`, and say what should be known of it."""
    from mnist_sgd.data import load_data

    loaded = _load(load_data, args, model)
    for note in loaded.notes:
        say(f"note: {note}")
    return loaded


def _load(load: Callable[..., T], args: argparse.Namespace, model: Metadata | None) -> T:
    """Load `--data` by one of the two functions, and say what was left out."""
    classes = tuple(args.classes) if args.classes else model.classes if model else None
    skipped: list[UnusableFile] = []
    with reading(args, skipped, fixed=model is not None) as options:
        loaded = load(
            args.data,
            classes=classes,
            preprocessing=args.preprocess or (model.preprocessing if model else None),
            **options,
        )
    if skipped:
        left_out = sum(each.files for each in skipped)
        say(f"{printable(str(args.data))}: files left out: {left_out:,}")
    return loaded
