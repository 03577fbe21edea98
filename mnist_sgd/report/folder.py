"""The folder of a run: what its files are called, and when a name may be taken.

Each file of a run's folder is written whole, so a crash leaves what was finished until then, and
nothing half. `config.json` comes first, after the first batch, and makes a folder a run; until
then an older run of its name is as it was. `report.html` comes last, so a run without it is not
finished. A finished run that is resumed loses it, and what else tells of the weights of its end,
after the first batch.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mnist_sgd._files import atomic_write
from mnist_sgd.data.pictures.outputs import CONFIG, PLOTS, RUN_FORMAT, RUNS, is_run, is_unused

__all__ = [
    "ARTIFACT",
    "CHECKPOINT",
    "CONFIG",
    "ENVIRONMENT",
    "EVALUATION",
    "FORMAT",
    "MODEL_CARD",
    "PICTURES",
    "PLOTS",
    "REPORT",
    "UNEXPORTED",
    "WEIGHTS",
    "RunError",
    "check_run",
    "clear_run",
    "create_run",
    "is_finished",
    "is_run",
    "mark_unfinished",
    "run_path",
    "write_json",
]

ENVIRONMENT, EVALUATION = "environment.json", "evaluation.json"
HISTORY, EPOCHS, BATCHES = "history.json", "history.csv", "batches.csv"
PICTURES = "pictures.csv"
WEIGHTS, ARTIFACT, CHECKPOINT = "model.safetensors", "model.onnx", "checkpoint.safetensors"
UNEXPORTED = "model-not-exported.safetensors"
"""The weights of a training whose export has failed, next to an older model that stays."""
MODEL_CARD, REPORT = "MODEL_CARD.md", "report.html"

FILES = (
    *(
        EVALUATION,
        PICTURES,
        HISTORY,
        EPOCHS,
        BATCHES,
        WEIGHTS,
        ARTIFACT,
        UNEXPORTED,
        CHECKPOINT,
        MODEL_CARD,
        REPORT,
    ),
    *(ENVIRONMENT, CONFIG),
)

_ENDS = (WEIGHTS, ARTIFACT, REPORT)
"""Any of these is there only if a training has come to its end."""

FORMAT = RUN_FORMAT


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
    return Path(RUNS) / name


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


def check_run(
    folder: str | os.PathLike[str], *, resume: bool = False, overwrite: bool = False
) -> None:
    """See whether a run may take a folder; nothing is changed.

    Args:
        folder: does not exist or is unused, unless one of the others is given.
        resume: a run's folder may be there, with a checkpoint or before the end of its training.
        overwrite: a run's folder may be there.

    Raises:
        RunError: it exists and is not allowed to, or is no run's; or there is nothing to resume.
    """
    path = Path(folder)
    if not path.is_symlink() and (not path.exists() or is_unused(path)):
        return
    if not is_run(path):
        raise RunError(f"{path} exists and is not a run's folder; choose another name")
    can_resume = (path / CHECKPOINT).is_file()
    if not (resume or overwrite):
        ways = "go on with it (--resume), " if can_resume else ""
        raise RunError(f"{path} exists; {ways}begin it anew (--overwrite), or choose another name")
    if resume and not can_resume and any((path / name).exists() for name in _ENDS):
        raise RunError(
            f"{path} has finished without a checkpoint, so there is nothing to resume; begin it "
            "anew (--overwrite), or choose another name"
        )


def create_run(
    folder: str | os.PathLike[str], *, resume: bool = False, overwrite: bool = False
) -> Path:
    """Make a run's folder, or take one that is there as the caller allows.

    The files of an older run stay: `clear_run` removes them, once the new run has something.

    Args:
        folder: as `check_run` says; its parents are made.
        resume: as `check_run` says.
        overwrite: as `check_run` says.

    Returns:
        The folder.

    Raises:
        RunError: see `check_run`.
        OSError: it cannot be made.
    """
    path = Path(folder)
    check_run(path, resume=resume, overwrite=overwrite)
    path.mkdir(parents=True, exist_ok=True)
    return path


def clear_run(folder: Path, keep: Sequence[str] = ()) -> None:
    """Remove the files of a run, but for `config.json`, which whoever begins a new one replaces.

    So the folder stays a run's, whatever happens on the way.

    Args:
        folder: of a run.
        keep: names of other files that stay.

    Raises:
        OSError: a file cannot be removed.
    """
    mark_unfinished(folder)  # first of all
    for plot in (folder / PLOTS).glob("*.svg"):
        plot.unlink()
    with suppress(OSError):  # it is not there, or holds something else
        (folder / PLOTS).rmdir()
    for name in FILES:
        if name != CONFIG and name not in keep:
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
