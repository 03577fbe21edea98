"""What `train` says before it begins: the pictures it found, and what it does with them."""

from pathlib import Path
from typing import TYPE_CHECKING

from mnist_sgd.cli.options.class_names import option_with
from mnist_sgd.cli.options.datasets import DataConfig
from mnist_sgd.cli.options.pictures import OTHERWISE, preprocessed_text
from mnist_sgd.cli.terminal import say
from mnist_sgd.cli.training.config import TrainConfig

if TYPE_CHECKING:
    from mnist_sgd.data import ImageSet, LoadedData


def announce(config: TrainConfig, data: "LoadedData") -> None:
    """Say it on standard error, except with `--json` or for the bundled images."""
    if not config.output.json and not config.data.is_sample:
        say(_data(config.data.data or config.data.dataset, data))
        say(_plan(config, data))


def _data(where: str | Path, data: "LoadedData") -> str:
    import numpy as np  # here: every command imports this module

    train, valid = data.train, data.valid
    positive = sum(int(np.count_nonzero(each.labels)) for each in (train, valid))
    every = len(train) + len(valid)
    counts = zip(train.classes, (every - positive, positive), strict=True)
    each_class = ", ".join(f"{count:,} {name}" for name, count in counts)
    count = train.refused + valid.refused
    refused = f"; {count:,} more {'was' if count == 1 else 'were'} refused" if count else ""
    return (
        f"{where}: {every:,} {_kind(train)}, {each_class}; {len(train):,} to train, "
        f"{len(valid):,} to validate{refused}."
    )


def _plan(config: TrainConfig, data: "LoadedData") -> str:
    epochs = f"{config.recipe.epochs:,} epoch{'' if config.recipe.epochs == 1 else 's'}"
    other, positive = data.train.classes
    chosen = config.data.positive or config.data.classes
    swap = "" if chosen else f" ({option_with('--positive', other)} for the other)"
    return (
        f"Model: {config.model.model}, {epochs}; it gives the probability of {positive}{swap}. "
        f"{_preprocessed(config.data, data)}."
    )


def _preprocessed(config: DataConfig, data: "LoadedData") -> str:
    text = preprocessed_text(data.train.preprocessing, data.choice)
    if data.train.files:
        return f"Pictures {text}"
    other = "" if config.preprocess else f"; {OTHERWISE[data.train.preprocessing]}"
    return f"These images are used as they are; pictures to predict are {text}{other}"


def _kind(images: "ImageSet") -> str:
    return "pictures" if images.files else "images"
