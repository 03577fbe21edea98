import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image, ImageDraw

import mnist_sgd_serve
import onnx_models
from mnist_sgd_serve import (
    ArtifactError,
    BlankImage,
    ImageError,
    Metadata,
    NotAnImage,
    Prediction,
    Predictor,
)
from pictures import encode

MODEL = onnx_models.content(onnx_models.linear())
WEIGHTS = np.linspace(-0.02, 0.02, 784, dtype=np.float32)


@cache
def predictor() -> Predictor:
    return Predictor(MODEL)


def seven(width: int = 6) -> Image.Image:
    """A seven in dark ink on white paper."""
    image = Image.new("L", (120, 160), 255)
    line = [(30, 30), (90, 30), (50, 130)]
    ImageDraw.Draw(image).line(line, fill=0, width=width)
    return image


def expected(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    logits = images.reshape(-1, 784) / 255 @ WEIGHTS.astype(np.float64)
    return np.asarray(1 / (1 + np.exp(-logits)))


images_strategy = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.just(28), st.just(28)))


@settings(max_examples=50, deadline=None)
@given(images=images_strategy)
def test_probabilities_are_the_models(images: NDArray[np.uint8]) -> None:
    answers = predictor().probabilities(images)
    assert answers.shape == (len(images),)
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers, expected(images), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(images=images_strategy, others=images_strategy)
def test_an_image_gets_the_same_answer_in_any_company(
    images: NDArray[np.uint8], others: NDArray[np.uint8]
) -> None:
    together = predictor().probabilities(np.concatenate([others, images]))
    np.testing.assert_allclose(
        together[len(others) :], predictor().probabilities(images), atol=1e-6
    )


