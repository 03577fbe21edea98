"""Checks before the first batch: contradictory options, unwritable files, another task's model."""

import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_sgd._installed import need
from mnist_sgd.cli.options.outputs import (
    check_not_a_runs_file,
    check_place,
    check_replaced,
    readable_file,
    writable_file,
    writable_folder,
)
from mnist_sgd.cli.training.config import TrainConfig
from mnist_sgd.cli.training.recipes import Recipe
from mnist_sgd.cli.training.terminal import status
from mnist_sgd.data.pictures.outputs import is_history, is_run
from mnist_sgd.report import folder as run_files
from mnist_sgd.training.torchrun import is_first_process

if TYPE_CHECKING:
    from mnist_sgd.training.distributed import DistributedContext

CSV, TENSORBOARD = (
    "choose another file with --csv FILE",
    "choose another folder with --tensorboard DIR",
)


def check_settings(config: TrainConfig) -> None:
    """Refuse options that contradict each other, or that can have no effect.

    Raises:
        ValueError: two options do not go together; the message says which.
    """
    if config.data.data is None or config.given["epochs"] is not None:
        check_early_stopping(config)  # else the number of pictures decides on the epochs
    _check_weight_decay(config.recipe)
    csv = config.monitors.csv
    if csv is not None and _absolute(csv) in map(_absolute, own_files(config)):
        raise ValueError(f"--csv {csv} is a file that the training itself writes; choose another")


def check_early_stopping(config: TrainConfig) -> None:
    """Refuse to wait for more epochs than there are.

    Raises:
        ValueError: the training would never stop early.
    """
    patience, epochs = config.monitors.early_stopping, config.recipe.epochs
    if patience is not None and patience >= epochs:
        raise ValueError(
            f"--early-stopping {patience} needs more epochs than the training has ({epochs}); "
            "choose a smaller number, or more --epochs"
        )


def _check_weight_decay(recipe: Recipe) -> None:
    if recipe.lr != "find" and recipe.lr * recipe.weight_decay >= 1:
        raise ValueError(
            f"--weight-decay {recipe.weight_decay:g} with a learning rate of {recipe.lr:g} would "
            f"multiply weights by {1 - recipe.lr * recipe.weight_decay:g} in each step; it must be "
            f"below {1 / recipe.lr:g} here"
        )


def _absolute(path: Path) -> Path:
    """A path that is equal for two names of the same file; the file need not exist."""
    return path.parent.resolve() / path.name


def own_files(config: TrainConfig) -> list[Path]:
    """The files that a training writes into its folder."""
    names = [run_files.ARTIFACT, run_files.WEIGHTS, run_files.UNEXPORTED]
    if config.checkpoints.checkpoint_every or config.checkpoints.resume:
        names.append(run_files.CHECKPOINT)
    return [config.output.out / name for name in (run_files.FILES if config.is_run else names)]


def check_places(config: TrainConfig) -> None:
    """Try every place where the training may write, and leave nothing there.

    Raises:
        ValueError: a file cannot be written, or would do harm where it is: among the pictures of a
            class, or in the folder of another run. The message names it and the option to change.
    """
    advice, out = "choose another folder with --out DIR", config.output.out
    csv, tensorboard = config.monitors.csv, config.monitors.tensorboard
    if config.is_run:
        advice = "start in another folder, or give --out DIR instead of --run NAME"
        for folder in (out, out / run_files.PLOTS):
            check_place(folder, writable_folder, advice)
    elif is_run(out):
        raise ValueError(
            f"{out} is a run's folder, and its report would not describe the new model; {advice}, "
            "or train a run with --run NAME"
        )
    for file in own_files(config):
        check_place(file, readable_file, advice)
    if csv is not None:
        check_place(csv, writable_file, CSV)
        check_not_a_runs_file(csv, "--csv")
        if csv.is_file() and csv.stat().st_size and not is_history(csv):
            raise ValueError(f"{csv} exists and is not the table of an earlier training; {CSV}")
    if tensorboard is not None:
        check_place(tensorboard, writable_folder, TENSORBOARD)
    if config.data.data is not None:
        places = [(out, advice), (csv, CSV), (tensorboard, TENSORBOARD)]
        _check_not_among_pictures(config.data.data, places)


def _check_not_among_pictures(data: Path, places: list[tuple[Path | None, str]]) -> None:
    """Refuse what the next training on the same folder would take for one of its pictures."""
    from mnist_sgd.data.pictures.split_folders import class_folders

    classes = [(Path(each), Path(each).resolve()) for each in class_folders(str(data))]
    for place, change in places:
        for shown, folder in classes:
            if place is not None and place.resolve().is_relative_to(folder):
                raise ValueError(
                    f"{place} is inside {shown}, the folder of a class of --data {data}; {change}"
                )


def check_earlier_model(config: TrainConfig, classes: tuple[str, ...]) -> None:
    """Refuse to replace another task's model, or the checkpoint of its interrupted training.

    Args:
        config: what the user asked for.
        classes: the classes of this training.

    Raises:
        ValueError: a file exists, and it has other classes, or is not a model of this package.
    """
    checkpoints = config.checkpoints
    if config.output.overwrite or (config.is_run and not checkpoints.resume):
        return  # the files may go; or the run's folder is taken only if it holds none
    names = [run_files.ARTIFACT, run_files.WEIGHTS]
    if checkpoints.checkpoint_every and not checkpoints.resume:  # else it is compared when read
        names.append(run_files.CHECKPOINT)
    advice = "keep it with --run NAME or --out DIR, or replace it with --overwrite"
    if config.is_run:
        advice = "choose another --run NAME, or start again with --overwrite instead of --resume"
    there = (config.output.out / run_files.WEIGHTS).is_file()
    with status("loading torch") if there else nullcontext():  # torch reads weights
        check_replaced([config.output.out / name for name in names], classes, "training", advice)


def check_run_folder(config: TrainConfig) -> None:
    """See whether the run may have its folder; nothing is changed.

    Raises:
        ImportError: matplotlib, which draws in it, is missing.
        RunError: it may not.
    """
    if config.is_run:
        need("matplotlib", "train --run")
        run_files.check_run(
            config.output.out, resume=config.checkpoints.resume, overwrite=config.output.overwrite
        )


def first_refusal(*checks: Callable[[], None]) -> str:
    """Run checks on the first rank, before the ranks have joined.

    Returns:
        The message of the first check that fails, for `refuse_together`; "" on other ranks.

    Raises:
        ValueError, OSError: a check failed, and this process trains alone.
    """
    if not is_first_process():
        return ""
    for check in checks:
        try:
            check()
        except (ValueError, OSError, ImportError) as error:
            if "WORLD_SIZE" not in os.environ:  # no other process is waiting
                raise
            return str(error)
    return ""


def refuse_together(refusal: str, ranks: "DistributedContext") -> None:
    """End every rank if the first one was refused; all ranks call this together.

    Raises:
        ValueError: on the first rank, with the refusal.
        SystemExit: on the others, with code 2.
    """
    refusal = ranks.broadcast_bytes(refusal.encode(errors="surrogateescape")).decode(
        errors="surrogateescape"
    )
    if not refusal:
        return
    if ranks.is_main_process:
        raise ValueError(refusal)
    sys.exit(2)
