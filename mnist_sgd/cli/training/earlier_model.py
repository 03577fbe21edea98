"""The model that is there already: a training replaces it if it is of the same task.

The same goes for the checkpoint of a training that was interrupted.
"""

import argparse

from mnist_sgd.cli.options.replaced import check_replaced
from mnist_sgd.report import folder as run_files

__all__ = ["check_earlier_model"]


def check_earlier_model(args: argparse.Namespace, classes: tuple[str, ...]) -> None:
    """Refuse to replace the files of another task's model, or its checkpoint.

    Args:
        args: of the command, with the folder for its files as `out`.
        classes: that the training is about.

    Raises:
        ValueError: a file is there, and it has other classes, or is not a model of this package.
    """
    if args.overwrite or (args.name is not None and not args.resume):
        return  # the files may go; or the run's folder is taken only if it holds none
    names = [run_files.ARTIFACT, run_files.WEIGHTS]
    if args.checkpoint_every and not args.resume:  # else it stays, or is compared when it is read
        names.append(run_files.CHECKPOINT)
    check_replaced([args.out / name for name in names], classes, "training", _advice(args))


def _advice(args: argparse.Namespace) -> str:
    if args.name is not None:
        return "choose another --run NAME, or begin anew with --overwrite instead of --resume"
    return "keep it with --run NAME or --out DIR, or replace it with --overwrite"
