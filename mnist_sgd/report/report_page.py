"""`report.html`: a run on one page, in one file that loads nothing."""

import shlex

from mnist_sgd.evaluation.interval import percentages
from mnist_sgd.evaluation.refused import refused_clause
from mnist_sgd.report import folder as files
from mnist_sgd.report.advice import Advice, advice
from mnist_sgd.report.chart import percent, plural
from mnist_sgd.report.facts import facts
from mnist_sgd.report.html import render
from mnist_sgd.report.interpretability import occlusion_caption
from mnist_sgd.report.model_card import data_licence, limits
from mnist_sgd.report.predictions import file_name
from mnist_sgd.report.report_data import ReportData

FIRST, SHOWN = 5, 29
"""Mistakes on the first screen; and with those below it, the rest of which is folded."""


def report_page(run: ReportData) -> str:
    """Render the page of a finished run."""
    share, low, high = percentages(run.correct, run.images)
    advised = advice(run)
    kind = "picture" if run.predictions.dataset.files else "image"
    return render(
        "report.html",
        run=run,
        title=f"{run.name}: {' or '.join(sorted(run.metadata.classes))}?",
        correct=f"{run.correct:,} of {plural(run.images, f'validation {kind}')} correct",
        share=f"{share}\N{NO-BREAK SPACE}%",
        interval=f"{low} to {high}\N{NO-BREAK SPACE}%",
        training=_training(run),
        refused=_refused(run),
        kind=kind,
        wrong=len(run.predictions.misclassified),
        first=[*run.wrong, *run.unsure][:FIRST],
        more_wrong=run.wrong[FIRST:SHOWN],
        other_wrong=run.wrong[SHOWN:],
        more_unsure=run.unsure[max(0, FIRST - len(run.wrong)) :],
        numbered=_numbered(run),
        advice=advised,
        next=_next(run, advised),
        predicted_as=[f"predicted {name}" for name in run.metadata.classes],
        confusion=_confusion(run),
        confusion_caption="Confusion matrix: how many images of each class were predicted as each "
        f"class, at the threshold {run.metadata.threshold:g}.",
        map_caption=occlusion_caption(run.predictions),
        epochs=[
            [str(epoch), *(f"{value:.6f}" for value in values)]
            for epoch, values in enumerate(run.history.epochs)
        ],
        links=(files.ARTIFACT, files.WEIGHTS, files.MODEL_CARD, files.EVALUATION),
        limits=limits(run),
        licence=data_licence(run),
        facts=facts(run.config, run.environment),
    )


def _refused(run: ReportData) -> str:
    """How many of the pictures were refused, in a sentence; "" if none."""
    data = run.predictions.dataset
    how = f" (--preprocess {data.preprocessing})"
    return f"{refused_clause(data.refused, how=how)}." if data.refused else ""


def _training(run: ReportData) -> str:
    """The accuracy on the training images, next to that on the validation images."""
    if run.training_correct is None:
        return ""
    correct, count = run.training_correct
    whole = run.config["data"].get("train", {}).get("images") == count
    return (
        f"Of the training images {percent(correct / count)} are correct "
        f"({correct:,} of {count:,}{'' if whole else ', a sample'})."
    )


def _next(run: ReportData, advised: Advice) -> str:
    """The command of the advice; "" if it is none of this program."""
    if advised.looks:
        return f"mnist-sgd evaluate runs/{run.name} --mistakes"
    if not advised.option:
        return ""
    given = run.config["arguments"]
    data = f" --data {shlex.quote(str(given['data']))}" if given.get("data") else ""
    return f"mnist-sgd train{data} {advised.option} --run {run.name}-2"


def _numbered(run: ReportData) -> str:
    """What the numbers of images without files are; "" for files."""
    data = run.predictions.dataset
    if data.files:
        return ""
    names = {file_name(data.row_of(i)[0]) for i in (0, len(data) - 1)} - {""}
    return f"The numbers are indices in {', '.join(sorted(names)) or 'the validation set'}, from 0."


def _confusion(run: ReportData) -> list[list[str]]:
    """The confusion matrix, each count with its fraction of the class."""
    rows = []
    for name, counts in zip(run.metadata.classes, run.evaluation.counts.matrix, strict=True):
        total = sum(counts)
        cells = [
            f"{count:,}" + (f" ({percent(count / total)})" if total else "") for count in counts
        ]
        rows.append([f"is {name}", *cells])
    return rows
