"""`report.html`: all of a run on one page, which is one file and loads nothing."""

from html import escape

from mnist_sgd.report import folder as files
from mnist_sgd.report.chart import plural
from mnist_sgd.report.findings import Findings
from mnist_sgd.report.insight import SHOWN, probability
from mnist_sgd.report.markup import document, facts, figure, section, table, tiles
from mnist_sgd.report.model_card import data_licence, limits, summary

__all__ = ["page"]

FEW = 20
"""Epochs whose table is open from the start."""


def page(run: Findings) -> str:
    """The page of a finished run."""
    negative, positive = run.metadata.classes
    body = [
        f"<header>\n<h1>{escape(run.name)}: {escape(positive)} or {escape(negative)}?</h1>",
        f'<p class="lead">{escape(summary(run))}</p>\n</header>',
        tiles(run.figures),
        _quality(run),
        _mistakes(run),
        _insight(run),
        _training(run),
        _model(run),
        _making(run),
    ]
    return document(f"{run.name}: {positive} or {negative}?", body)


def _quality(run: Findings) -> str:
    charts = "\n".join(map(figure, run.quality))
    return section(
        "quality", "How good it is", [_confusion(run), f'<div class="charts">{charts}</div>']
    )


def _confusion(run: Findings) -> str:
    """The confusion matrix, with the share of each class beside the counts."""
    classes, rows = run.metadata.classes, []
    for name, counts in zip(classes, run.evaluation.counts.matrix, strict=True):
        total = sum(counts)
        shares = [f" ({count / total:.1%})" if total else "" for count in counts]
        cells = [f"{count:,}{share}" for count, share in zip(counts, shares, strict=True)]
        rows.append([f"is {name}", *cells])
    caption = (
        f"Confusion matrix: each row is a class, each column what its images were called, at the "
        f"threshold {run.metadata.threshold:g}."
    )
    return table(["", *(f"called {name}" for name in classes)], rows, caption, "confusion")


def _mistakes(run: Findings) -> str:
    charts = [figure(chart) for chart in run.insight if chart.name == "mistakes"]
    if charts and run.answers.dataset.files:
        charts.append(f"<details><summary>Their files</summary>{_files(run)}</details>")
    pictures = plural(len(run.answers.dataset), "validation picture")
    none = f"<p>No mistakes among {pictures}.</p>"
    return section("wrong", "Where it is wrong", charts or [none])


def _files(run: Findings) -> str:
    """The files of the mistakes on the contact sheet, in its order."""
    data, classes = run.answers.dataset, run.metadata.classes
    rows = [
        [str(i), data.files[i], f"is {classes[int(data.labels[i])]}", probability(run.answers, i)]
        for i in run.answers.mistakes[:SHOWN]
    ]
    return table(["no.", "file", "class", f"P({classes[1]})"], rows)


def _insight(run: Findings) -> str:
    charts = [figure(chart) for chart in run.insight if chart.name != "mistakes"]
    return section("looks", "What it looks at", [f'<div class="charts">{"".join(charts)}</div>'])


def _training(run: Findings) -> str:
    if not run.training:
        return section("training", "Training", ["<p>The model was not trained in this run.</p>"])
    charts = "\n".join(map(figure, run.training))
    rows = [
        [str(epoch), *(f"{value:.6f}" for value in values)]
        for epoch, values in enumerate(run.history.epochs)
    ]
    is_open = " open" if len(rows) <= FEW else ""
    epochs = table(["epoch", *run.history.names], rows)
    return section(
        "training",
        "Training",
        [
            f'<div class="charts">{charts}</div>',
            f"<details{is_open}><summary>Every epoch</summary>{epochs}</details>",
        ],
    )


def _model(run: Findings) -> str:
    """How the model is used, and where it ends."""
    artifact = files.ARTIFACT
    commands = f"mnist-sgd predict --model {artifact} IMAGE...\nmnist-sgd serve {artifact}"
    python = (
        "from mnist_sgd_serve import Predictor\n\n"
        f'Predictor("{artifact}").predict("image.png").label'
    )
    links = " ".join(
        f'<a href="{name}">{name}</a>'
        for name in (artifact, files.WEIGHTS, files.MODEL_CARD, files.EVALUATION)
    )
    points = "".join(f"<li>{escape(limit)}</li>" for limit in limits(run))
    return section(
        "model",
        "Using it",
        [
            f"<pre>{escape(commands)}</pre><pre>{escape(python)}</pre>",
            f'<p class="files">In this folder: {links}</p>',
            f"<h3>Limits</h3><ul>{points}</ul>",
            f"<h3>Licence</h3><p>Weights: {escape(run.metadata.licence)}. "
            f"Images: {escape(data_licence(run))}</p>",
        ],
    )


def _making(run: Findings) -> str:
    """What it was made of; of the arguments those that were given or have a value of their own."""
    arguments = run.config["arguments"].items()
    parts = {
        "Data": run.config["data"],
        "Settings": run.config["resolved"],
        "Arguments": {name: value for name, value in arguments if value not in (None, False)},
        "Environment": run.environment,
    }
    return section(
        "making",
        "How it was made",
        [f"<h3>{name}</h3>{facts(values)}" for name, values in parts.items() if values],
    )
