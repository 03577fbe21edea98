"""Reading the folders of runs again."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_sgd.report import folder as files
from mnist_sgd.report.folder import RunError

__all__ = ["RunRecord", "read_run"]


@dataclass(frozen=True)
class RunRecord:
    """What a run's folder tells.

    Attributes:
        path: of the folder, as it was given.
        config, environment: as in their files.
        history: `epochs`, a dict each of train_loss, valid_loss and the metrics; `ends`; `batches`.
        evaluation: as in its file; None while the run is not finished.
    """

    path: Path
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    history: Mapping[str, Any]
    evaluation: Mapping[str, Any] | None

    @property
    def name(self) -> str:
        """Of the folder."""
        return self.path.resolve().name

    def losses(self, name: str) -> list[float]:
        """`train_loss` or `valid_loss` of each epoch, NaN where it is not a number."""
        values = (epoch[name] for epoch in self.history["epochs"])
        return [float("nan") if value is None else float(value) for value in values]


def read_run(folder: str | os.PathLike[str]) -> RunRecord:
    """Read a run, finished or not.

    Raises:
        RunError: the folder is missing, is not a run's, or a file of it is damaged; the message
            names it.
    """
    path = Path(folder)
    if not path.is_dir():
        raise RunError(f"{path}: there is no such folder")
    config = _read(path / files.CONFIG)
    if config is None or config.get("run_format") != files.FORMAT:
        raise RunError(
            f"{path}: not a run's folder: {files.CONFIG} is "
            f"{'missing' if config is None else 'of something else'}"
        )
    nothing: dict[str, Any] = {"epochs": [], "ends": [], "batches": {}}
    return RunRecord(
        path,
        config,
        _read(path / files.ENVIRONMENT) or {},
        _read(path / files.HISTORY) or nothing,
        _read(path / files.EVALUATION),
    )


def _read(path: Path) -> dict[str, Any] | None:
    """The object of a JSON file; None if there is none."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise RunError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise RunError(f"{path}: not a JSON object")
    return content
