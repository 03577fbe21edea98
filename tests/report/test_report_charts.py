"""The charts and sheets of a report read well in both schemes, and say what is so."""

import re
from base64 import b64decode
from io import BytesIO
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from matplotlib import rcParams
from PIL import Image
from torch import nn

from mnist_sgd import Learner
from mnist_sgd.data import ImageSet, mnist_sample
from mnist_sgd.evaluation import evaluate
from mnist_sgd.export.graph import Classifier
from mnist_sgd.report.chart import Chart
from mnist_sgd.report.evaluation_charts import evaluation_charts, roc_chart
from mnist_sgd.report.history import History
from mnist_sgd.report.html import utf8
from mnist_sgd.report.interpretability import (
    occlusion_caption,
    occlusion_pictures,
    weights_picture,
)
from mnist_sgd.report.occlusion import background, linear_weights, occlusion_map
from mnist_sgd.report.palette import INK, LINE, NEGATIVE, PAGE, PAPER, POSITIVE, ROLES, SERIES, SOFT
from mnist_sgd.report.pictures import grey_png, pictures, signed_png
from mnist_sgd.report.plot_style import drawn_name
from mnist_sgd.report.predictions import Predictions
from mnist_sgd.report.training_charts import epoch_axis, training_charts
from mnist_sgd_serve import Predictor
from runs import easy_set, learner


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2.2."""
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2, from 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_curves_stand_out_from_the_paper_in_both_schemes(scheme: str) -> None:
    for colour in (INK, SOFT, POSITIVE, NEGATIVE, *SERIES):
        for paper in (PAPER, PAGE):
            assert contrast(getattr(colour, scheme), getattr(paper, scheme)) >= 4.5, colour
    assert contrast(getattr(LINE, scheme), getattr(PAPER, scheme)) < 2


def test_light_colours_tell_the_roles_apart() -> None:
    assert len({colour.light for colour in ROLES}) == len(ROLES)


def predictions_of(learn: Learner) -> Predictions:
    """The predictions of the exported model."""
    with TemporaryDirectory() as folder:
        learn.export(Path(folder) / "model.onnx")
        return Predictions.of(learn, Predictor(Path(folder) / "model.onnx"))


def matplotlibs_settings() -> dict[str, object]:
    """All but the backend, which Matplotlib chooses when it is asked for."""
    return {name: value for name, value in dict.items(rcParams) if name != "backend"}


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    """Matplotlib's, before a chart is drawn."""
    return matplotlibs_settings()


@pytest.fixture(scope="module")
def charts(settings: dict[str, object]) -> list[Chart]:
    learn = learner(valid=easy_set(flipped=3))
    predictions = predictions_of(learn)
    evaluation = evaluate(predictions.probabilities, predictions.dataset.labels)
    return [
        *training_charts(History.of(learn.recorder), (9, 10)),
        *evaluation_charts(evaluation, predictions),
    ]


def test_every_colour_of_a_chart_has_one_for_dark_paper(charts: list[Chart]) -> None:
    known = {colour.light for colour in ROLES} | {"none"}
    for chart in charts:
        used = set(re.findall(r'(?:fill|stroke)="([^"]*)"', chart.svg))
        assert {colour for colour in used if not colour.startswith("url(")} <= known, chart.name
        assert "style=" not in chart.svg
        assert f'fill="{PAPER.light}"' in chart.svg  # its own paper, under everything


def test_the_text_of_a_chart_is_text(charts: list[Chart]) -> None:
    texts = {chart.name: re.findall(r"<text[^>]*>([^<]+)", chart.svg) for chart in charts}
    assert {"epochs trained", "training", "validation"} <= set(texts["loss"])
    assert {"is left", "is right", "probability of right"} <= set(texts["probabilities"])
    assert {"validation", "training, saved model"} <= set(texts["accuracy"])


def test_a_chart_says_nothing_of_when_and_with_what_it_was_made(charts: list[Chart]) -> None:
    for chart in charts:
        assert not re.search("matplotlib|metadata|DOCTYPE|<!--", chart.svg), chart.name
        ElementTree.fromstring(chart.svg)  # is well-formed


