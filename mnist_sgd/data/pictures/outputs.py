"""Recognise what this package writes: models, runs and logs.

The folder of pictures may be the working folder, with runs and models next to the classes. These
are neither classes nor misplaced pictures.
"""

import json
import os
from contextlib import suppress
from pathlib import Path

from mnist_sgd._names import is_ignored

CONFIG, PLOTS, RUNS = "config.json", "plots", "runs"

REQUEST, STOP = "request.json", "stop"
"""What a training was asked to do, and the wish that it stops."""

_BEFORE_A_RUN = {REQUEST, STOP, "cancel", "run.lock", "train.log", "pictures.jsonl", "data"}
"""What the workbench puts into a folder before its run begins."""

RUN_FORMAT = 1
"""Format of a run folder, in its `config.json`."""

_MODELS = (".onnx", ".safetensors", ".pt", ".pt2")
_EVENTS = "events.out.tfevents."
_TABLE = b"epoch,train_loss,valid_loss"
"""The beginning of a table of `train --csv`."""


def is_run(folder: str | os.PathLike[str]) -> bool:
    """Tell whether a folder is a run, finished or not."""
    try:
        content = json.loads((Path(folder) / CONFIG).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("run_format") == RUN_FORMAT


def is_unused(folder: str | os.PathLike[str]) -> bool:
    """Tell whether a run may begin in a folder: it is empty, or holds only what comes before."""
    path = Path(folder)
    if not path.is_dir():
        return False
    return all(
        each.name in _BEFORE_A_RUN or (each.name == PLOTS and _is_empty(each))
        for each in path.iterdir()
    )


def is_output(path: str | os.PathLike[str]) -> bool:
    """Tell whether this package wrote a file or folder.

    Files: a model, a checkpoint or a log of `train`. Folders: a run, or one that holds nothing but
    such files and folders; a single picture makes it a class.
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
    """Tell whether a file is a table that `train --csv` wrote."""
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
