"""Whether a training will be able to write its files, found out before its first batch."""

import argparse
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp

from mnist_sgd.report import folder as run_files

__all__ = ["check_places", "own_files"]


def own_files(args: argparse.Namespace) -> list[Path]:
    """The files that a training writes into its folder."""
    if args.name is not None:
        return [args.out / name for name in run_files.FILES]
    names = [run_files.ARTEFACT, run_files.WEIGHTS]
    if args.checkpoint_every or args.resume:
        names.append(run_files.CHECKPOINT)
    return [args.out / name for name in names]


def check_places(args: argparse.Namespace) -> None:
    """Try every place that the arguments let a training write to, and leave nothing there.

    Raises:
        ValueError: a file cannot be written; the message names it and the option to change.
    """
    advice = "choose another folder with --out DIR"
    if args.name is not None:
        advice = "start in another folder, or take --out DIR in place of --run NAME"
        for folder in (args.out, args.out / run_files.PLOTS):
            _check(folder, _check_folder, advice)
    for file in own_files(args):
        _check(file, _check_file, advice)
    if args.csv is not None:
        _check(args.csv, _check_file, "choose another file with --csv FILE")
    if args.tensorboard is not None:
        advice = "choose another folder with --tensorboard FOLDER"
        _check(args.tensorboard, _check_folder, advice)


def _check(path: Path, check: Callable[[Path], None], advice: str) -> None:
    try:
        check(path)
    except OSError as error:
        at = "" if error.filename in (None, str(path)) else f"{error.filename}: "
        reason = error.strerror or str(error)
        raise ValueError(f"{path} cannot be written: {at}{reason}; {advice}") from error


def _check_file(path: Path) -> None:
    """Raise the OSError that writing a file, under another name first, would meet."""
    if path.is_dir():
        raise OSError(None, "it is a folder", str(path))
    if path.exists() and not path.is_file():  # a pipe or a device is not replaced
        if not os.access(path, os.W_OK):
            raise OSError(None, "Permission denied", str(path))
        return
    final = Path(os.path.realpath(path)) if path.is_symlink() else path
    _check_folder(final.parent, final)


def _check_folder(folder: Path, file: Path = Path("a")) -> None:
    """Raise the OSError that making a folder, and writing a file in it, would meet."""
    there = folder
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise OSError(None, "it is not a folder", str(there))
    prefix = f".{file.stem}." if there == folder else ".a."
    try:
        descriptor, name = mkstemp(file.suffix, prefix, there)
    except OSError as error:
        where = str(file) if there == folder else str(there)
        raise OSError(error.errno, error.strerror, where) from error
    with suppress(FileNotFoundError):
        os.close(descriptor)
        os.unlink(name)
