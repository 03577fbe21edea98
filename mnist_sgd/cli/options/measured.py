"""The labelled images that `evaluate` measures a model on, which must be of the model's kind."""

import argparse
import json
import os
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_sgd._names import printable
from mnist_sgd.cli.options.datasets import NAMED, SAMPLE, load_datasets, load_whole_set
from mnist_sgd.cli.terminal import say
from mnist_sgd.evaluation.refused import all_pictures
from mnist_sgd.report.folder import CONFIG

if TYPE_CHECKING:
    from mnist_sgd.data import ImageSet
    from mnist_sgd_serve import Metadata

__all__ = ["images_to_measure"]


def images_to_measure(args: argparse.Namespace, model: "Metadata") -> tuple["ImageSet", int]:
    """The images that the arguments choose, and how many there are with those for training.

    The number includes pictures that the preprocessing refused.

    Args:
        args: those of `evaluate`; `model` is the path of the file.
        model: what the file says.

    Raises:
        ValueError: they are not usable, or have other classes or another kind of preprocessing than
            the model.
    """
    if args.all:
        valid = load_whole_set(args, model)
        loaded = all_pictures(valid)
    else:
        data = load_datasets(args, model)
        valid = data.valid
        loaded = all_pictures(data.train) + all_pictures(valid)
    if valid.classes != model.classes:
        raise ValueError(_other_classes(args, valid, model))
    if valid.preprocessing != model.preprocessing:
        raise ValueError(
            f"{args.model} takes images preprocessed by {model.preprocessing!r}, the data "
            f"was preprocessed by {valid.preprocessing!r}"
        )
    if _takes_the_sample(args) and model.data and valid.name not in model.data:
        say(f"note: these are the sample's images; {args.model} was trained on {_origin(model)!r}")
    return valid, loaded


def _takes_the_sample(args: argparse.Namespace) -> bool:
    return args.data is None and args.dataset == SAMPLE


def _origin(model: "Metadata") -> str:
    """The name of the data that a model was trained on, "" if its file does not say."""
    return next(iter(model.data), "").rpartition(", ")[0]


def _other_classes(args: argparse.Namespace, valid: "ImageSet", model: "Metadata") -> str:
    """What is wrong with the data's classes, and which arguments are right."""
    given, wanted, origin = " and ".join(valid.classes), " and ".join(model.classes), _origin(model)
    if sorted(valid.classes) == sorted(model.classes):
        option = "--positive" if args.positive else "--classes"
        return (
            f"{args.model} gives the probability of {model.positive}, not of {valid.classes[1]}; "
            f"leave out {option}"
        )
    if not origin or not _takes_the_sample(args):
        trained = f"; it was trained on {origin!r}" if origin else ""
        return f"{args.model} knows the classes {wanted}, the data has {given}{trained}"
    trained = (
        f"{args.model} knows the classes {wanted}; the sample has {given}, this model was trained "
        f"on {origin!r}"
    )
    command = f"mnist-sgd evaluate {shlex.quote(str(args.model))}"
    folder = _folder_of_the_data(args.model, origin)
    data, _, _ = origin.partition(" ")  # EMNIST's splits follow its name
    if folder is not None:
        return f"{trained}: {command} --data {shlex.quote(folder)}"
    if data in NAMED:
        return f"{trained}: {command} --dataset {data}"
    return f"{trained}, and it is not known where that is: {command} --data DIR"


def _folder_of_the_data(model: Path, name: str) -> str | None:
    """The folder of this name that a model was trained on, as it is reached from here.

    A model's file has only the name. A run knows how the folder was named where it was trained,
    which is usually the folder that `runs` lies in.
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
    """The `--data` of the training that a run's folder is of; "" where it is not known."""
    try:
        found = json.loads((run / CONFIG).read_bytes())["arguments"]["data"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return ""
    return found if isinstance(found, str) else ""