def test_charts_share_no_identifier(charts: list[Chart]) -> None:
    ids = [set(re.findall(r'\bid="([^"]*)"', chart.svg)) for chart in charts]
    for one, other in combinations(ids, 2):
        assert one & other == set()
    for chart, own in zip(charts, ids, strict=True):
        used = set(re.findall(r'(?:href="#|url\(#)([^")]*)', chart.svg))
        assert used <= own, chart.name


def test_every_chart_has_words(charts: list[Chart]) -> None:
    for chart in charts:
        label = ElementTree.fromstring(chart.svg).attrib["aria-label"]
        assert len(label) > 20
        assert len(chart.caption) > 40
        assert chart.caption[0].isupper()
        assert chart.caption.endswith(".")


def test_drawing_leaves_matplotlibs_settings_alone(
    charts: list[Chart], settings: dict[str, object]
) -> None:
    assert matplotlibs_settings() == settings


def test_class_names_are_text_whatever_they_are() -> None:
    strange = ('<b>$x_1$&"', "a|b*c`d")
    learn = learner(valid=easy_set(classes=strange, flipped=3), epochs=1)
    predictions = predictions_of(learn)
    evaluation = evaluate(predictions.probabilities, predictions.dataset.labels)
    drawn = evaluation_charts(evaluation, predictions)
    roots = [ElementTree.fromstring(chart.svg) for chart in drawn]
    texts = ["".join(element.itertext()) for root in roots for element in root.iter()]
    assert any(f"is {strange[0]}" == text for text in texts)
    assert all(strange[1] in root.attrib["aria-label"] for root in roots)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("größe 猫", "größe 猫"),
        ("$5$", "$5$"),
        (r"$\frac$", r"$\frac$"),
        ("👩‍👩‍👧", "👩‍👩‍👧"),
        ("नमस्ते", "नमस्ते"),
        ("_x", "_x"),
        ("a\x01\x1b[31m\ufffe", r"a\x01\x1b[31m\ufffe"),
        ("a" * 100 + "b" * 155, "a" * 15 + "…" + "b" * 14),
    ],
)
def test_a_name_that_no_font_has_and_no_formula_is_drawn_without_a_word(
    name: str, shown: str
) -> None:
    """A warning from Matplotlib is an error here; SVG keeps the name as text."""
    assert drawn_name(name) == shown
    predictions = predictions_of(
        learner(valid=easy_set(classes=("other", name), flipped=3), epochs=1)
    )
    evaluation = evaluate(predictions.probabilities, predictions.dataset.labels)
    texts = [
        "".join(element.itertext())
        for chart in evaluation_charts(evaluation, predictions)
        for element in ElementTree.fromstring(utf8(chart.svg)).iter()
    ]
    for text in (f"is {shown}", f"probability of {shown}", f"Fraction that is {shown}"):
        assert text in texts


# Training.


def history(batches: int, ends: list[int], moms: float = 0.0) -> History:
    losses = np.linspace(1, 0.1, batches).tolist()
    epochs = [[losses[end - 1], 0.5, 0.9] for end in ends]
    names = ("train_loss", "valid_loss", "accuracy")
    return History(names, epochs, ends, losses, [0.1] * batches, [moms] * batches)


def test_a_batch_stands_where_it_is_over_in_its_epoch() -> None:
    assert epoch_axis(history(4, [2, 4])) == [0.5, 1, 1.5, 2]
    assert epoch_axis(history(5, [2, 4])) == [0.5, 1, 1.5, 2, 2.5]  # the third was left early
    assert epoch_axis(history(2, [])) == [0.5, 1]


def test_a_long_history_makes_a_small_drawing() -> None:
    long = history(200_000, list(range(1000, 200_001, 1000)))
    assert all(len(chart.svg) < 150_000 for chart in training_charts(long))


