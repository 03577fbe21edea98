"""The layers for whole pictures compute what they document."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from mnist_sgd import create_model
from mnist_sgd.models.layers import Edges, Histogram, Sum


def images(*rows: list[float]) -> Tensor:
    """One image of these rows."""
    return torch.tensor(rows).reshape(1, 1, len(rows), -1)


def test_edges_are_the_roots_of_differences_along_rows_and_columns() -> None:
    given = images([0.0, 0.25, 0.25], [1.0, 0.25, 0.0])
    same, along, down = Edges()(given)[0]
    np.testing.assert_array_equal(same, given[0, 0])
    np.testing.assert_allclose(along**2, [[0.251, 0.001, 0.001], [0.751, 0.251, 0.001]], atol=1e-6)
    np.testing.assert_allclose(down**2, [[1.001, 0.001, 0.251], [0.001] * 3], atol=1e-6)


def test_edges_are_the_same_in_a_negative() -> None:
    given = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Edges()(1 - given)[:, 1:], Edges()(given)[:, 1:])


def spread(image: Tensor) -> Tensor:
    """The image with every pixel four times, as 2 x 2."""
    return image.repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_the_histogram_has_the_roots_of_the_shares() -> None:
    """Of four pixels one is between two bins, a quarter of the way."""
    counted = Histogram(5)(spread(images([0.0, 0.0], [1.0, 0.3125])))
    shares = np.array([2, 0.75, 0.25, 0, 1]) / 4
    np.testing.assert_allclose(counted[0] ** 2, [5 * s + 0.001 for s in shares], atol=1e-6)


@given(count=st.integers(2, 70), seed=st.integers(0, 99))
def test_every_pixel_counts_once_wherever_it_is(count: int, seed: int) -> None:
    given = spread(torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(seed)))
    counted = Histogram(count)(given)
    assert counted.shape == (2, count)
    shares = (counted**2 - 0.001) / count
    np.testing.assert_allclose(shares.sum(1), [1, 1], atol=1e-4)
    assert shares.min() > -1e-5
    moved = given.roll((2, 4), (2, 3))
    torch.testing.assert_close(Histogram(count)(moved), counted)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_an_image_of_one_grey_level_has_no_other(level: float, dtype: torch.dtype) -> None:
    counted = Histogram(65).to(dtype)(torch.full((1, 1, 28, 28), level, dtype=dtype))
    assert counted.dtype == dtype
    expected = torch.full((65,), 0.001)
    expected[round(64 * level)] += 65
    torch.testing.assert_close(counted[0].float() ** 2, expected, rtol=0.01, atol=1e-5)


def test_a_sum_adds_what_its_modules_make_of_the_same_images() -> None:
    three = Sum([torch.nn.Identity(), torch.nn.Flatten(0), torch.nn.Identity()])
    np.testing.assert_array_equal(three(torch.tensor([1.0, 2.0])), [3, 6])


def test_the_levels_are_no_part_of_the_weights() -> None:
    assert not [name for name in create_model("cnn_histogram", 0).state_dict() if "below" in name]


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_a_batch_may_have_any_number_of_images(batch: int) -> None:
    """The last one of an epoch may have one, with which some batch norms cannot be trained."""
    logits = create_model("cnn_histogram", 0)(torch.rand(batch, 784))
    logits.sum().backward()
    assert logits.shape == (batch, 1)
