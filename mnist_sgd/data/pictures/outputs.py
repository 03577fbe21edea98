"""What this package writes, told from a user's own files: models, runs and logs.

A folder of pictures may be the folder that one works in, so that runs and models lie next to the
classes. They are no classes and no misplaced pictures.
"""

import json
import os
from contextlib import suppress
from pathlib import Path

from mnist_sgd._names import is_ignored

__all__ = [
    "CONFIG",
    "PLOTS",
    "RUNS",
    "RUN_FORMAT",
    "is_history",
    "is_output",
    "is_run",
    "is_unused",
]

CONFIG, PLOTS, RUNS = "config.json", "plots", "runs"

RUN_FORMAT = 1
"""Of the folder of a run, in its `config.json`."""

_MODELS = (".onnx", ".safetensors", ".pt", ".pt2")
_EVENTS = "events.out.tfevents."
_TABLE = b"epoch,train_loss,valid_loss"
"""What `train --csv` begins with."""


def is_run(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is that of a run, finished or not."""
    try:
        content = json.loads((Path(folder) / CONFIG).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("run_format") == RUN_FORMAT


def is_unused(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is empty, or holds empty plots alone, as of a run that has not begun."""
    path = Path(folder)
    if not path.is_dir():
        return False
    left = [each for each in path.iterdir() if each.name != PLOTS or not _is_empty(each)]
    return not left


def is_output(path: str | os.PathLike[str]) -> bool:
    """Whether a file or a folder is one that this package writes.

    A file is, if it is a model, a checkpoint or a log of `train`. A folder is, if it is that of a
    run, or holds such files and folders alone; one picture in it makes it a class.
    """
    if not os.path.isdir(path):
        return _is_output_file(os.fspath(path))
    if is_run(path):
        return True
    may_be_unused = os.path.basename(os.path.abspath(path)) == RUNS
    some = False
    with suppress(OSError), os.scandir(path) as entries:
        for entry in entries:
            if is_ignored(entry.name):
                continue
            if not (is_output(entry.path) or (may_be_unused and is_unused(entry.path))):
                return False
            some = True
        return some
    return False


def is_history(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as the table that `train --csv` writes."""
    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            return file.read(len(_TABLE)) == _TABLE
    except OSError:
        return False


def _is_output_file(path: str) -> bool:
    name = os.path.basename(path)
    if name.lower().endswith(_MODELS) or name.startswith(_EVENTS):
        return True
    return name.lower().endswith(".csv") and is_history(path)


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())
