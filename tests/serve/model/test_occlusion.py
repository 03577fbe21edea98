"""Occlusion maps, and explanations of models that are not linear."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

import onnx_models
from mnist_sgd_serve import Metadata
from mnist_sgd_serve.model.explanation import explanation
from mnist_sgd_serve.model.manager import Model, ModelManager
from mnist_sgd_serve.model.occlusion import MARGIN, occlusion_map

Pixels = NDArray[np.uint8]
RANDOM = np.random.default_rng(4)


def ink_below(images: Pixels) -> NDArray[np.float64]:
    """A model that knows only how much ink there is in the lower half."""
    found: NDArray[np.float64] = images[:, 14:].sum((1, 2)) / 255.0
    return found


def test_a_map_is_what_the_logit_loses_by_each_patch() -> None:
    image = RANDOM.integers(0, 256, (28, 28), np.uint8)
    found = occlusion_map(ink_below, image, blank=30)
    for row, column in ((0, 0), (20, 3), (27, 27), (14, 12)):
        covered = image.copy()
        reach = 2 * MARGIN + 1
        top, left = max(row - MARGIN, 0), max(column - MARGIN, 0)
        covered[top : row - MARGIN + reach, left : column - MARGIN + reach] = 30
        expected = ink_below(image[None])[0] - ink_below(covered[None])[0]
        assert found[row, column] == pytest.approx(expected)
    assert not found[: 14 - MARGIN].any()


@pytest.mark.parametrize(("step", "runs"), [(1, 785), (2, 197), (3, 101)])
def test_pixels_may_share_a_value_which_takes_fewer_predictions(step: int, runs: int) -> None:
    image = RANDOM.integers(0, 256, (28, 28), np.uint8)
    counts = []

    def logits(images: Pixels) -> NDArray[np.float64]:
        counts.append(len(images))
        return ink_below(images)

    found = occlusion_map(logits, image, 0, step)
    assert found.shape == (28, 28)
    assert counts == [runs]
    np.testing.assert_array_equal(
        found, found[::step, ::step].repeat(step, 0).repeat(step, 1)[:28, :28]
    )
    covered = image.copy()
    covered[12 - MARGIN : 12 + step + MARGIN, 24 - MARGIN :][:, : step + 2 * MARGIN] = 0
    assert found[12, 24] == pytest.approx(ink_below(image[None])[0] - ink_below(covered[None])[0])


def model(tmp_path: Path, scale: float, **metadata: Any) -> Model:
    """A loaded artifact: linear inside, but not so called."""
    properties = Metadata(classes=("7", "3"), model="cnn", **metadata).to_properties()
    weight = np.full(784, scale, np.float32)
    content = onnx_models.content(onnx_models.linear(weight, -1.0, properties=properties))
    (tmp_path / "model.onnx").write_bytes(content)
    return ModelManager(tmp_path / "model.onnx", lambda *_: None).model


def decoded(found: dict[str, Any]) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(found["occlusion"]), "<f4").reshape(28, 28)


@pytest.mark.parametrize(
    ("metadata", "blank"),
    [
        ({}, 0),
        ({"preprocessing": "fit", "paper": 200}, 200),
        ({"preprocessing": "stretch"}, 190),
    ],
)
def test_any_model_has_a_map_relative_to_its_paper(
    metadata: dict[str, Any], blank: int, tmp_path: Path
) -> None:
    image = np.full((28, 28), 190, np.uint8)
    image[10:18, 12:16] = 20
    found = explanation(model(tmp_path, 0.01, **metadata), image)
    assert found["contributions"] is None
    assert base64.b64decode(found["image"]) == image.tobytes()
    covered = image[10 - MARGIN : 12 + MARGIN, 12 - MARGIN : 14 + MARGIN].astype(int)
    assert decoded(found)[10, 12] == pytest.approx(0.01 * (covered - blank).sum() / 255, abs=1e-3)
    assert decoded(found)[11, 13] == decoded(found)[10, 12]


def test_a_model_that_is_sure_whatever_is_covered_has_an_empty_map(tmp_path: Path) -> None:
    image = np.full((28, 28), 255, np.uint8)
    found = decoded(explanation(model(tmp_path, 10.0), image))
    assert not found.any()


def test_a_linear_model_that_cannot_be_taken_apart_has_a_map_too(tmp_path: Path) -> None:
    """A hidden layer, in a file that calls itself linear."""
    content = onnx_models.content(bent())
    (tmp_path / "model.onnx").write_bytes(content)
    loaded = ModelManager(tmp_path / "model.onnx", lambda *_: None).model
    image = RANDOM.integers(0, 256, (28, 28), np.uint8)
    found = explanation(loaded, image)
    assert found["contributions"] is None
    assert decoded(found).any()


def bent() -> onnx.ModelProto:
    """The linear model with an absolute value before the sigmoid."""
    proto = onnx_models.linear(
        properties=Metadata(classes=("7", "3"), model="linear").to_properties()
    )
    nodes = list(proto.graph.node)
    (place,) = (number for number, node in enumerate(nodes) if node.op_type == "Sigmoid")
    proto.graph.node.insert(place, helper.make_node("Abs", ["logit"], ["bent"]))
    proto.graph.node[place + 1].input[0] = "bent"
    return proto
