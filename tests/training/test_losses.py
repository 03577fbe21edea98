"""`mnist_loss` is the chapter's formula: its value and its gradient, bit for bit."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from mnist_sgd import batch_accuracy, cross_entropy, mnist_loss

LOGITS = st.lists(st.floats(-80, 1000, width=32), min_size=1, max_size=300)
TYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def chapters(predictions: Tensor, targets: Tensor) -> Tensor:
    """The loss as the chapter writes it."""
    p = predictions.sigmoid()
    return torch.where(targets == 1, 1 - p, p).mean()


def targets_for(logits: Tensor, seed: int, dtype: torch.dtype = torch.int64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 2, logits.shape, generator=generator).to(dtype)


def bits(x: Tensor) -> list[int]:
    return x.detach().flatten().view({4: torch.int32, 8: torch.int64}[x.element_size()]).tolist()


@TYPES
@settings(deadline=None)
@given(logits=LOGITS, seed=st.integers(0, 99), scale=st.sampled_from([1.0, 0.3, -7.0, 1e30]))
def test_value_and_gradient_have_the_formulas_bits(
    dtype: torch.dtype, logits: list[float], seed: int, scale: float
) -> None:
    ours = torch.tensor(logits, dtype=dtype).unsqueeze(1).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    targets = targets_for(ours, seed)
    values = mnist_loss(ours, targets), chapters(theirs, targets)
    for value in values:
        value.backward(torch.tensor(scale, dtype=dtype))  # type: ignore[no-untyped-call]
    assert bits(values[0]) == bits(values[1])
    assert ours.grad is not None
    assert theirs.grad is not None
    assert bits(ours.grad) == bits(theirs.grad)


def test_where_the_probability_is_nothing_the_gradient_is_nothing() -> None:
    """Below -88 the sigmoid is 0 in float32."""
    logits = torch.tensor([[-90.0], [-1000.0], [-90.0], [-float("inf")]], requires_grad=True)
    value = mnist_loss(logits, torch.tensor([[0], [0], [1], [1]]))
    value.backward()  # type: ignore[no-untyped-call]
    assert value.item() == 0.5
    assert logits.grad is not None
    assert logits.grad.count_nonzero() == 0


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.float32])
def test_targets_may_be_of_any_type_of_number(dtype: torch.dtype) -> None:
    logits = torch.linspace(-20, 20, 51).unsqueeze(1)
    targets = targets_for(logits, 0, dtype)
    assert mnist_loss(logits, targets).dtype == torch.float32
    assert bits(mnist_loss(logits, targets)) == bits(chapters(logits, targets))


def test_the_second_derivative_is_the_formulas() -> None:
    found = []
    for loss in (mnist_loss, chapters):
        logits = torch.linspace(-6, 6, 13).unsqueeze(1).requires_grad_()
        (slope,) = torch.autograd.grad(
            loss(logits, targets_for(logits, 1)), logits, None, True, True
        )
        (curvature,) = torch.autograd.grad(slope.sum(), logits)
        found.append(curvature)
    assert found[0].count_nonzero() == 12  # not at the middle of the sigmoid
    assert torch.allclose(found[0], found[1], rtol=1e-6, atol=0)


@given(logits=st.lists(st.floats(-15, 15, width=32), min_size=1, max_size=50), seed=st.integers(0))
def test_cross_entropy_is_the_mean_of_the_surprise(logits: list[float], seed: int) -> None:
    predictions = torch.tensor(logits).unsqueeze(1)
    targets = targets_for(predictions, seed % 2**32)
    p = predictions.double().sigmoid()
    surprise = -torch.where(targets == 1, p, 1 - p).log()
    loss = cross_entropy(predictions, targets)
    assert (loss.shape, loss.dtype) == ((), torch.float32)
    assert loss.item() == pytest.approx(surprise.mean().item(), rel=1e-5, abs=1e-6)


def test_cross_entropy_stays_finite_and_pulls_where_the_chapters_loss_has_no_gradient() -> None:
    gradients = []
    for loss in (cross_entropy, mnist_loss):
        logits = torch.tensor([[-1000.0], [1000.0]], requires_grad=True)
        value = loss(logits, torch.tensor([[1], [0]]))
        value.backward()  # type: ignore[no-untyped-call]
        assert logits.grad is not None
        gradients.append((value.item(), logits.grad.flatten().tolist()))
    assert gradients == [(1000.0, [-0.5, 0.5]), (1.0, [0.0, 0.0])]


B1 = "predictions and targets of one shape, [B, 1]"


@pytest.mark.parametrize("function", [mnist_loss, cross_entropy, batch_accuracy])
@pytest.mark.parametrize(
    ("predictions", "targets", "advice"),
    [
        ((8, 1), (8,), "; make the targets [B, 1], as targets.unsqueeze(1) does"),
        ((8,), (8, 1), "; let the model end in [B, 1], without squeezing it"),
        ((8, 2), (8, 1), "; the model must have one output"),
        ((8, 1), (1, 1), ""),
        ((8, 1), (8, 1, 1), ""),
    ],
)
def test_shapes_that_would_be_broadcast_are_refused(
    function: Callable[[Tensor, Tensor], Tensor],
    predictions: tuple[int, ...],
    targets: tuple[int, ...],
    advice: str,
) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  # the text is compared
        function(torch.zeros(predictions), torch.zeros(targets, dtype=torch.int64))
    assert str(refused.value) == (
        f"{function.__name__} takes {B1}; got predictions {list(predictions)} and targets "
        f"{list(targets)}{advice}"
    )
