"""What a model learnt, as sheets of pictures: its worst mistakes, its weights, what it looks at."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mnist_sgd.report.answers import Answers, file_name
from mnist_sgd.report.chart import Chart, plural
from mnist_sgd.report.maps import PATCH, linear_weights, occlusion_map, paper
from mnist_sgd.report.pictures import grey_png, signed_png
from mnist_sgd.report.sheet import Cell, sheet

if TYPE_CHECKING:
    from torch import nn

__all__ = ["SHOWN", "attention_chart", "mistakes_chart", "probability", "weights_chart"]

SHOWN = 30
"""Mistakes on the contact sheet, at most."""

COLUMNS = 5

MAPS, WRONG = 2 * COLUMNS, 4
"""Images with a map, and how many of them are mistakes, at most."""


def mistakes_chart(answers: Answers) -> Chart | None:
    """The contact sheet of the mistakes, the surest first; None without a mistake."""
    mistakes = answers.mistakes
    if not len(mistakes):
        return None
    cells = [
        Cell([grey_png(answers.dataset.images[i])], _words(answers, i)) for i in mistakes[:SHOWN]
    ]
    caption = (
        f"{_which(len(mistakes), len(answers.dataset))}, those first that the model was surest of. "
        f"Below each: its true class, the probability of {answers.dataset.classes[1]} that it got, "
        f"and its place in {_numbered(answers)}, from 0."
    )
    alt = f"Contact sheet of {plural(len(cells), 'image')} that the model got wrong."
    return Chart("mistakes", "Worst mistakes", caption, sheet(cells, COLUMNS, alt))


def _which(mistakes: int, images: int) -> str:
    if mistakes == 1:
        return f"The one mistake in {images:,} images"
    if mistakes <= SHOWN:
        return f"All {mistakes} mistakes in {images:,} images"
    return f"The worst {SHOWN} of {mistakes:,} mistakes in {images:,} images"


def _words(answers: Answers, index: int) -> list[str]:
    name = answers.dataset.classes[int(answers.dataset.labels[index])]
    return [
        f"is {name}",
        f"P = {probability(answers, index)}",
        f"no. {answers.dataset.row_of(index)[1]}",
    ]


def _numbered(answers: Answers) -> str:
    """What the numbers of the images count through."""
    rows = answers.dataset.rows
    if not rows:
        return "the validation set"
    files = {file_name(part.file) for part in rows}
    if len(files) > 1:
        return "its file"
    return next(iter(files)) or "the set of all classes that it was selected from"


def probability(answers: Answers, index: int) -> str:
    """That of an image, in three digits, which never round up to certainty."""
    return f"{min(max(answers.probabilities[index], 0.001), 0.999):.3f}"


def weights_chart(model: "nn.Module", classes: tuple[str, str]) -> Chart | None:
    """The weights of a linear model as a picture; None for any other."""
    weights = linear_weights(model)
    if weights is None:
        return None
    negative, positive = classes
    largest = float(np.abs(weights).max()) or 1.0
    caption = (
        f"What makes a {positive}: light on an orange pixel speaks for {positive}, on a blue one "
        f"for {negative}, the stronger the colour the more; the strongest adds {largest:.2g} to "
        "the log-odds."
    )
    alt = f"The 784 weights as a picture of 28 by 28 pixels, for {positive} or for {negative}."
    cell = Cell([signed_png(weights, largest)], [])
    return Chart("weights", "Weights", caption, sheet([cell], 1, alt))


def attention_chart(answers: Answers) -> Chart:
    """Occlusion maps of images of both classes that are called right, and of the worst mistakes."""
    wrong = answers.mistakes[:WRONG].tolist()
    count = (MAPS - len(wrong)) // 2
    shown = [*answers.typical(1, count), *answers.typical(0, count), *wrong]
    negative, positive = answers.dataset.classes
    cells = []
    for index in shown:
        image = answers.dataset.images[index]
        values = occlusion_map(answers, image)
        largest = float(np.abs(values).max()) or 1.0
        pictures = [grey_png(image), signed_png(values, largest, under=_ink(answers, image))]
        cells.append(Cell(pictures, [*_words(answers, index)[:2], f"up to {largest:.1f}"]))
    black = answers.dataset.preprocessing == "mnist"
    cover = "black" if black else "the median grey of the image's border"
    caption = (
        f"What speaks for {positive} (orange) and for {negative} (blue): by how much the log-odds "
        f"change when the {PATCH} by {PATCH} pixels around a place are covered with {cover}. "
        "Images that are called right, from the least to the most sure of each class"
        + (", then the worst mistakes" if wrong else "")
        + ". Colours go up to the largest change of each image, which stands below it."
    )
    alt = f"{plural(len(shown), 'image')}, each with a map of what the model looks at below it."
    return Chart("maps", "Occlusion maps", caption, sheet(cells, COLUMNS, alt))


def _ink(answers: Answers, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """By how much each pixel differs from the paper, uint8 `[28, 28]`."""
    blank = paper(image, answers.dataset.preprocessing)
    return np.abs(image.astype(np.int16) - blank).astype(np.uint8)
