"""A run on one image gives the very bits that a run of the session gives."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from mnist_sgd_serve import Predictor
from mnist_sgd_serve.model.bound_session import BoundSession
from onnx_models import content, linear

PREDICTOR = Predictor(content(linear()))
ONE = BoundSession(PREDICTOR.artifact.session)


@given(st.lists(arrays(np.uint8, (1, 28, 28)), min_size=1, max_size=3))
def test_each_run_gives_the_bits_of_the_session(images: list[NDArray[np.uint8]]) -> None:
    answers = [ONE.run(image) for image in images]  # a later run leaves an earlier answer alone
    for image, answer in zip(images, answers, strict=True):
        expected = PREDICTOR.probabilities(image)
        assert (answer.dtype, answer.shape) == (expected.dtype, expected.shape)
        assert answer.tobytes() == expected.tobytes()


def test_an_image_that_is_part_of_another_array_is_read_as_it_lies_there() -> None:
    wide = np.random.default_rng(0).integers(0, 256, (1, 28, 56), np.uint8)
    image = wide[:, :, ::2]
    assert ONE.run(image).tobytes() == PREDICTOR.probabilities(image).tobytes()


def test_another_shape_is_not_taken_for_an_image() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        ONE.run(np.zeros((2, 28, 28), np.uint8))
