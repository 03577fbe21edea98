"""`report.html`: a run on one page, in one file that loads nothing."""

from mnist_sgd.report import folder as files
from mnist_sgd.report.chart import plural
from mnist_sgd.report.html import render
from mnist_sgd.report.interpretability import SHOWN, probability
from mnist_sgd.report.model_card import data_licence, limits, summary
from mnist_sgd.report.report_data import ReportData


def report_page(run: ReportData) -> str:
    """Render the page of a finished run."""
    negative, positive = classes = run.metadata.classes
    return render(
        "report.html",
        run=run,
        title=f"{run.name}: {positive} or {negative}?",
        summary=summary(run),
        classes=classes,
        predicted_as=[f"predicted {name}" for name in classes],
        confusion=_confusion(run),
        confusion_caption="Confusion matrix: how many images of each class were predicted as each "
        f"class, at the threshold {run.metadata.threshold:g}.",
        files=_files(run),
        images=plural(len(run.predictions.dataset), "validation picture"),
        epochs=[
            [str(epoch), *(f"{value:.6f}" for value in values)]
            for epoch, values in enumerate(run.history.epochs)
        ],
        artifact=files.ARTIFACT,
        links=(files.ARTIFACT, files.WEIGHTS, files.MODEL_CARD, files.EVALUATION),
        limits=limits(run),
        licence=data_licence(run),
        settings=_settings(run),
    )


def _confusion(run: ReportData) -> list[list[str]]:
    """The confusion matrix, each count with its fraction of the class."""
    rows = []
    for name, counts in zip(run.metadata.classes, run.evaluation.counts.matrix, strict=True):
        total = sum(counts)
        cells = [f"{count:,}" + (f" ({count / total:.1%})" if total else "") for count in counts]
        rows.append([f"is {name}", *cells])
    return rows


def _files(run: ReportData) -> list[list[str]]:
    """The files of the misclassified images that are shown, in their order."""
    data, classes = run.predictions.dataset, run.metadata.classes
    if not data.files:
        return []
    return [
        [
            str(i),
            data.files[i],
            f"is {classes[int(data.labels[i])]}",
            probability(run.predictions, i),
        ]
        for i in run.predictions.misclassified[:SHOWN]
    ]


def _settings(run: ReportData) -> dict[str, object]:
    """How the model was made, with those arguments that were given or have a value."""
    arguments = run.config["arguments"].items()
    return {
        "Data": run.config["data"],
        "Settings": run.config["resolved"],
        "Arguments": {name: value for name, value in arguments if value not in (None, False)},
        "Environment": run.environment,
    }
