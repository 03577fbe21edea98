"""The model that is there already: a training replaces it if it is of the same task.

The task is told by the classes: the same two, whichever is the positive one, make it the same task.
"""

import argparse
from pathlib import Path

from mnist_sgd.report import folder as run_files

__all__ = ["check_earlier_model"]


def check_earlier_model(args: argparse.Namespace, classes: tuple[str, ...]) -> None:
    """Refuse to replace the files of another task's model.

    Args:
        args: of the command, with the folder for its files as `out`.
        classes: that the training is about.

    Raises:
        ValueError: a file is there, and it has other classes, or is not a model of this package.
    """
    if args.overwrite or (args.name is not None and not args.resume):
        return  # the files may go; or the run's folder is taken only if it holds none
    for name, read in ((run_files.ARTEFACT, _artefact), (run_files.WEIGHTS, _weights)):
        path = args.out / name
        if not path.exists():
            continue
        try:
            found = read(path)
        except (ValueError, OSError) as error:
            raise ValueError(
                f"{error}; the training does not replace what it cannot read: {_advice(args)}"
            ) from error
        if set(found) != set(classes):
            raise ValueError(
                f"{path} is a model of {_names(found)}, and would be replaced by one of "
                f"{_names(classes)}; {_advice(args)}"
            )


def _artefact(path: Path) -> tuple[str, ...]:
    from mnist_sgd_serve.artefact import load_artefact

    return load_artefact(path).metadata.classes


def _weights(path: Path) -> tuple[str, ...]:
    from mnist_sgd.weights import read_weights

    return read_weights(path)[1].classes


def _names(classes: tuple[str, ...]) -> str:
    return f"{', '.join(classes[:-1])} and {classes[-1]}"


def _advice(args: argparse.Namespace) -> str:
    if args.name is not None:
        return "choose another --run NAME, or begin anew with --overwrite instead of --resume"
    return "keep it with --run NAME or --out DIR, or replace it with --overwrite"