def test_the_captions_say_where_the_loss_was_lowest() -> None:
    loss, accuracy, rates = training_charts(history(40, [10, 20, 30, 40], moms=0.9), (4, 5))
    assert accuracy.caption.endswith(
        "classifies 80.0\N{NO-BREAK SPACE}% of 5 training images correctly."
    )
    assert loss.caption == (
        "The training loss, smoothed over batches, goes from 1 to 0.1. The validation loss is "
        "lowest, 0.5, after 1 epoch; it ends at 0.5."
    )
    assert rates.caption == "The learning rate is 0.1 throughout. Momentum is 0.9 throughout."
    assert ">momentum</text>" in rates.svg


def test_a_loss_that_is_no_number_is_left_out() -> None:
    nan = history(10, [10])
    nan.losses[4] = float("nan")  # type: ignore[index]
    nan.epochs[0][1] = float("inf")  # type: ignore[index]
    loss, *_ = training_charts(nan)
    assert "nan" not in loss.svg.lower()
    assert "validation loss is" not in loss.caption


# Mistakes and curves.


def test_without_a_mistake_the_maps_are_of_correct_images() -> None:
    predictions = predictions_of(learner())
    maps = occlusion_pictures(predictions)
    assert len(maps) == 10
    assert all(each.is_right and each.overlay for each in maps)
    assert "mistakes" not in occlusion_caption(predictions)


def test_the_most_confident_mistakes_and_the_least_sure_come_first() -> None:
    predictions = predictions_of(learner(valid=easy_set(flipped=50)))
    assert len(predictions.misclassified) == 50
    assert len(predictions.least_sure) == 10
    for chosen, sign in ((predictions.misclassified, -1), (predictions.least_sure, 1)):
        assert np.all(np.diff(sign * np.abs(predictions.logits[chosen])) >= 0)


def test_images_of_one_class_have_no_curve() -> None:
    valid = easy_set()
    valid.labels[:] = 0
    predictions = predictions_of(learner(valid=valid))
    evaluation = evaluate(predictions.probabilities, valid.labels)
    names = [chart.name for chart in evaluation_charts(evaluation, predictions)]
    assert names == ["probabilities", "calibration"]


def test_typical_images_go_from_the_least_to_the_most_sure() -> None:
    predictions = predictions_of(learner())
    for label, sign in ((0, -1), (1, 1)):
        chosen = predictions.typical(label, 3)
        assert predictions.dataset.labels[chosen].tolist() == [label] * 3
        assert np.all(np.diff(sign * predictions.logits[chosen]) > 0)
        others = predictions.least_sure[predictions.dataset.labels[predictions.least_sure] == label]
        assert set(chosen) <= set(others[15:].tolist())  # the more confident half of 30
    assert len(predictions.typical(1, 1000)) == 15


# Pictures.


