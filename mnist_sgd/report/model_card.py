"""The model card: what a model is, what it was trained on, how good it is, and its limits.

Its sections follow Mitchell et al., "Model Cards for Model Reporting", 2019, as far as they apply
to a small classifier.
"""

from mnist_sgd.evaluation.refused import accuracy, all_pictures, refused_text
from mnist_sgd.report.chart import decimals, plural
from mnist_sgd.report.folder import ARTIFACT, WEIGHTS
from mnist_sgd.report.html import markdown, render
from mnist_sgd.report.report_data import ReportData


def model_card(run: ReportData) -> str:
    """Render the card as Markdown."""
    at, data = run.evaluation, run.predictions.dataset
    negative, positive = map(markdown, run.metadata.classes)
    parts = {"train": "training", "valid": "validation"}
    answered = " that were not refused" if data.refused else ""
    metrics = {
        "accuracy": at.accuracy,
        "precision": at.precision,
        "recall": at.recall,
        "F1": at.f1,
        "area under the ROC curve": at.auc,
        "average precision": at.average_precision,
        "expected calibration error": at.expected_calibration_error,
    }
    return render(
        "model_card.md",
        run=run,
        negative=negative,
        positive=positive,
        summary=summary(run),
        artifact=ARTIFACT,
        weights=WEIGHTS,
        resolved=run.config["resolved"],
        data={parts[part]: facts for part, facts in run.config["data"].items()},
        images=f"{plural(len(data), 'validation image')}{answered}",
        metrics={name: decimals(value) for name, value in metrics.items()},
        matrix=at.counts.matrix,
        limits=limits(run),
        licence=data_licence(run),
    )


def summary(run: ReportData) -> str:
    """The run in two sentences."""
    negative, positive = run.metadata.classes
    data = run.predictions.dataset
    correct = len(data) - len(run.predictions.misclassified)
    epochs = plural(len(run.history.epochs), "epoch")
    trained = f"; it was trained for {epochs}" if run.kept_epoch is not None else ""
    return (
        f"This {run.metadata.model} model tells {positive} from {negative} on grey images of 28 by "
        f"28 pixels{trained}. It classifies {correct:,} of "
        f"{plural(all_pictures(data), 'validation image')} correctly "
        f"({accuracy(run.evaluation, data):.2%}{refused_text(data)})."
    )


def limits(run: ReportData) -> list[str]:
    """What the model is not for."""
    negative, positive = run.metadata.classes
    counts = run.config["data"]["valid"]["classes"]
    found = [
        f"It only knows {negative} and {positive}: any other picture is also predicted as one of "
        "them.",
        f"It was trained on images preprocessed with {run.metadata.preprocessing!r}; predict and "
        "the server preprocess other images in the same way.",
        "The metrics are for validation images from the same source as the training images; on "
        "other images they may be worse.",
    ]
    found += [
        f"No validation image is of the class {name!r}: how well the model recognises this class "
        "is unknown."
        for name, count in counts.items()
        if not count
    ]
    if run.kept_epoch not in (None, len(run.history.epochs) - 1):
        found.append(
            f"The weights are those of epoch {run.kept_epoch}, chosen with the validation images, "
            "so the metrics are slightly too good."
        )
    return found


def data_licence(run: ReportData) -> str:
    """The licence of the images, if it is known."""
    if all(part["name"].startswith("MNIST sample,") for part in run.config["data"].values()):
        return (
            "part of the MNIST database, copyright Yann LeCun and Corinna Cortes, under CC BY-SA "
            "3.0; reordered, two classes only."
        )
    return "under the licence of their source, which is not recorded."
