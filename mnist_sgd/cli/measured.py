"""The labelled images that `evaluate` measures a model on."""

import os
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_sgd.cli.options.datasets import NAMED, DataConfig, load_datasets, load_whole_set
from mnist_sgd.cli.options.run_data import data_name, data_of_the_run, folder_of_the_data
from mnist_sgd.cli.terminal import say

if TYPE_CHECKING:
    from mnist_sgd.data import ImageSet, UnusableFile
    from mnist_sgd_serve import Metadata


def images_to_measure(
    config: DataConfig, every: bool, file: Path, model: "Metadata"
) -> tuple["ImageSet", int]:
    """Load the images to measure a model on, and count all images that were loaded for it.

    The number includes training images, and pictures that the preprocessing refused.

    Args:
        config: which data.
        every: measure on all images, instead of those for validation.
        file: the model's.
        model: its metadata.

    Raises:
        ValueError: they are not usable, or their classes or preprocessing are not the model's.
    """
    from mnist_sgd.evaluation.refused import all_pictures

    if every:
        valid = load_whole_set(config, model)
        loaded = all_pictures(valid)
    else:
        data = load_datasets(config, model)
        valid = data.valid
        loaded = all_pictures(data.train) + all_pictures(valid)
    if valid.classes != model.classes:
        raise ValueError(_other_classes(config, file, valid, model))
    if valid.preprocessing != model.preprocessing:
        raise ValueError(
            f"{file} takes images preprocessed by {model.preprocessing!r}, the data "
            f"was preprocessed by {valid.preprocessing!r}"
        )
    if every and _was_trained_on(config, file, model):
        say(
            f"note: {file} was trained on images of this folder, so these figures are better than "
            "on new ones; without --all it is measured on the others"
        )
    elif not every and model.data.get(valid.name, valid.fingerprint()) != valid.fingerprint():
        say(f"note: {valid.name} has changed since {file} was trained")
    if config.is_sample and model.data and valid.name not in model.data:
        say(f"note: these are the sample's images; {file} was trained on {data_name(model)!r}")
    return valid, loaded


def _was_trained_on(config: DataConfig, file: Path, model: "Metadata") -> bool:
    """Whether a model was trained on images of the folder whose images are all measured."""
    from mnist_sgd.data import load_data

    if config.data is None:
        return False
    recorded = data_of_the_run(DataConfig(), file, model).data
    if recorded is not None and os.path.realpath(recorded) == os.path.realpath(config.data):
        return True
    with suppress(ValueError):  # a folder that cannot be split was not trained on
        train = load_data(
            config.data,
            classes=model.classes,
            preprocessing=model.preprocessing,
            cache=config.cache,
            workers=config.workers,
            on_unusable=_leave_out if config.skip_unusable else None,
        ).train
        return train.fingerprint() in model.data.values()
    return False


def _leave_out(_: "UnusableFile") -> None:
    """Say nothing again of a file that was named when all images were loaded."""


def _other_classes(config: DataConfig, file: Path, valid: "ImageSet", model: "Metadata") -> str:
    """What is wrong with the data's classes, and which arguments are right."""
    given, wanted, origin = (
        " and ".join(valid.classes),
        " and ".join(model.classes),
        data_name(model),
    )
    if sorted(valid.classes) == sorted(model.classes):
        option = "--positive" if config.positive else "--classes"
        return (
            f"{file} gives the probability of {model.positive}, not of {valid.classes[1]}; "
            f"leave out {option}"
        )
    if not origin or not config.is_sample:
        trained = f"; it was trained on {origin!r}" if origin else ""
        return f"{file} knows the classes {wanted}, the data has {given}{trained}"
    trained = (
        f"{file} knows the classes {wanted}; the sample has {given}, this model was trained "
        f"on {origin!r}"
    )
    command = f"mnist-sgd evaluate {shlex.quote(str(file))}"
    folder = folder_of_the_data(file, model)
    data, _, _ = origin.partition(" ")  # EMNIST's splits follow its name
    if folder is not None:
        return f"{trained}: {command} --data {shlex.quote(folder)}"
    if data in NAMED:
        return f"{trained}: {command} --dataset {data}"
    return f"{trained}, but that data was not found: {command} --data DIR"
