"""The folder of a run: names of its files, and when it may be created or replaced.

Each file is written atomically, so a crash leaves only complete files. `config.json` is written
first, after the first batch, and marks the folder as a run; until then an older run of the same
name is unchanged. `report.html` is written last and marks the run as finished. Resuming a finished
run removes it, and the other files about the final weights, after the first batch.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mnist_sgd._files import atomic_write
from mnist_sgd.data.pictures.outputs import (
    CONFIG as CONFIG,
    PLOTS as PLOTS,
    REQUEST as REQUEST,
    RUN_FORMAT,
    RUNS,
    STOP as STOP,
    is_run as is_run,
    is_unused,
)

ENVIRONMENT, EVALUATION = "environment.json", "evaluation.json"
HISTORY, EPOCHS, BATCHES = "history.json", "history.csv", "batches.csv"
PROGRESS, EXIT = "progress.jsonl", "exit.json"
PICTURES, MISTAKES = "pictures.csv", "mistakes.json"
EXAMPLES = "examples"
"""Where the server looks for them, see `mnist_sgd_serve.model.examples`."""
WEIGHTS, ARTIFACT, CHECKPOINT = "model.safetensors", "model.onnx", "checkpoint.safetensors"
UNEXPORTED = "model-not-exported.safetensors"
"""Weights whose export has failed, next to an older model."""
MODEL_CARD, REPORT = "MODEL_CARD.md", "report.html"

FILES = (
    *(EVALUATION, PICTURES, MISTAKES, HISTORY, EPOCHS, BATCHES, WEIGHTS, ARTIFACT, UNEXPORTED),
    *(CHECKPOINT, MODEL_CARD, REPORT, ENVIRONMENT, CONFIG, PROGRESS, EXIT, STOP),
)

_ENDS = (WEIGHTS, ARTIFACT, REPORT)
"""Files that exist only after the end of a training."""

FORMAT = RUN_FORMAT


class RunError(ValueError):
    """A folder is not a run or cannot become one; the message names it."""


def run_path(name: str) -> Path:
    """Return the folder of a run, `runs/NAME` in the current folder.

    Raises:
        RunError: the name has characters other than letters, digits, dots, hyphens and
            underscores, or does not begin with a letter or digit.
    """
    if not re.fullmatch(r"[^\W_][\w.-]*", name):
        raise RunError(
            f"a run's name is letters, digits, '.', '-' and '_', a letter or digit first; "
            f"got {name!r}"
        )
    return Path(RUNS) / name


def is_finished(folder: str | os.PathLike[str]) -> bool:
    """Whether a run is finished."""
    return (Path(folder) / REPORT).is_file()


def mark_unfinished(folder: Path) -> None:
    """Remove the files about the final weights, the report first.

    The model files stay until they are replaced.

    Raises:
        OSError: a file cannot be removed.
    """
    for name in (REPORT, EXIT, MODEL_CARD, EVALUATION, MISTAKES):
        (folder / name).unlink(missing_ok=True)


def check_run(
    folder: str | os.PathLike[str], *, resume: bool = False, overwrite: bool = False
) -> None:
    """Check whether a run may use a folder, without changing anything.

    Args:
        folder: must not exist or be unused, unless `resume` or `overwrite` is set.
        resume: allow a run with a checkpoint, or one whose training has not ended.
        overwrite: allow an existing run.

    Raises:
        RunError: the folder may not be used, or there is nothing to resume.
    """
    path = Path(folder)
    if not path.is_symlink() and (not path.exists() or is_unused(path)):
        return
    if not is_run(path):
        raise RunError(f"{path} exists and is not a run's folder; choose another name")
    can_resume = (path / CHECKPOINT).is_file()
    if not (resume or overwrite):
        ways = "resume it (--resume), " if can_resume else ""
        raise RunError(f"{path} exists; {ways}replace it (--overwrite), or choose another name")
    if resume and not can_resume and any((path / name).exists() for name in _ENDS):
        raise RunError(
            f"{path} has finished without a checkpoint, so there is nothing to resume; replace "
            "it (--overwrite), or choose another name"
        )


def create_run(
    folder: str | os.PathLike[str], *, resume: bool = False, overwrite: bool = False
) -> Path:
    """Create a run's folder, or reuse one as the arguments allow.

    The files of an older run stay until `clear_run` removes them.

    Args:
        folder: see `check_run`; its parents are created.
        resume: see `check_run`.
        overwrite: see `check_run`.

    Returns:
        The folder.

    Raises:
        RunError: see `check_run`.
        OSError: the folder cannot be created.
    """
    path = Path(folder)
    check_run(path, resume=resume, overwrite=overwrite)
    path.mkdir(parents=True, exist_ok=True)
    return path


def clear_run(folder: Path, keep: Sequence[str] = ()) -> None:
    """Remove the files of a run except `config.json`, so that the folder remains a run.

    Args:
        folder: of a run.
        keep: names of other files to keep.

    Raises:
        OSError: a file cannot be removed.
    """
    mark_unfinished(folder)  # removes the report first
    remove_files(folder / PLOTS, "*.svg")
    remove_files(folder / EXAMPLES, "*.png")
    for name in FILES:
        if name != CONFIG and name not in keep:
            (folder / name).unlink(missing_ok=True)


def remove_files(folder: Path, pattern: str) -> None:
    """Remove the files of a folder that match a pattern, and the folder if it is empty then.

    Raises:
        OSError: a file cannot be removed.
    """
    for path in folder.glob(pattern):
        path.unlink()
    with suppress(OSError):  # it does not exist or holds other files
        folder.rmdir()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object as an indented JSON file, atomically, with NaN and infinities as null.

    Raises:
        OSError: the file cannot be written.
    """
    text = json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False)
    # A name that is not UTF-8 gets JSON escapes.
    atomic_write(path, f"{text}\n".encode(errors="backslashreplace"))


def plain(value: Any) -> Any:
    """Replace NaN and infinities, which JSON lacks, by None."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value
