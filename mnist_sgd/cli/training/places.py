"""Whether a training will be able to write its files, found out before its first batch."""

import argparse
from pathlib import Path

from mnist_sgd.cli.options.places import check_place, readable_file, writable_file, writable_folder
from mnist_sgd.cli.options.run_files import check_not_a_runs_file
from mnist_sgd.data.pictures.outputs import is_history, is_run
from mnist_sgd.report import folder as run_files

__all__ = ["check_places", "own_files"]

CSV, TENSORBOARD = (
    "choose another file with --csv FILE",
    "choose another folder with --tensorboard FOLDER",
)


def own_files(args: argparse.Namespace) -> list[Path]:
    """The files that a training writes into its folder."""
    if args.name is not None:
        return [args.out / name for name in run_files.FILES]
    names = [run_files.ARTIFACT, run_files.WEIGHTS, run_files.UNEXPORTED]
    if args.checkpoint_every or args.resume:
        names.append(run_files.CHECKPOINT)
    return [args.out / name for name in names]


def check_places(args: argparse.Namespace) -> None:
    """Try every place that the arguments let a training write to, and leave nothing there.

    Raises:
        ValueError: a file cannot be written, or would lie where it does harm: among the pictures
            of a class, or in the folder of a run that it is not of. The message names it and the
            option to change.
    """
    advice = "choose another folder with --out DIR"
    if args.name is not None:
        advice = "start in another folder, or take --out DIR in place of --run NAME"
        for folder in (args.out, args.out / run_files.PLOTS):
            check_place(folder, writable_folder, advice)
    elif is_run(args.out):
        raise ValueError(
            f"{args.out} is the folder of a run, whose report would not tell of the new model; "
            f"{advice}, or train a run with --run NAME"
        )
    for file in own_files(args):
        check_place(file, readable_file, advice)
    if args.csv is not None:
        check_place(args.csv, writable_file, CSV)
        check_not_a_runs_file(args.csv, "--csv")
        if args.csv.is_file() and args.csv.stat().st_size and not is_history(args.csv):
            raise ValueError(
                f"{args.csv} is another file, not the table of an earlier training; {CSV}"
            )
    if args.tensorboard is not None:
        check_place(args.tensorboard, writable_folder, TENSORBOARD)
    if args.data is not None:
        _check_not_among_pictures(args, advice)


def _check_not_among_pictures(args: argparse.Namespace, advice: str) -> None:
    """Refuse what the next training on the same folder would take for one of its pictures."""
    from mnist_sgd.data.pictures.split_folders import (
        class_folders,  # here: every command imports this module
    )

    places = [(args.out, advice), (args.csv, CSV), (args.tensorboard, TENSORBOARD)]
    classes = [(Path(each), Path(each).resolve()) for each in class_folders(str(args.data))]
    for place, change in places:
        if place is None:
            continue
        real = place.resolve()
        for shown, folder in classes:
            if real.is_relative_to(folder):
                raise ValueError(
                    f"{place} lies in {shown}, which is the folder of a class of --data "
                    f"{args.data}; {change}"
                )
