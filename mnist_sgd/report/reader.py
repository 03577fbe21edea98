"""Read run folders."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_sgd._names import near_path
from mnist_sgd.report import folder as files
from mnist_sgd.report.folder import RunError
from mnist_sgd.report.mistakes import Mistakes, read_mistakes
from mnist_sgd.report.validation_pictures import LabelledPicture, read_pictures

EVALUATED = ("accuracy", "errors", "valid_loss", "auc", "artefact_bytes")
"""The metrics that are compared."""

_NUMBER = (int, float, type(None))
"""Types of a metric in JSON, where NaN and infinities are null."""


@dataclass(frozen=True)
class RunRecord:
    """The contents of a run folder.

    Attributes:
        path: of the folder, as given.
        config, environment: contents of their files.
        history: `epochs`, a list of dicts of train_loss, valid_loss and metrics; `ends`; `batches`.
        evaluation: content of its file; None if the run is not finished.
        pictures: validation pictures; empty if unknown.
        mistakes: misclassified ones; None if unknown, as in runs of earlier versions.
    """

    path: Path
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    history: Mapping[str, Any]
    evaluation: Mapping[str, Any] | None
    pictures: Sequence[LabelledPicture] = ()
    mistakes: Mistakes | None = None

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.path.resolve().name

    def curve(self, name: str) -> list[float]:
        """A number of each epoch, such as `valid_loss`; NaN for null and where it is missing."""
        values = (epoch.get(name) for epoch in self.history["epochs"])
        return [float("nan") if value is None else float(value) for value in values]


def read_run(folder: str | os.PathLike[str]) -> RunRecord:
    """Read a run, finished or not.

    Raises:
        RunError: the folder is missing or not a run, or a file in it is damaged or incomplete; the
            message names it.
    """
    path = Path(folder)
    if not path.is_dir():
        raise RunError(f"{path}: {_what_it_is(path)}")
    config = _read(path / files.CONFIG)
    if config is None or config.get("run_format") != files.FORMAT:
        raise RunError(
            f"{path}: not a run's folder: {files.CONFIG} is "
            f"{'missing' if config is None else 'of something else'}"
        )
    run = RunRecord(
        path,
        config,
        _read(path / files.ENVIRONMENT) or {},
        _read(path / files.HISTORY) or {"epochs": [], "ends": [], "batches": {}},
        _read(path / files.EVALUATION),
        _pictures(path / files.PICTURES),
        _mistakes(path / files.MISTAKES),
    )
    _check(run)
    return run


def _what_it_is(path: Path) -> str:
    """Say why a path is not a folder."""
    if path.exists():
        return "it is a file, not a folder"
    if path.is_symlink():
        return f"it is a link to {os.readlink(path)}, which is not there"
    return f"there is no such folder{near_path(path)}"


def _read(path: Path) -> dict[str, Any] | None:
    """Read an object from a JSON file; None if there is no file."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise RunError(f"{path}: not a JSON object")
    return content


def _pictures(path: Path) -> list[LabelledPicture]:
    try:
        return read_pictures(path)
    except FileNotFoundError:  # not stored as files, or an older run
        return []
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise RunError(f"{path}: {error}") from error


def _mistakes(path: Path) -> Mistakes | None:
    try:
        return read_mistakes(path)
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise RunError(f"{path}: {error}") from error


def _check(run: RunRecord) -> None:
    """Check that a run has what a comparison needs, with the right types."""
    config = run.path / files.CONFIG
    resolved = _member(config, run.config, "resolved", (dict,))
    for name in ("model", "loss"):
        _member(config, resolved, name, (str,))
    data = _member(config, run.config, "data", (dict,))
    for part in data:
        facts = _member(config, data, part, (dict,))
        _member(config, facts, "fingerprint", (str,))
        _member(config, facts, "classes", (dict,))
    history = run.path / files.HISTORY
    for epoch in _member(history, run.history, "epochs", (list,)):
        for name in ("train_loss", "valid_loss"):
            _member(history, epoch if isinstance(epoch, dict) else {}, name, _NUMBER)
    for name in EVALUATED:
        if run.evaluation is not None and name in run.evaluation:
            _member(run.path / files.EVALUATION, run.evaluation, name, _NUMBER)
    if "training_seconds" in run.environment:
        _member(run.path / files.ENVIRONMENT, run.environment, "training_seconds", _NUMBER)


def _member(path: Path, facts: Mapping[str, Any], name: str, kinds: tuple[type, ...]) -> Any:
    """Return a member of an object.

    Raises:
        RunError: it is missing or has the wrong type.
    """
    if name not in facts:
        raise RunError(f"{path}: it lacks {name!r}")
    value = facts[name]
    if not isinstance(value, kinds) or isinstance(value, bool) or _is_huge(value):
        raise RunError(f"{path}: {name!r} cannot be {json.dumps(value)[:40]}")
    return value


def _is_huge(value: object) -> bool:
    """Whether it is an integer too large for a float."""
    return isinstance(value, int) and abs(value) > 2**1000
