"""The model card: what a model is, what it was made of, how good it is and where it ends.

Its sections are those of Mitchell et al., "Model Cards for Model Reporting", 2019, as far as a
small classifier has something to say under them.
"""

import re
from typing import Any

from mnist_sgd.evaluation.refused import accuracy, all_pictures, refused_text
from mnist_sgd.report.chart import plural
from mnist_sgd.report.findings import Findings
from mnist_sgd.report.folder import ARTIFACT, WEIGHTS

__all__ = ["card", "data_licence", "limits", "summary"]


def card(run: Findings) -> str:
    """The card as Markdown."""
    negative, positive = map(_plain, run.metadata.classes)
    matrix = run.evaluation.counts.matrix
    threshold = run.metadata.threshold
    return "\n".join(
        [
            f"# {_plain(run.name)}: {positive} or {negative}",
            "",
            _plain(summary(run)),
            "",
            "## Model",
            "",
            f"- `{ARTIFACT}`: {run.artifact_size:,} bytes; takes `image` uint8 [batch, 28, 28], "
            f"gives `probability` float32 [batch, 1] of {positive}. Normalisation and sigmoid are "
            "inside.",
            f"- `{WEIGHTS}`: the same weights for training on.",
            f"- An image is called {positive} if its probability is above {threshold:g}.",
            f"- An image of any size is preprocessed by the recipe `{run.metadata.preprocessing}`.",
            *_settings(run.config["resolved"]),
            "",
            "## Data",
            "",
            *_data(run.config["data"]),
            "",
            "## Figures",
            "",
            f"On the {plural(len(run.answers.dataset), 'validation image')}{_answered(run)}:",
            "",
            *(f"- {name}: {value}" for name, value in _figures(run).items()),
            "",
            f"| | called {negative} | called {positive} |",
            "| --- | ---: | ---: |",
            f"| is {negative} | {matrix[0][0]:,} | {matrix[0][1]:,} |",
            f"| is {positive} | {matrix[1][0]:,} | {matrix[1][1]:,} |",
            "",
            "## Limits",
            "",
            *(f"- {_plain(limit)}" for limit in limits(run)),
            "",
            "## Licence",
            "",
            f"- Weights: {run.metadata.licence}.",
            f"- Images: {data_licence(run)}",
            "",
        ]
    )


def summary(run: Findings) -> str:
    """The run in two sentences."""
    negative, positive = run.metadata.classes
    right = len(run.answers.dataset) - len(run.answers.mistakes)
    epochs = len(run.history.epochs)
    known = run.kept_epoch is not None
    trained = f"; it was trained for {plural(epochs, 'epoch')}" if known else ""
    data = run.answers.dataset
    return (
        f"This {run.metadata.model} model tells {positive} from {negative} on grey images of 28 by "
        f"28 pixels{trained}. It calls {right:,} of "
        f"{plural(all_pictures(data), 'validation image')} right "
        f"({accuracy(run.evaluation, data):.2%}{refused_text(data)})."
    )


def _answered(run: Findings) -> str:
    """Which of them have an answer, where some have none."""
    return " that were not refused" if run.answers.dataset.refused else ""


def limits(run: Findings) -> list[str]:
    """What the model is not for."""
    negative, positive = run.metadata.classes
    return [
        f"It knows {negative} and {positive} only: any other picture is still called one of them.",
        f"It saw images preprocessed by the recipe {run.metadata.preprocessing!r}, "
        "which predict and the "
        "server apply to others.",
        "The figures are of validation images that come from where the training images do; on "
        "images from elsewhere they may be lower.",
        *_missing(run),
        *_chosen(run),
    ]


def _missing(run: Findings) -> list[str]:
    """A warning where a class has no validation images."""
    counts = run.config["data"]["valid"]["classes"]
    return [
        f"No validation image is a {name!r}: how well it recognises these is not known."
        for name, count in counts.items()
        if not count
    ]


def _chosen(run: Findings) -> list[str]:
    """A warning where the validation images had a say in the weights."""
    if run.kept_epoch is None or run.kept_epoch == len(run.history.epochs) - 1:
        return []
    return [
        f"The weights are those of epoch {run.kept_epoch}, chosen by the validation images, which "
        "makes their figures a little too good."
    ]


def data_licence(run: Findings) -> str:
    """The licence of the images, where it is known."""
    if all(part["name"].startswith("MNIST sample,") for part in run.config["data"].values()):
        return (
            "part of the MNIST database, copyright Yann LeCun and Corinna Cortes, under CC BY-SA "
            "3.0; reordered, two classes only."
        )
    return "under the licence of their source, which the run does not know."


def _settings(resolved: dict[str, Any]) -> list[str]:
    optimizer = resolved["optimizer"]["name"]
    return [
        f"- {resolved['parameters']:,} parameters, trained with {optimizer} at a learning rate of "
        f"{resolved['lr']:g} on the loss `{resolved['loss']}`; `config.json` has every setting."
    ]


def _data(data: dict[str, Any]) -> list[str]:
    names = {"train": "training", "valid": "validation"}
    return [
        f"- {names[part]}: {_plain(facts['name'] or 'unnamed')}, "
        + ", ".join(f"{count:,} of {_plain(name)}" for name, count in facts["classes"].items())
        + f"; fingerprint `{facts['fingerprint']}`"
        for part, facts in data.items()
    ]


def _figures(run: Findings) -> dict[str, str]:
    at = run.evaluation
    shares = {"precision": at.precision, "recall": at.recall, "F1": at.f1}
    shares |= {"area under the ROC curve": at.auc, "average precision": at.average_precision}
    shares |= {"expected calibration error": at.expected_calibration_error}
    return {"accuracy": f"{at.accuracy:.4f}"} | {
        name: "not defined" if value is None else f"{value:.4f}" for name, value in shares.items()
    }


def _plain(text: str) -> str:
    """Text that Markdown takes as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))