def test_an_array_that_is_not_contiguous_gets_the_answer_of_its_values() -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 28, 28), np.uint8)
    for view in (images[::2], images[:, ::-1], images.transpose(0, 2, 1)):
        assert not view.flags.c_contiguous
        np.testing.assert_array_equal(
            predictor().probabilities(view), predictor().probabilities(view.copy())
        )


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((1, 28, 28)), TypeError, "dtype uint8, got float64"),
        (np.zeros((1, 28, 28), bool), TypeError, "dtype uint8, got bool"),
        ([[0]], TypeError, "dtype uint8, got list"),
        (np.zeros((28, 28), np.uint8), ValueError, r"\[N, 28, 28\], got \[28, 28\]"),
        (np.zeros((2, 784), np.uint8), ValueError, r"\[N, 28, 28\], got \[2, 784\]"),
        (np.zeros((0, 28, 28), np.uint8), ValueError, r"\[N, 28, 28\], got \[0, 28, 28\]"),
        (np.zeros((1, 28, 28, 1), np.uint8), ValueError, r"got \[1, 28, 28, 1\]"),
    ],
)
def test_other_arrays_are_refused(images: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        predictor().probabilities(images)


def test_a_path_bytes_a_pillow_image_and_an_array_get_one_answer(tmp_path: Path) -> None:
    image = seven()
    path = tmp_path / "seven.png"
    path.write_bytes(encode(image))
    sources: list[Any] = [
        path,
        str(path),
        encode(image),
        bytearray(encode(image)),
        image,
        np.asarray(image),
    ]
    answers = [predictor().predict(source) for source in sources]
    assert len(set(answers)) == 1
    for answer in answers:
        np.testing.assert_array_equal(answer.image, answers[0].image)


def test_a_prediction_says_label_probability_and_what_the_model_saw() -> None:
    answer = predictor().predict(seven())
    assert answer.image.shape == (28, 28)
    assert answer.image.dtype == np.uint8
    assert answer.probability == pytest.approx(float(expected(answer.image)[0]), abs=1e-6)
    assert answer.label == ("3" if answer.probability > 0.5 else "7")
    assert answer.inverted
    assert predictor().predict(255 - np.asarray(seven())) == Prediction(
        answer.label, answer.probabilities, False, answer.image
    )


def test_a_prediction_is_plain_json_that_names_the_class_of_each_probability() -> None:
    answer = Prediction("3", {"7": 0.25, "3": 0.75}, True, np.zeros((28, 28), np.uint8))
    assert answer.as_dict() == {
        "label": "3",
        "confidence": 0.75,
        "probabilities": {"7": 0.25, "3": 0.75},
        "probability": 0.75,
        "positive": "3",
        "inverted": True,
    }
    assert json.loads(json.dumps(answer.as_dict())) == answer.as_dict()
    answer.as_dict()["probabilities"]["7"] = 1.0
    assert answer.probabilities == {"7": 0.25, "3": 0.75}
    assert type(predictor().predict(seven()).probability) is float


@pytest.mark.parametrize(
    ("bias", "threshold", "label"),
    [(-9.0, 0.5, "cat"), (9.0, 0.5, "dog"), (1.0, 0.9, "cat"), (-1.0, 0.1, "dog")],
)
def test_the_confidence_is_the_probability_of_the_label_whatever_the_threshold(
    bias: float, threshold: float, label: str
) -> None:
    metadata = Metadata(classes=("cat", "dog"), threshold=threshold)
    model = onnx_models.linear(np.zeros(784, np.float32), bias, properties=metadata.to_properties())
    answer = Predictor(onnx_models.content(model)).predict(seven())
    dog = 1 / (1 + np.exp(-bias))
    assert list(answer.probabilities) == ["cat", "dog"]
    assert answer.probabilities == pytest.approx({"cat": 1 - dog, "dog": dog}, abs=1e-6)
    assert sum(answer.probabilities.values()) == 1
    assert (answer.label, answer.positive) == (label, "dog")
    assert answer.confidence == answer.probabilities[label]
    assert answer.probability == answer.probabilities["dog"]


def test_the_label_is_the_metadatas() -> None:
    """The bias makes every probability about 0.73."""
    for threshold, label in ((0.9, "cat"), (0.5, "dog")):
        metadata = Metadata(classes=("cat", "dog"), threshold=threshold)
        model = onnx_models.linear(
            np.zeros(784, np.float32), 1.0, properties=metadata.to_properties()
        )
        told = Predictor(onnx_models.content(model))
        assert told.metadata == metadata
        assert told.predict(seven()).label == label


def test_an_image_in_mnists_form_reaches_the_model_untouched() -> None:
    once = predictor().predict(seven()).image
    again = predictor().predict(once)
    np.testing.assert_array_equal(again.image, once)
    assert not again.inverted


@settings(max_examples=20, deadline=None)
@given(widths=st.lists(st.integers(1, 14), max_size=6))
def test_many_pictures_get_the_answers_that_each_gets_alone(widths: list[int]) -> None:
    sources = [seven(width) for width in widths]
    together = predictor().predict_many(sources)
    for one, alone in zip(together, map(predictor().predict, sources), strict=True):
        assert (one.label, one.inverted) == (alone.label, alone.inverted)
        assert one.probability == pytest.approx(alone.probability, abs=1e-6)
        np.testing.assert_array_equal(one.image, alone.image)


def test_the_picture_that_gives_no_answer_is_named(tmp_path: Path) -> None:
    blank = Image.new("L", (50, 50), 255)
    with pytest.raises(BlankImage, match="image 1: nothing is drawn on the image"):
        predictor().predict_many([seven(), blank, seven()])
    path = tmp_path / "noise.png"
    path.write_bytes(b"noise")
    with pytest.raises(NotAnImage, match=r"^image 0: .*noise\.png: these 5 bytes are not"):
        predictor().predict_many([path])
    Image.new("L", (50, 50), 255).save(path)
    with pytest.raises(BlankImage, match=r"^.*noise\.png: nothing is drawn"):
        predictor().predict(path)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        predictor().predict(tmp_path / "none.png")
    with pytest.raises(TypeError, match="expected bytes, a path or a Pillow image, got NoneType"):
        predictor().predict(None)  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(TypeError, match="dtype uint8, got float64"):
        predictor().predict(np.zeros((28, 28)))  # type: ignore[arg-type]  # as above
    with pytest.raises(ArtifactError, match=r"none\.onnx cannot be read"):
        Predictor(tmp_path / "none.onnx")


class Wrapped:
    """An array of another library."""

    def __init__(self, values: NDArray[Any]) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.values


def test_an_array_of_another_library_is_read_as_numpy_reads_it() -> None:
    grey = np.asarray(seven())
    alike: Any = Wrapped(grey)
    assert predictor().predict(alike) == predictor().predict(grey)
    with pytest.raises(TypeError, match=r"dtype uint8, got float64: scale it to 0 to 255$"):
        predictor().predict(Wrapped(grey / 255))  # type: ignore[arg-type]  # the point of the test


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ((60, 40, 3), "got [60, 40, 3]: pass PIL.Image.fromarray(picture) for colours"),
        ((60, 40, 4), "got [60, 40, 4]: pass PIL.Image.fromarray(picture) for colours"),
        ((1, 28, 28), "got [1, 28, 28]"),
        ((784,), "got [784]"),
        ((0, 28), "got [0, 28]"),
    ],
)
def test_an_array_of_another_shape_is_refused(shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(ValueError, match="shape") as refusal:
        predictor().predict(np.zeros(shape, np.uint8))
    assert str(refusal.value) == f"a picture must have the shape [height, width], {says}"


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=100))
def test_random_bytes_give_an_image_error_only(content: bytes) -> None:
    with pytest.raises(ImageError):
        predictor().predict(content)


