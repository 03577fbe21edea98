"""The labelled images that `evaluate` measures a model on."""

import json
import os
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_sgd._names import printable
from mnist_sgd.cli.options.datasets import NAMED, DataConfig, load_datasets, load_whole_set
from mnist_sgd.cli.terminal import say
from mnist_sgd.report.folder import CONFIG

if TYPE_CHECKING:
    from mnist_sgd.data import ImageSet
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
    if config.is_sample and model.data and valid.name not in model.data:
        say(f"note: these are the sample's images; {file} was trained on {_origin(model)!r}")
    return valid, loaded


def _origin(model: "Metadata") -> str:
    """The name of the data that a model was trained on, "" if its file does not say."""
    return next(iter(model.data), "").rpartition(", ")[0]


def _other_classes(config: DataConfig, file: Path, valid: "ImageSet", model: "Metadata") -> str:
    """What is wrong with the data's classes, and which arguments are right."""
    given, wanted, origin = " and ".join(valid.classes), " and ".join(model.classes), _origin(model)
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
    folder = _folder_of_the_data(file, origin)
    data, _, _ = origin.partition(" ")  # EMNIST's splits follow its name
    if folder is not None:
        return f"{trained}: {command} --data {shlex.quote(folder)}"
    if data in NAMED:
        return f"{trained}: {command} --dataset {data}"
    return f"{trained}, but that data was not found: {command} --data DIR"


def _folder_of_the_data(model: Path, name: str) -> str | None:
    """The folder of this name that a model was trained on, relative to the current folder.

    A model's file has only the name. A run has the path that `train` was given, which usually
    starts in the folder that contains `runs`.
    """
    if os.path.isdir(name):
        return name
    given = _given_to_train(model.parent)
    for start in ("", model.parent / ".." / ".."):
        place = os.path.realpath(os.path.join(start, given))
        if given and os.path.isdir(place) and printable(os.path.basename(place)) == name:
            with suppress(ValueError):  # on another drive
                return os.path.relpath(place, os.path.realpath("."))
            return place
    return None


def _given_to_train(run: Path) -> str:
    """The `--data` that a run was trained with; "" if it is unknown."""
    try:
        found = json.loads((run / CONFIG).read_bytes())["arguments"]["data"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return ""
    return found if isinstance(found, str) else ""
