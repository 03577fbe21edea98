"""A fit tries its model on one image before it prints anything, and leaves no trace of that."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from learners import learner
from mnist_sgd import Callback, DataLoader, DataLoaders, Learner

Output = pytest.CaptureFixture[str]


def items() -> DataLoaders:
    """Batches of tensors `[B, 784]` and `[B, 1]` that are no uint8 images."""
    data = TensorDataset(torch.rand(20, 784), torch.arange(20).reshape(20, 1) % 2)
    return DataLoaders(DataLoader(data, 4), DataLoader(data, 4))


@pytest.mark.parametrize("dls", [None, items()], ids=["images", "items"])
@pytest.mark.parametrize("settings", [{}, {"loss_func": lambda p, y: (p - y).abs().mean()}])
def test_ten_outputs_are_refused_before_the_header(
    dls: DataLoaders | None, settings: dict[str, Any], capsys: Output
) -> None:
    """By the loss, or by the metric if the loss is the user's own."""
    learn = learner(nn.Linear(784, 10), **settings | ({"dls": dls} if dls else {}))
    learn.logger = print
    name = "batch_accuracy" if settings else "mnist_loss"
    with pytest.raises(ValueError, match=rf"^{name} takes .* \[B, 1\]; .* must have one output$"):
        learn.fit(1)
    assert capsys.readouterr().out == ""
    assert learn.opt is None


@pytest.mark.parametrize(
    ("dls", "note"),
    [
        (None, "[B, 784]; DataLoader(flatten=False) makes them [B, 1, 28, 28]"),
        (items(), "[B, 784]"),
    ],
    ids=["images", "items"],
)
def test_another_shape_is_refused_with_the_way_to_it(
    dls: DataLoaders | None, note: str, capsys: Output
) -> None:
    settings: dict[str, Any] = {"dls": dls} if dls else {}
    learn = learner(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten()), **settings)
    learn.logger = print
    with pytest.raises(RuntimeError, match=r"conv2d.*size: \[2, 784\]") as caught:
        learn.fit(1)
    assert caught.value.__notes__ == [f"the batches are {note}"]
    assert capsys.readouterr().out == ""


def test_it_changes_no_random_state_no_statistics_no_mode_and_no_order() -> None:
    norm = nn.BatchNorm1d(4)
    learn = learner(nn.Sequential(nn.Linear(784, 4), norm, nn.Dropout(), nn.Linear(4, 1)))
    random = torch.get_rng_state()
    state = {name: value.clone() for name, value in learn.model.state_dict().items()}
    norm.eval()
    learn.fit(0)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(state[name], each) for name, each in learn.model.state_dict().items())
    assert [module.training for module in learn.model] == [True, False, True, True]  # type: ignore[attr-defined]
    assert learn.dls.train.upcoming == (0, 0)  # type: ignore[attr-defined]


def test_batch_statistics_are_those_of_more_than_one_item() -> None:
    norm = nn.BatchNorm1d(4, track_running_stats=False)
    learn = learner(nn.Sequential(nn.Linear(784, 4), norm, nn.Linear(4, 1)), dls=items())
    learn.fit(1, 0.1)
    assert len(learn.recorder.values) == 1


@pytest.mark.parametrize("how", ["a class", "a hook", "a method"])
def test_custom_code_is_first_called_with_the_first_batch(how: str) -> None:
    calls: list[int] = []

    class Counts(nn.Linear):
        def forward(self, xb: torch.Tensor) -> torch.Tensor:
            calls.append(len(xb))
            return super().forward(xb)

    model = nn.Linear(784, 1) if how != "a class" else Counts(784, 1)
    if how == "a hook":
        model.register_forward_hook(lambda module, inputs, output: calls.append(len(output)))
    elif how == "a method":
        forward = model.forward
        model.forward = lambda xb: calls.append(len(xb)) or forward(xb)  # type: ignore[assignment,func-returns-value]
    learner(model, train=8, valid=4).fit(1)
    assert calls == [4, 4, 4]


def test_a_callback_that_changes_the_output_is_waited_for() -> None:
    class First(Callback):
        def after_pred(self, learn: Learner) -> None:
            learn.pred = learn.pred[:, :1]

    learn = learner(nn.Linear(784, 10), cbs=First)
    learn.fit(1, 0.1)
    assert len(learn.recorder.values) == 1


def test_a_loss_of_classes_is_accepted_for_targets_of_classes() -> None:
    data = TensorDataset(torch.rand(20, 784), torch.arange(20) % 2)
    dls = DataLoaders(DataLoader(data, 4), DataLoader(data, 4))
    learn = learner(nn.Linear(784, 2), dls=dls, loss_func=nn.CrossEntropyLoss(), metrics=None)
    learn.fit(1, 0.1)
    assert len(learn.recorder.values) == 1
