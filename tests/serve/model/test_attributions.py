from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

import onnx_models
from mnist_sgd_serve import Predictor
from mnist_sgd_serve.model.attributions import attributions

Pixels = NDArray[np.uint8]
Model = Callable[[Pixels], NDArray[np.float32]]


def digit(seed: int = 3, pixels: int = 150) -> Pixels:
    """An image with about as much ink as a digit, scattered."""
    random = np.random.default_rng(seed)
    image = np.zeros(784, np.uint8)
    image[random.permutation(784)[:pixels]] = random.integers(1, 256, pixels)
    return image.reshape(28, 28)


def weights(scale: float, seed: int = 5) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, scale, 784).astype(np.float32)


def artifact(weight: NDArray[np.float32], bias: float) -> Model:
    """A linear artifact in onnxruntime: sigmoid(image / 255 @ weight + bias)."""
    return Predictor(onnx_models.content(onnx_models.linear(weight, bias))).probabilities


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float32]:
    return (0.5 + 0.5 * np.tanh(logits / 2)).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 99),
    pixels=st.integers(0, 784),
    scale=st.sampled_from([0.02, 0.2, 0.5]),
    bias=st.floats(-5, 5),
)
def test_a_linear_artifact_gives_back_its_weights_times_the_pixels(
    seed: int, pixels: int, scale: float, bias: float
) -> None:
    image, weight = digit(seed, pixels), weights(scale, seed)
    found = attributions(artifact(weight, bias), image)
    assert found is not None
    assert found.shape == (28, 28)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, image / 255 * weight.reshape(28, 28), atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), paper=st.integers(0, 255))
def test_what_is_as_grey_as_the_paper_adds_nothing(seed: int, paper: int) -> None:
    """A model of whole pictures knows things on the paper of its training, not on black."""
    weight = weights(0.02, seed)
    image = np.where(digit(seed) > 0, digit(seed), paper).astype(np.uint8)
    bias = -paper / 255 * float(weight.sum(dtype=np.float64))  # blank paper tells nothing
    found = attributions(artifact(weight, bias), image, paper)
    assert found is not None
    expected = (image.astype(int) - paper) / 255 * weight.reshape(28, 28)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_contributions_and_the_blank_images_logit_sum_to_the_logit() -> None:
    image, model = digit(), artifact(weights(0.2), 0.7)
    found = attributions(model, image)
    assert found is not None
    probability = float(model(image[None])[0])
    logit = np.log(probability / (1 - probability))
    assert 1 < abs(logit) < 8
    assert float(found.sum(dtype=np.float64)) + 0.7 == pytest.approx(logit, abs=1e-3)


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_saturated_verdict_is_explained_all_the_same(sign: int) -> None:
    """A logit of 40 is a probability of 1 in float32, and tells nothing of itself."""
    weight = np.full(784, sign * 0.5, np.float32)
    image = np.where(digit() > 0, 255, 0).astype(np.uint8)
    model = artifact(weight, 0.0)
    assert model(image[None])[0] == (sign > 0)
    found = attributions(model, image)
    assert found is not None
    np.testing.assert_allclose(found, image / 255 * sign * 0.5, atol=1e-5)


def test_blank_paper_adds_nothing() -> None:
    found = attributions(artifact(weights(0.2), -1.5), np.zeros((28, 28), np.uint8))
    assert found is not None
    assert not found.any()


def test_the_ink_alone_is_asked_about_in_one_run() -> None:
    sizes = []
    weight = weights(0.1)

    def model(images: Pixels) -> NDArray[np.float32]:
        sizes.append(len(images))
        return sigmoid(images.reshape(-1, 784) / 255 @ weight.astype(np.float64))

    assert attributions(model, digit(pixels=120)) is not None
    assert sizes == [1 + 120 + 4]


def network(images: Pixels, scale: float = 0.3) -> NDArray[np.float32]:
    """784-30-1 with ReLU, random weights."""
    random = np.random.default_rng(11)
    hidden = images.reshape(-1, 784) / 255 @ random.normal(0, scale, (784, 30))
    return sigmoid(np.maximum(hidden, 0) @ random.normal(0, scale, 30))


def interaction(images: Pixels) -> NDArray[np.float32]:
    """Linear but for one pair of pixels, which counts where both have ink."""
    x = images.reshape(-1, 784) / 255.0
    first, second = np.flatnonzero(digit())[:2]
    return sigmoid(x @ weights(0.02).astype(np.float64) + 0.05 * x[:, first] * x[:, second])


@pytest.mark.parametrize("model", [network, interaction])
def test_a_model_that_is_not_linear_is_not_explained(model: Model) -> None:
    assert attributions(model, digit()) is None


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_nor_is_one_whose_verdict_saturates(scale: float) -> None:
    def model(images: Pixels) -> NDArray[np.float32]:
        return network(images, scale)

    assert attributions(model, digit()) is None


@pytest.mark.parametrize("bias", [-30.0, -12.0, 12.0, 30.0])
def test_a_model_that_is_sure_of_blank_paper_is_not_explained(bias: float) -> None:
    """Its probabilities for single pixels are too near 0 or 1 to tell them apart."""
    assert attributions(artifact(weights(0.1), bias), digit()) is None
