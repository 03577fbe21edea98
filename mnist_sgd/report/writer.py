"""Write the folder of a run: everything about a trained model.

    learn.fit(10, lr=1.0)
    write_run(learn, "runs/first")

Each file is written atomically. The same run gives the same bytes, except for the duration of the
training in `environment.json` and in the report.
"""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_sgd._files import atomic_write
from mnist_sgd._installed import need
from mnist_sgd._lock import one_writer
from mnist_sgd.evaluation.refused import accuracy, all_pictures
from mnist_sgd.report import folder as files
from mnist_sgd.report.chart import Chart
from mnist_sgd.report.examples import write_examples
from mnist_sgd.report.html import utf8
from mnist_sgd.report.mistakes import write_mistakes
from mnist_sgd.report.model_card import model_card
from mnist_sgd.report.pair import save_pair
from mnist_sgd.report.predictions import Predictions, file_name
from mnist_sgd.report.report_data import ReportData, gather
from mnist_sgd.report.report_page import report_page
from mnist_sgd.report.run_config import configuration, environment
from mnist_sgd.report.validation_pictures import write_pictures

if TYPE_CHECKING:
    from mnist_sgd.training.learner import Learner

WORST = 100
"""Maximum number of misclassified images listed in `evaluation.json`."""


def write_run(
    learn: "Learner",
    folder: str | os.PathLike[str],
    config: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write the folder of a run: model, settings, history, metrics, charts and report.

    With several ranks, only rank 0 writes.

    Args:
        learn: after its last fit.
        folder: folder to create; it must not exist or be empty.
        config: arguments of the run, stored in `config.json` next to the resolved settings; JSON
            types and paths, of which only the last component is kept if they are absolute.
        overwrite: allow an existing run; its files are replaced once the new model is verified.

    Returns:
        The report, `report.html` in the folder.

    Raises:
        RunError: the folder exists, and may not be replaced or is not a run.
        FolderInUseError: another process writes there.
        ExportError: the exported model differs from the trained one.
        ImportError: matplotlib is missing.
        OSError: a file cannot be written.
        TypeError: the validation batches do not come from this package's DataLoader.
    """
    need("matplotlib", "write_run")
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
    """Write everything except the weights and the artifact, which exist already.

    Args:
        learn: after its fit.
        folder: of the run.
        config: arguments of the run.
        seconds: duration of the training; None if not measured.

    Returns:
        The report, which is written last.

    Raises:
        OSError: a file cannot be written.
        TypeError: the validation batches do not come from this package's DataLoader.
    """
    settings, surroundings = configuration(learn, config), environment(learn, seconds)
    files.write_json(folder / files.CONFIG, settings)
    files.write_json(folder / files.ENVIRONMENT, surroundings)
    if learn.ranks.world_size == 1:  # several ranks have done so together after the last epoch
        learn.recorder.read_losses()
    run = gather(learn, folder, settings, surroundings)
    history_error = None
    try:
        run.history.write(folder)
    except OSError as error:  # the other files are written first
        history_error = error
    files.write_json(folder / files.EVALUATION, _evaluation(run))
    _write_charts(run.charts, folder / files.PLOTS)
    write_pictures(folder, run.predictions.dataset)
    write_mistakes(folder, run.predictions, run.wrong)
    write_examples(folder, run.predictions.dataset, config.get("data"))
    atomic_write(folder / files.MODEL_CARD, utf8(model_card(run)))
    atomic_write(folder / files.REPORT, utf8(report_page(run)))
    if history_error is not None:
        raise history_error
    return folder / files.REPORT


def _write_charts(charts: list[Chart], folder: Path) -> None:
    """Write the charts, and remove older ones and temporary files of killed processes."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.svg"):
        if old.stem not in [chart.name for chart in charts]:
            old.unlink()
    for chart in charts:
        atomic_write(folder / f"{chart.name}.svg", utf8(chart.svg))


def _evaluation(run: ReportData) -> dict[str, Any]:
    """The metrics for programs, without the curves, which the artifact and the data determine."""
    metrics = run.evaluation.as_dict()
    for curve in ("roc", "precision_recall"):
        del metrics[curve]
    return {
        "images": all_pictures(run.predictions.dataset),
        "refused": run.predictions.dataset.refused,
        "classes": run.metadata.classes,
        "errors": len(run.predictions.misclassified),
        **_worst_mistakes(run.predictions),
        "valid_loss": run.valid_loss,
        "kept_epoch": run.kept_epoch,
        "artefact_bytes": run.artifact_size,
        **metrics,
        "accuracy": accuracy(run.evaluation, run.predictions.dataset),
    }


def _worst_mistakes(predictions: Predictions) -> dict[str, Any]:
    """The misclassified images: names of picture files, or rows with their files, or indices."""
    worst, data = predictions.misclassified[:WORST].tolist(), predictions.dataset
    if data.files:
        return {"worst_mistakes": [data.files[i] for i in worst]}
    rows = [data.row_of(i) for i in worst]
    found: dict[str, Any] = {"worst_mistakes": [row for _, row in rows]}
    files = [file_name(file) for file, _ in rows]
    return found | ({"worst_mistakes_files": files} if any(files) else {})
