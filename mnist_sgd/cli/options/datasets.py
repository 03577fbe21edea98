"""The choice of a data set and two of its classes, and its loading."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mnist_sgd._names import printable
from mnist_sgd.cli.options.arguments import path
from mnist_sgd.cli.options.fields import add_options, flag, option
from mnist_sgd.cli.options.pictures import PictureConfig, reading
from mnist_sgd.cli.terminal import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnist_sgd.data import ImageSet, LoadedData, UnusableFile
    from mnist_sgd_serve import Metadata

T = TypeVar("T")

SAMPLE = "sample"
NAMED = ("MNIST", "FashionMNIST", "KMNIST", "QMNIST", "EMNIST")

OF_THE_MODEL = {
    **dict.fromkeys(("classes", "positive", "preprocess"), "the model's"),
    "dataset": "the data of the model's run, or sample",
}
"""The defaults of a command about an existing model, in words."""


@dataclass(frozen=True)
class _Source:
    """Where images come from; each field is an option."""

    data: Path | None = option(
        "your own pictures in DIR/CLASS/*, or split into DIR/train/CLASS/* and DIR/valid/CLASS/* "
        "(or val, test); or a packed set, or IDX files under MNIST's names",
        type=path,
        metavar="DIR",
    )
    dataset: str = option(
        "sample, the threes and sevens that come with the package, or a data set of torchvision",
        default=SAMPLE,
        choices=(SAMPLE, *NAMED),
    )
    root: Path = option(
        "the folder in which torchvision keeps its data sets",
        default=Path("data"),
        type=path,
        metavar="DIR",
    )
    download: bool = flag("let torchvision download a missing data set")


@dataclass(frozen=True)
class DataConfig(PictureConfig, _Source):
    """Which images are loaded, and how; each field is an option."""

    @property
    def is_sample(self) -> bool:
        """Whether these are the images that come with the package."""
        return self.data is None and self.dataset == SAMPLE


def add_data_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options of `DataConfig` to a command about a model, and return their group.

    `run_data.data_of` makes the `DataConfig` of the arguments.
    """
    group = parser.add_argument_group("data")
    add_options(group, DataConfig, OF_THE_MODEL)
    parser.set_defaults(dataset=None)
    return group


def load_datasets(config: DataConfig, model: Metadata | None = None) -> LoadedData:
    """Load the training and the validation set.

    Args:
        config: which ones.
        model: a model to measure: its preprocessing is the default, and its classes for `--data`.

    Raises:
        ValueError: options contradict each other, a class does not exist, or files are missing,
            damaged or no pictures.
    """
    _check_together(config)
    if config.data is not None:
        return _load_own(config, config.data, model)
    from mnist_sgd.data import LoadedData, mnist_sample, torchvision_set

    if config.is_sample:
        return LoadedData(*mnist_sample())
    negative, positive = config.classes or (model.classes if model else ("7", "3"))
    train, valid = torchvision_set(
        config.dataset, (negative, positive), root=config.root, download=config.download
    )
    how = config.preprocess or (model.preprocessing if model else "mnist")
    return LoadedData(replace(train, preprocessing=how), replace(valid, preprocessing=how))


def load_whole_set(config: DataConfig, model: Metadata) -> ImageSet:
    """Load all images of `--data` as one set.

    Args:
        config: which ones.
        model: the model to measure: its classes and its preprocessing are the default.

    Raises:
        ValueError: `--data` is missing; or as `load_datasets`.
    """
    if config.data is None:
        raise ValueError("--all goes with --data")
    _check_together(config)
    from mnist_sgd.data import load_all

    return _load(load_all, config, config.data, model)


def _check_together(config: DataConfig) -> None:
    """Refuse options that would have no effect."""
    if config.data is not None:
        if config.dataset != SAMPLE or config.download:
            raise ValueError("--data excludes --dataset and --download: leave them out")
        return
    if config.dataset == SAMPLE and config.download:
        raise ValueError("--download goes with --dataset NAME: the sample comes with the package")
    for option_name in ("positive", "cache", "skip_unusable"):
        if getattr(config, option_name):
            raise ValueError(f"--{option_name.replace('_', '-')} goes with --data")
    if config.dataset == SAMPLE and config.classes:
        raise ValueError(
            "the sample has threes and sevens only; choose other classes from a torchvision "
            "set, as in --dataset MNIST --classes 1 8"
        )
    if config.dataset == SAMPLE and config.preprocess:
        raise ValueError("--preprocess goes with --data, or with a data set of torchvision")


def _load_own(config: DataConfig, folder: Path, model: Metadata | None) -> LoadedData:
    """Load `--data` and print notes about it."""
    from mnist_sgd.data import load_data

    loaded = _load(load_data, config, folder, model)
    for note in loaded.notes:
        say(f"note: {note}")
    return loaded


def _load(load: Callable[..., T], config: DataConfig, folder: Path, model: Metadata | None) -> T:
    """Load `--data` by one of the two functions, and say what was left out."""
    skipped: list[UnusableFile] = []
    with reading(config, skipped, fixed=model is not None) as options:
        loaded = load(
            folder,
            classes=config.classes or (model.classes if model else None),
            preprocessing=config.preprocess or (model.preprocessing if model else None),
            **options,
        )
    if skipped:
        left_out = sum(each.files for each in skipped)
        say(f"{printable(str(folder))}: files left out: {left_out:,}")
    return loaded
