"""The chapter's steps and figures, by hand and with the optimizers."""

from functools import partial

import pytest
import torch
from torch import Tensor

from mnist_sgd import (
    SGD,
    BasicOptim,
    DataLoader,
    DataLoaders,
    Learner,
    batch_accuracy,
    calc_grad,
    create_model,
    first,
    init_params,
    linear1,
    mnist_loss,
    mnist_sample,
    train_epoch,
    train_model,
    validate_epoch,
)

Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def dl() -> DataLoader:
    return DataLoader(mnist_sample()[0], batch_size=256)


@pytest.fixture(scope="module")
def valid_dl() -> DataLoader:
    return DataLoader(mnist_sample()[1], batch_size=256)


@pytest.fixture
def params() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return init_params((28 * 28, 1)), init_params(1)


def test_parameters_have_the_chapters_shapes_and_record_gradients(
    params: tuple[Tensor, Tensor],
) -> None:
    weights, bias = params
    assert weights.shape == (784, 1)
    assert bias.shape == (1,)
    assert weights.requires_grad
    assert bias.requires_grad
    assert weights.is_leaf
    assert init_params((1000, 100), std=3.0).std().item() == pytest.approx(3.0, rel=0.02)


def test_the_loaders_give_49_and_8_batches(dl: DataLoader, valid_dl: DataLoader) -> None:
    xb, yb = first(dl)
    assert xb.shape == (256, 784)
    assert yb.shape == (256, 1)
    assert [len(yb) for _, yb in dl] == [256] * 48 + [108]
    assert [len(yb) for _, yb in valid_dl] == [256] * 7 + [246]


def test_the_loss_is_the_distance_of_the_probability_from_the_target() -> None:
    logits = torch.logit(torch.tensor([[0.9], [0.4], [0.2]]))
    targets = torch.tensor([[1], [0], [1]])
    assert mnist_loss(logits, targets).item() == pytest.approx((0.1 + 0.4 + 0.8) / 3)


def test_batch_accuracy_is_the_fraction_called_right() -> None:
    logits = torch.tensor([[2.0], [-1.0], [0.0], [3.0]])
    assert batch_accuracy(logits, torch.tensor([[1], [0], [0], [0]])).item() == 0.75


def test_backward_adds_so_two_more_calls_make_the_gradient_three_and_five_times_as_large(
    dl: DataLoader, params: tuple[Tensor, Tensor]
) -> None:
    weights, bias = params
    xb, yb = first(dl)
    means = []
    for calls in (1, 2, 2):
        for _ in range(calls):
            calc_grad(xb, yb, partial(linear1, weights=weights, bias=bias))
        assert weights.grad is not None
        assert bias.grad is not None
        means.append((weights.grad.mean().item(), bias.grad.item()))
    for times, (weight_mean, bias_mean) in zip((1, 3, 5), means, strict=True):
        assert weight_mean == pytest.approx(times * means[0][0], rel=1e-5)
        assert bias_mean == pytest.approx(times * means[0][1], rel=1e-5)


def test_training_by_hand_reaches_the_chapters_accuracy(
    dl: DataLoader, valid_dl: DataLoader, params: tuple[Tensor, Tensor]
) -> None:
    model = partial(linear1, weights=params[0], bias=params[1])
    before = validate_epoch(model, valid_dl)
    for _ in range(21):
        train_epoch(model, 1.0, params, dl)
    assert before < 0.7
    assert validate_epoch(model, valid_dl) == pytest.approx(0.9677, abs=0.01)


def test_a_parameter_that_the_model_ignores_is_an_error(dl: DataLoader) -> None:
    weights, bias, unused = init_params((28 * 28, 1)), init_params(1), init_params(1)
    with pytest.raises(ValueError, match="a parameter has no gradient: the model does not depend"):
        train_epoch(partial(linear1, weights=weights, bias=bias), 1.0, [unused], dl)


def test_every_image_is_called_a_three_after_the_first_epoch(
    dl: DataLoader, valid_dl: DataLoader
) -> None:
    """0.4932 is the mean of 1, 1, 1, 242/256, 0, 0, 0, 0, whatever the initial weights."""
    for seed in range(5):
        model = create_model("linear", seed)
        train_epoch(model, 1.0, model.parameters(), dl)
        assert validate_epoch(model, valid_dl) == 0.4932


@pytest.mark.parametrize("optimizer", [BasicOptim, SGD, torch.optim.SGD])
def test_twenty_epochs_of_the_linear_model_reach_0978(
    dl: DataLoader, valid_dl: DataLoader, capsys: Output, optimizer: type
) -> None:
    model = create_model("linear", 0)
    figures = train_model(model, 20, optimizer(model.parameters(), lr=1.0), dl, valid_dl)
    assert figures[0] == 0.4932
    assert figures[-1] >= 0.978
    assert capsys.readouterr().out == " ".join(map(str, figures)) + " \n"


def test_the_learners_first_row_says_0495584(
    dl: DataLoader, valid_dl: DataLoader, capsys: Output
) -> None:
    """From 398 of 400 starts: the two others call an image more right."""
    learn = Learner(DataLoaders(dl, valid_dl), create_model("linear", 0), metrics=batch_accuracy)
    learn.fit(1, lr=1.0)
    assert capsys.readouterr().out.splitlines()[1].split()[3] == "0.495584"
    assert learn.recorder.values[0][2] == pytest.approx(1010 / 2038)


def test_forty_epochs_of_the_network_reach_0982(dl: DataLoader, valid_dl: DataLoader) -> None:
    learn = Learner(DataLoaders(dl, valid_dl), create_model("mlp", 0), metrics=batch_accuracy)
    with learn.no_logging():
        learn.fit(40, lr=0.1)
    assert learn.recorder.values[-1][2] >= 0.982
