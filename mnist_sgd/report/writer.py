"""Writing a run: everything that tells what a trained model is, in one folder.

    learn.fit(10, lr=1.0)
    write_run(learn, "runs/first")

Each file is written whole. The same run gives the same bytes; only the seconds of its training, in
`environment.json` and on the page, differ between two of them.
"""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_sgd._files import atomic_write
from mnist_sgd._lock import one_writer
from mnist_sgd.evaluation.refused import accuracy, all_pictures
from mnist_sgd.report import folder as files
from mnist_sgd.report.answers import Answers, file_name
from mnist_sgd.report.chart import Chart
from mnist_sgd.report.facts import configuration, environment
from mnist_sgd.report.findings import Findings, gather
from mnist_sgd.report.markup import utf8
from mnist_sgd.report.model_card import card
from mnist_sgd.report.page import page
from mnist_sgd.report.pair import save_pair
from mnist_sgd.report.validation_pictures import write_pictures

if TYPE_CHECKING:
    from mnist_sgd.training.learner import Learner

__all__ = ["finish_run", "write_run"]

WORST = 100
"""Mistakes that `evaluation.json` names, the surest first."""


def write_run(
    learn: "Learner",
    folder: str | os.PathLike[str],
    config: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Make a folder of all that is known of a trained model; of several ranks the first writes.

    Args:
        learn: after its last fit.
        folder: is made; it must not be there, or be empty.
        config: what the run was asked to do, kept in `config.json` beside what it came to;
            anything that JSON can hold, and paths, of which absolute ones lose their folders.
        overwrite: the folder may be there if it is a run's, whose files are then replaced, once
            the new model is verified.

    Returns:
        The page, `report.html` in the folder.

    Raises:
        RunError: the folder is there, and may not be or is not a run's.
        FolderInUseError: another process writes there.
        ExportError: the artifact does not answer as the model does.
        OSError: a file cannot be written.
        TypeError: the validation batches do not come from this package's DataLoader.
    """
    path = Path(folder)
    if learn.ranks.is_main_process:
        with one_writer(path, warnings.warn):
            files.create_run(path, overwrite=overwrite)
            if not files.is_run(path):
                files.write_json(path / files.CONFIG, configuration(learn, config or {}))
            save_pair(learn, path)
            files.clear_run(path, keep=(files.WEIGHTS, files.ARTIFACT))
            finish_run(learn, path, config or {})
    return path / files.REPORT


def finish_run(
    learn: "Learner", folder: Path, config: Mapping[str, Any], seconds: float | None = None
) -> Path:
    """Write what is known after a training; the weights and the artifact are there already.

    Args:
        learn: after its fit.
        folder: of the run.
        config: what the run was asked to do.
        seconds: that the training took; None where nobody looked.

    Returns:
        The page, which is written last.

    Raises:
        OSError: a file cannot be written.
        TypeError: the validation batches do not come from this package's DataLoader.
    """
    facts, surroundings = configuration(learn, config), environment(learn, seconds)
    files.write_json(folder / files.CONFIG, facts)
    files.write_json(folder / files.ENVIRONMENT, surroundings)
    if learn.ranks.world_size == 1:  # several read them together, and did after the last epoch
        learn.recorder.read_losses()
    run = gather(learn, folder, facts, surroundings)
    lost = _written_history(run, folder)
    files.write_json(folder / files.EVALUATION, _evaluation(run))
    _write_charts(run.charts, folder / files.PLOTS)
    write_pictures(folder, run.answers.dataset)
    atomic_write(folder / files.MODEL_CARD, utf8(card(run)))
    atomic_write(folder / files.REPORT, utf8(page(run)))
    if lost is not None:
        raise lost
    return folder / files.REPORT


def _written_history(run: Findings, folder: Path) -> OSError | None:
    """Write the history; what that meets is raised later, for it ends nothing else."""
    try:
        run.history.write(folder)
    except OSError as error:
        return error
    return None


def _write_charts(charts: list[Chart], folder: Path) -> None:
    """Write the charts; remove those of an earlier end of the run, and what killed writers left."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.svg"):
        if old.stem not in [chart.name for chart in charts]:
            old.unlink()
    for chart in charts:
        atomic_write(folder / f"{chart.name}.svg", utf8(chart.svg))


def _evaluation(run: Findings) -> dict[str, Any]:
    """The figures for other programs; the curves follow from the artifact and the data."""
    figures = run.evaluation.as_dict()
    for curve in ("roc", "precision_recall"):
        del figures[curve]
    return {
        "images": all_pictures(run.answers.dataset),
        "refused": run.answers.dataset.refused,
        "classes": run.metadata.classes,
        "errors": len(run.answers.mistakes),
        **_worst_mistakes(run.answers),
        "valid_loss": run.valid_loss,
        "kept_epoch": run.kept_epoch,
        "artefact_bytes": run.artifact_size,
        **figures,
        "accuracy": accuracy(run.evaluation, run.answers.dataset),
    }


def _worst_mistakes(answers: Answers) -> dict[str, Any]:
    """The pictures that they were; or their rows, in which files; or their places in the set."""
    worst, data = answers.mistakes[:WORST].tolist(), answers.dataset
    if data.files:
        return {"worst_mistakes": [data.files[i] for i in worst]}
    rows = [data.row_of(i) for i in worst]
    found: dict[str, Any] = {"worst_mistakes": [row for _, row in rows]}
    files = [file_name(file) for file, _ in rows]
    return found | ({"worst_mistakes_files": files} if any(files) else {})
