"""Whoever answers for a model preprocesses pictures as its artifact says."""

import base64
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import onnx_models
from mnist_sgd_serve import (
    PREPROCESSING_KINDS,
    Predictor,
    UnsupportedFormat,
    decode,
    load_artifact,
    preprocess,
)
from pictures import encode
from server import running


def model(preprocessing: str) -> bytes:
    metadata = replace(onnx_models.METADATA, preprocessing=preprocessing)
    return onnx_models.content(onnx_models.linear(properties=metadata.to_properties()))


def boot() -> Image.Image:
    """A dark thing at the edge of a light, wide sheet."""
    image = Image.new("L", (300, 180), 230)
    ImageDraw.Draw(image).polygon([(10, 20), (90, 20), (110, 120), (200, 170), (10, 170)], fill=40)
    return image


def expected(preprocessing: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    image = preprocess(np.asarray(boot()), preprocessing).image
    images = {
        way: preprocess(np.asarray(boot()), way).image.tobytes() for way in PREPROCESSING_KINDS
    }
    assert len(set(images.values())) == 3
    return image


@pytest.mark.parametrize("preprocessing", PREPROCESSING_KINDS)
def test_the_artifact_carries_it_and_predict_follows(tmp_path: Path, preprocessing: str) -> None:
    content = model(preprocessing)
    assert load_artifact(content).metadata.preprocessing == preprocessing
    predictor = Predictor(content)
    image = expected(preprocessing)
    path = tmp_path / "boot.tiff"
    boot().save(path)
    for source in (encode(boot()), np.asarray(boot()), boot(), path):
        prediction = predictor.predict(source)
        np.testing.assert_array_equal(prediction.image, image)
        assert prediction.probability == predictor.probabilities(image[None])[0]
        assert prediction.inverted == (preprocessing == "mnist")
    np.testing.assert_array_equal(predictor.predict_many([boot()])[0].image, image)


def test_tiff_is_read_from_files_of_ones_own_and_not_from_bytes(tmp_path: Path) -> None:
    path = tmp_path / "boot.tiff"
    boot().save(path)
    predictor = Predictor(model("fit"))
    with pytest.raises(UnsupportedFormat, match="a TIFF image cannot be read"):
        predictor.predict(path.read_bytes())
    with pytest.raises(UnsupportedFormat, match="a TIFF image cannot be read"):
        decode(path)
    np.testing.assert_array_equal(decode(path, tiff=True), np.asarray(boot()))


def test_the_server_follows_the_model_that_it_has_now(tmp_path: Path) -> None:
    """What the page shows as seen by the model, too."""
    path = tmp_path / "model.onnx"
    path.write_bytes(model("mnist"))
    with running(path, "--reload-interval", "0.02") as server:
        for number, preprocessing in enumerate(["mnist", "fit", "stretch", "mnist"]):
            if number:
                new = tmp_path / "new"
                new.write_bytes(model(preprocessing))
                os.replace(new, path)
                assert server.wait_for("model", number)["result"] == "loaded"
            headers = {"Content-Type": "image/png"}
            facts = server.post("/predict?explain=1", encode(boot()), headers).json
            image = expected(preprocessing)
            assert base64.b64decode(facts["image"]) == image.tobytes()
            assert facts["probability"] == Predictor(path).probabilities(image[None])[0]
            assert facts["inverted"] == (preprocessing == "mnist")
            assert facts["contributions"] is not None