THOUSAND_SIZES = """
import numpy as np
from mnist_sgd_serve import Predictor
from residency import anonymous_memory

predictor, images = Predictor("model.onnx"), np.zeros((1000, 28, 28), np.uint8)
predictor.probabilities(images)
before = anonymous_memory()
for size in range(1, 1001):
    predictor.probabilities(images[:size])
print(anonymous_memory() - before)
"""


def test_batches_of_a_thousand_sizes_leave_memory_as_it_was(tmp_path: Path) -> None:
    """In a process of its own: what other work has freed there would hide a growth, or be one."""
    (tmp_path / "model.onnx").write_bytes(MODEL)
    support = Path(onnx_models.__file__).parent
    grown = int(run(THOUSAND_SIZES, tmp_path, support))
    assert grown < 32 * 2**20  # what is kept by size comes to 1.5 GiB


def test_threads_may_share_a_predictor() -> None:
    sources = [np.asarray(seven(width)) for width in range(1, 15)] * 8
    alone = [predictor().predict(source) for source in sources]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(predictor().predict, sources)) == alone


def test_a_predictor_pickles_as_the_bytes_of_its_artifact(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(MODEL)
    pickled = pickle.dumps(Predictor(path))
    path.unlink()
    assert len(pickled) < len(MODEL) + 200
    copy = pickle.loads(pickled)
    assert copy.metadata == onnx_models.METADATA
    assert copy.predict(seven()) == predictor().predict(seven())


def test_a_predictor_works_in_a_spawned_process() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(predictor().predict, (seven(),)) == predictor().predict(seven())


def run(code: str, tmp_path: Path, *folders: Path) -> str:
    """The output of a fresh interpreter that can import the serving package, and from `folders`."""
    path = [Path(mnist_sgd_serve.__file__).parents[1], *folders]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


LOADED = "print(*sorted({name.split('.')[0] for name in sys.modules} & set(WATCHED)))\n"


def test_the_import_brings_numpy_only_and_an_answer_never_brings_torch(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(MODEL)
    (tmp_path / "seven.png").write_bytes(encode(seven()))
    watched = ["numpy", "PIL", "onnxruntime", "onnx", "torch", "torchvision", "mnist_sgd", "scipy"]
    code = (
        f"import sys\nWATCHED = {watched}\n"
        "from mnist_sgd_serve import Predictor\n"
        + LOADED
        + "answer = Predictor('model.onnx').predict('seven.png')\n"
        + LOADED
        + "print(*sorted(name for name in sys.modules if name.endswith('ImagePlugin')))\n"
    )
    assert run(code, tmp_path).splitlines() == [
        "numpy",
        "PIL numpy onnxruntime",
        "PIL.PngImagePlugin",
    ]


def test_a_photograph_with_exif_data_brings_one_reader_only(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    seven().save(tmp_path / "seven.jpg", exif=exif)
    code = (
        "import sys\nfrom mnist_sgd_serve import decode\n"
        "print(*decode('seven.jpg').shape)\n"
        "print(*sorted(name for name in sys.modules if name.endswith('ImagePlugin')))\n"
    )
    assert run(code, tmp_path).splitlines() == ["120 160", "PIL.JpegImagePlugin"]
