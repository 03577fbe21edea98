"""What a model has learnt: misclassified images, weights, occlusion maps."""

from typing import TYPE_CHECKING

import numpy as np

from mnist_sgd.report.chart import Chart, plural
from mnist_sgd.report.contact_sheet import Cell, contact_sheet
from mnist_sgd.report.occlusion import PATCH, background, linear_weights, occlusion_map
from mnist_sgd.report.pictures import grey_png, signed_png
from mnist_sgd.report.predictions import Predictions, file_name

if TYPE_CHECKING:
    from torch import nn

SHOWN = 30
"""Maximum number of misclassified images shown."""

COLUMNS = 5

MAPS, MISCLASSIFIED_MAPS = 2 * COLUMNS, 4
"""Number of occlusion maps, and how many of them at most are of misclassified images."""


def misclassified_chart(predictions: Predictions) -> Chart | None:
    """Show the misclassified images, the most confident first; None if there are none."""
    wrong, data = predictions.misclassified, predictions.dataset
    if not len(wrong):
        return None
    cells = [
        Cell(
            [grey_png(data.images[i])],
            [*_labels(predictions, i), f"no. {data.row_of(i)[1]}"],
        )
        for i in wrong[:SHOWN]
    ]
    caption = (
        f"{_which(len(wrong), len(data))}, the most confident first. Below each: its true class, "
        f"the predicted probability of {data.classes[1]}, and its index in "
        f"{_indexed(predictions)}, from 0."
    )
    alt = f"Contact sheet of {plural(len(cells), 'misclassified image')}."
    return Chart("mistakes", "Worst mistakes", caption, contact_sheet(cells, COLUMNS, alt))


def _which(mistakes: int, images: int) -> str:
    if mistakes == 1:
        return f"The one mistake in {images:,} images"
    if mistakes <= SHOWN:
        return f"All {mistakes} mistakes in {images:,} images"
    return f"The worst {SHOWN} of {mistakes:,} mistakes in {images:,} images"


def _labels(predictions: Predictions, index: int) -> list[str]:
    name = predictions.dataset.classes[int(predictions.dataset.labels[index])]
    return [f"is {name}", f"P = {probability(predictions, index)}"]


def _indexed(predictions: Predictions) -> str:
    """What the indices of the images refer to."""
    rows = predictions.dataset.rows
    if not rows:
        return "the validation set"
    files = {file_name(part.file) for part in rows}
    if len(files) > 1:
        return "its file"
    return next(iter(files)) or "the set of all classes that it was selected from"


def probability(predictions: Predictions, index: int) -> str:
    """The probability of an image with three digits, never rounded to 0 or 1."""
    return f"{min(max(predictions.probabilities[index], 0.001), 0.999):.3f}"


def weights_chart(model: "nn.Module", classes: tuple[str, str]) -> Chart | None:
    """Show the weights of a linear model as a picture; None for other models."""
    weights = linear_weights(model)
    if weights is None:
        return None
    negative, positive = classes
    largest = float(np.abs(weights).max()) or 1.0
    caption = (
        f"The weight of each pixel: light on an orange pixel is evidence for {positive}, on a blue "
        f"pixel for {negative}; the stronger the colour, the larger the weight. The largest adds "
        f"{largest:.2g} to the log-odds."
    )
    alt = f"The 784 weights as a picture of 28 by 28 pixels, for {positive} or for {negative}."
    sheet = contact_sheet([Cell([signed_png(weights, largest)], [])], 1, alt)
    return Chart("weights", "Weights", caption, sheet)


def occlusion_chart(predictions: Predictions) -> Chart:
    """Show occlusion maps of correctly classified images of both classes, and of mistakes."""
    data = predictions.dataset
    negative, positive = data.classes
    wrong = predictions.misclassified[:MISCLASSIFIED_MAPS].tolist()
    count = (MAPS - len(wrong)) // 2
    shown = [*predictions.typical(1, count), *predictions.typical(0, count), *wrong]
    cells = []
    for index in shown:
        image = data.images[index]
        values = occlusion_map(predictions, image)
        largest = float(np.abs(values).max()) or 1.0
        ink = np.abs(image.astype(np.int16) - background(image, data.preprocessing))
        pictures = [grey_png(image), signed_png(values, largest, under=ink.astype(np.uint8))]
        cells.append(Cell(pictures, [*_labels(predictions, index), f"up to {largest:.1f}"]))
    black = data.preprocessing == "mnist"
    cover = "black" if black else "the median grey of the image's border"
    caption = (
        f"Evidence for {positive} (orange) and for {negative} (blue): how much the log-odds change "
        f"when the {PATCH} by {PATCH} pixels around a pixel are covered with {cover}. The images "
        "are correctly classified ones of each class, the least confident first"
        + (", then the worst mistakes" if wrong else "")
        + ". The strongest colour is the largest change in each image, given below it."
    )
    alt = f"{plural(len(shown), 'image')}, each above a map of the pixels that the model relies on."
    return Chart("maps", "Occlusion maps", caption, contact_sheet(cells, COLUMNS, alt))
