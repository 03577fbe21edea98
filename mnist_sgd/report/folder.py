"""The folder of a run: what its files are called, and when a name may be taken.

A run's folder is made before training begins and each of its files is written whole, so a crash
leaves what was finished until then, and nothing half. `config.json` comes first and makes a folder
a run; `report.html` comes last, so a run without it is not finished. A finished run that is resumed
loses it, and what else tells of the weights of its end, before the first batch.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnist_sgd._files import atomic_write

__all__ = [
    "ARTEFACT",
    "CHECKPOINT",
    "CONFIG",
    "ENVIRONMENT",
    "EVALUATION",
    "MODEL_CARD",
    "PICTURES",
    "REPORT",
    "WEIGHTS",
    "RunError",
    "create_run",
    "is_finished",
    "is_run",
    "mark_unfinished",
    "run_path",
    "write_json",
]

CONFIG, ENVIRONMENT, EVALUATION = "config.json", "environment.json", "evaluation.json"
HISTORY, EPOCHS, BATCHES = "history.json", "history.csv", "batches.csv"
PICTURES = "pictures.csv"
WEIGHTS, ARTEFACT, CHECKPOINT = "model.safetensors", "model.onnx", "checkpoint.safetensors"
MODEL_CARD, REPORT = "MODEL_CARD.md", "report.html"
PLOTS = "plots"

FILES = (
    *(
        EVALUATION,
        PICTURES,
        HISTORY,
        EPOCHS,
        BATCHES,
        WEIGHTS,
        ARTEFACT,
        CHECKPOINT,
        MODEL_CARD,
        REPORT,
    ),
    *(ENVIRONMENT, CONFIG),  # the last one that --overwrite removes, so that it stays a run
)

FORMAT = 1
"""Of the folder, in `config.json`."""


class RunError(ValueError):
    """A folder is not a run, or may not become one; the message names it."""


def run_path(name: str) -> Path:
    """The folder of the run `name`, `runs/NAME` in the current one.

    Raises:
        RunError: the name is not letters, digits, dots, hyphens and underscores, or begins with
            one of the signs.
    """
    if not re.fullmatch(r"[^\W_][\w.-]*", name):
        raise RunError(
            f"a run's name is letters, digits, '.', '-' and '_', a letter or digit first; "
            f"got {name!r}"
        )
    return Path("runs") / name


def is_run(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is that of a run, finished or not."""
    try:
        content = json.loads((Path(folder) / CONFIG).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("run_format") == FORMAT


def is_finished(folder: str | os.PathLike[str]) -> bool:
    """Whether a run's folder has all that a run leaves."""
    return (Path(folder) / REPORT).is_file()


def mark_unfinished(folder: Path) -> None:
    """Remove the files that describe the weights of a run's end, if it had one: the report first.

    The model's own files stay until there are new ones.

    Raises:
        OSError: a file cannot be removed.
    """
    for name in (REPORT, MODEL_CARD, EVALUATION):
        (folder / name).unlink(missing_ok=True)


def create_run(
    folder: str | os.PathLike[str], *, resume: bool = False, overwrite: bool = False
) -> Path:
    """Make a run's folder, or take one that is there as the caller allows.

    Args:
        folder: does not exist or is empty, unless one of the others is given; its parents are
            made.
        resume: a run's folder may be there, and all of its files stay.
        overwrite: a run's folder may be there; the files of the run are removed, any other stays.

    Returns:
        The folder.

    Raises:
        RunError: it exists and is not allowed to, or is no run's.
        OSError: it cannot be made, or a file cannot be removed.
    """
    path = Path(folder)
    if path.is_symlink() or (path.exists() and not _is_empty(path)):
        if not (resume or overwrite):
            raise RunError(
                f"{path} exists; go on with it (--resume), begin it anew (--overwrite), or choose "
                "another name"
            )
        if not is_run(path):
            raise RunError(f"{path} exists and is not a run's folder; choose another name")
        if overwrite:
            _remove_files(path)
    path.mkdir(parents=True, exist_ok=True)
    return path


def _is_empty(path: Path) -> bool:
    """Whether a path is an empty folder, as a run leaves that dies before its first batch."""
    return path.is_dir() and not any(path.iterdir())


def _remove_files(folder: Path) -> None:
    mark_unfinished(folder)  # first of all
    for plot in (folder / PLOTS).glob("*.svg"):
        plot.unlink()
    for name in FILES:
        (folder / name).unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object as a whole JSON file, readable, numbers that JSON has not as null.

    Raises:
        OSError: the file cannot be written.
    """
    text = json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False)
    # Of a name that is not UTF-8 this makes the escapes that JSON has for it.
    atomic_write(path, f"{text}\n".encode(errors="backslashreplace"))


def _plain(value: Any) -> Any:
    """The same without NaN and infinities."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value
