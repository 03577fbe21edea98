"""The data that a model was trained on, found again for the commands about it."""

import argparse
import json
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_sgd._names import printable
from mnist_sgd.cli.options.datasets import NAMED, SAMPLE, DataConfig
from mnist_sgd.cli.options.fields import section
from mnist_sgd.report.folder import CONFIG

if TYPE_CHECKING:
    from mnist_sgd_serve import Metadata


def data_of(args: argparse.Namespace, file: Path, model: "Metadata") -> DataConfig:
    """The data that a command about a model reads.

    Args:
        args: with the options of `add_data_options`.
        file: the model's, or its weights'.
        model: its metadata.

    Returns:
        What the arguments name; without `--data` and `--dataset` what the run was trained on, or
        the sample if the file lies in no run, or if the run's data are not found.
    """
    is_default = args.data is None and args.dataset is None
    args.dataset = args.dataset or SAMPLE
    config = section(DataConfig, args)
    return data_of_the_run(config, file, model) if is_default else config


def data_of_the_run(config: DataConfig, file: Path, model: "Metadata") -> DataConfig:
    """Replace the default data by those of the run that a model lies in, if they are found."""
    run, name = file.parent, data_name(model)
    given = _given_to_train(run)
    folder = _recorded_folder(given, run, name)
    if folder is not None:
        return replace(config, data=Path(folder))
    if given.get("data") is None and given.get("dataset") in NAMED:
        root = _relative_to_here(os.path.join(run, "..", "..", str(given.get("root"))))
        return replace(config, dataset=given["dataset"], root=Path(root))
    return config


def data_name(model: "Metadata") -> str:
    """The name of the data that a model was trained on, "" if its file does not say."""
    return next(iter(model.data), "").rpartition(", ")[0]


def folder_of_the_data(file: Path, model: "Metadata") -> str | None:
    """A folder that may hold the data that a model was trained on, from the current folder.

    A model's file has only its name. A run has the path that `train` was given, which usually
    starts in the folder that contains `runs`.
    """
    name = data_name(model)
    if os.path.isdir(name):
        return name
    return _recorded_folder(_given_to_train(file.parent), file.parent, name)


def _recorded_folder(given: dict[str, Any], run: Path, name: str) -> str | None:
    data = given.get("data")
    if not (data and isinstance(data, str)):
        return None
    for start in (run / ".." / "..", ""):
        place = os.path.realpath(os.path.join(start, data))
        if os.path.isdir(place) and printable(os.path.basename(place)) == name:
            return _relative_to_here(place)
    return None


def _relative_to_here(place: str) -> str:
    place = os.path.realpath(place)
    with suppress(ValueError):  # on another drive
        return os.path.relpath(place, os.path.realpath("."))
    return place


def _given_to_train(run: Path) -> dict[str, Any]:
    """The arguments that a run was trained with, {} if they are unknown."""
    try:
        found = json.loads((run / CONFIG).read_bytes())["arguments"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