def opened(png: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(BytesIO(png)) as image:
        return np.asarray(image)


def test_a_picture_is_the_image_as_it_is_with_its_prediction() -> None:
    predictions = predictions_of(learner(valid=easy_set(flipped=3)))
    wrong = predictions.misclassified.tolist()
    found = pictures(predictions, wrong)
    assert len(found) == 3
    for index, each in zip(wrong, found, strict=True):
        _, _, content = each.prepared.partition(";base64,")
        np.testing.assert_array_equal(opened(b64decode(content)), predictions.dataset.images[index])
        assert (each.name, each.is_right, each.original) == (f"no. {index}", False, "")
        assert {each.actual, each.predicted} == {"left", "right"}


def test_numbers_fade_into_the_paper_where_they_are_near_zero() -> None:
    pixels = opened(signed_png(np.array([[2.0, -2.0, 0.0, 1.0]]), 2.0))
    assert pixels[0, :, 3].tolist() == [255, 255, 0, 128]
    assert pixels[0, 0, :3].tolist() == pixels[0, 3, :3].tolist() == [224, 104, 10]
    assert pixels[0, 1, :3].tolist() == [20, 126, 196]
    ink = opened(signed_png(np.zeros((1, 2)), 1.0, under=np.array([[255, 0]], np.uint8)))
    assert ink[0].tolist() == [[128, 128, 128, 115], [128, 128, 128, 0]]
    np.testing.assert_array_equal(opened(grey_png(easy_set(1).images[0])), easy_set(1).images[0])


def test_an_occlusion_map_of_a_linear_model_is_the_sum_of_what_each_patch_adds() -> None:
    model = nn.Linear(784, 1)
    with torch.no_grad():
        model.weight.copy_(torch.linspace(-1, 1, 784))
    images = easy_set(1)
    predictions = Predictions(Classifier(model), images, 0.5, np.array([0.5]))
    weights = linear_weights(model)
    assert weights is not None
    added = np.pad(weights * images.images[0] / 255, 2)
    expected = [[added[y : y + 5, x : x + 5].sum() for x in range(28)] for y in range(28)]
    np.testing.assert_allclose(occlusion_map(predictions, images.images[0]), expected, atol=1e-4)


def test_an_occlusion_map_covers_a_whole_picture_with_the_grey_of_its_border() -> None:
    """On light paper a black patch would be the darkest thing of all."""
    model = nn.Linear(784, 1)
    with torch.no_grad():
        model.weight.copy_(torch.linspace(-1, 1, 784))
    image = np.full((1, 28, 28), 203, np.uint8)
    image[0, 10:20, 12:16] = 40
    image[0, 0, :20] = 7  # the thing may touch the border
    for preprocessing, blank in (("fit", 203), ("stretch", 203), ("mnist", 0)):
        images = ImageSet(image, np.array([1], np.uint8), ("a", "b"), preprocessing=preprocessing)
        predictions = Predictions(Classifier(model), images, 0.5, np.array([0.5]))
        weights = linear_weights(model)
        assert weights is not None
        added = np.pad(weights * (image[0].astype(float) - blank) / 255, 2)
        expected = [[added[y : y + 5, x : x + 5].sum() for x in range(28)] for y in range(28)]
        np.testing.assert_allclose(occlusion_map(predictions, image[0]), expected, atol=1e-4)
        caption = occlusion_caption(predictions)
        assert ("are covered with the median grey of the image's border." in caption) == (
            blank == 203
        )
        assert ("are covered with black." in caption) == (blank == 0)
        _, _, shown = occlusion_pictures(predictions)[0].overlay.partition(";base64,")
        paper = opened(b64decode(shown))[24, 3]
        assert (paper[3] == 0) == (blank == 203)  # nothing is drawn where only paper is


def test_the_sample_s_digits_lie_on_black_paper() -> None:
    images = mnist_sample()[1].images
    assert {background(image, "mnist") for image in images[:50]} == {0}
    assert {background(image, "fit") for image in images} == {0}


def test_only_one_linear_layer_of_all_pixels_has_weights_to_show() -> None:
    assert linear_weights(nn.Sequential(nn.Linear(784, 1))) is None
    assert linear_weights(nn.Linear(784, 2)) is None
    assert weights_picture(nn.Linear(10, 1)) is None
    assert weights_picture(nn.Linear(784, 1)) is not None


@pytest.mark.parametrize(
    ("wrong", "ends"),
    [
        (0, []),
        (1, ["0.000", "0.020"]),
        (3, ["0.00", "0.05"]),
        (7, ["0.00", "0.10"]),
        (15, ["0.00", "0.20"]),
        (17, []),
    ],
)
def test_the_corner_of_a_curve_is_drawn_as_large_as_the_threshold_allows(
    wrong: int, ends: list[str]
) -> None:
    """100 images of each class, so many negative ones are predicted positive."""
    labels = np.repeat([0, 1], 100)
    probabilities = np.where(labels == 1, 0.9, 0.1)
    probabilities[:wrong] = 0.8
    chart = roc_chart(evaluate(probabilities, labels), ("no", "yes"))
    ticks = re.findall(r"<text[^>]*>(0\.\d\d+)</text>", chart.svg)
    assert set(ends) <= set(ticks)
    assert bool(ticks) == bool(ends)
