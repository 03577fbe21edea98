"""The recorder's figures have fastai's bits, whenever they are read, and survive a checkpoint."""

import functools
import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from mnist_sgd import Recorder, batch_accuracy
from mnist_sgd.training.recorder import BETA, AverageMeter, Metric, unique_names

LOSS = st.floats(0, 100, width=32)
LOSSES = st.lists(LOSS, min_size=1, max_size=60)


def recorded(losses: Sequence[float], read_after: Sequence[int] = ()) -> Recorder:
    """A recorder of these losses whose figures are read after some of them."""
    recorder = Recorder([])
    for number, loss in enumerate(losses, start=1):
        recorder.add_batch(torch.tensor(loss, requires_grad=True), lr=0.5)
        if number in read_after:
            recorder.read_losses()
    recorder.read_losses()
    return recorder


def fastais(losses: Sequence[float]) -> list[float]:
    """What fastai 2.8's AvgSmoothLoss says after each loss, one after the other."""
    average, smooth = torch.tensor(0.0), []
    for count, loss in enumerate(losses, start=1):
        average = torch.lerp(torch.tensor(loss).mean(), average, BETA)
        smooth.append((average / (1 - BETA**count)).item())
    return smooth


@settings(deadline=None)
@given(LOSSES, st.lists(st.integers(1, 60), max_size=5))
def test_the_smoothed_losses_have_fastais_bits_however_often_they_are_read(
    losses: list[float], read_after: list[int]
) -> None:
    assert recorded(losses, read_after).losses == fastais(losses)


@settings(deadline=None)
@given(st.lists(st.tuples(LOSS, st.integers(1, 5000)), min_size=1, max_size=60))
def test_a_mean_has_the_bits_of_adding_batch_after_batch(batches: list[tuple[float, int]]) -> None:
    mean, total, count = AverageMeter(), torch.tensor(0.0), 0
    for figure, size in batches:
        mean.add(torch.tensor(figure), size)
        total = total + torch.tensor(figure) * size
        count += size
    assert mean.count == count
    assert torch.equal(mean.total, total)
    assert mean.value == (total / count).item()


def test_a_figure_of_several_values_counts_as_their_mean() -> None:
    mean = AverageMeter()
    mean.add(torch.tensor([1.0, 2.0]), 1)
    mean.add(torch.tensor([[6.0]]), 2)
    assert mean.value == (1.5 + 2 * 6) / 3


@pytest.mark.parametrize(
    "values",
    [
        [torch.tensor(True), torch.tensor(False)],
        [torch.tensor(1), torch.tensor(0)],
        [torch.tensor(1.0, dtype=torch.bfloat16), torch.tensor(0.0, dtype=torch.bfloat16)],
        [torch.tensor(1.0, dtype=torch.float64), torch.tensor(0.0, dtype=torch.float64)],
        [torch.tensor([True, True]), torch.tensor([[False]])],
        [torch.tensor(1.0), 0.0],
        [True, False],
        [1, 0],
        [1.0, 0.0],
        [np.float32(1), np.float64(0)],
        [np.True_, np.False_],
        [np.array([1.0, 1.0]), np.array(0)],
    ],
    ids=lambda values: f"{type(values[0]).__name__} {getattr(values[0], 'dtype', '')}",
)
def test_a_metric_may_give_any_kind_of_number(values: list[object]) -> None:
    mean = AverageMeter()
    for value, size in zip(values, (257, 1000), strict=True):
        mean.add(value, size)
    assert mean.value == pytest.approx(257 / 1257, rel=1e-7)


def test_python_numbers_are_averaged_in_double_precision() -> None:
    mean = AverageMeter()
    for value, size in ((0.1, 3), (0.7, 4), (1e-9, 1)):
        mean.add(value, size)
    assert mean.value == (0.1 * 3 + 0.7 * 4 + 1e-9) / 8


def test_a_mean_in_half_precision_does_not_lose_digits() -> None:
    """257 is no bfloat16, and 256 + 1 is 256 in it."""
    mean = AverageMeter()
    for _ in range(1000):
        mean.add(torch.tensor(1.0, dtype=torch.bfloat16), 257)
    assert mean.value == 1.0


@pytest.mark.parametrize("value", [None, "0.5", object()])
def test_a_metric_that_gives_no_number_is_refused(value: object) -> None:
    message = f"^a metric must return a number or a tensor, got {type(value).__name__}$"
    with pytest.raises(TypeError, match=message):
        AverageMeter().add(value, 1)


def recall(predictions: Tensor, targets: Tensor, at: float = 0.5) -> float:
    return at


class F1:
    def __call__(self, predictions: Tensor, targets: Tensor) -> float:
        return 0.0


def test_columns_have_the_names_of_the_functions_also_of_partials() -> None:
    named = functools.partial(recall, at=0.7)
    named.__name__ = "recall_at_0.7"  # type: ignore[attr-defined]
    metrics: list[Metric] = [
        recall,
        functools.partial(recall, at=0.3),
        F1(),
        functools.partial(F1()),
        named,
    ]
    names = Recorder(metrics).metric_names[3:-1]
    assert names == ["recall", "recall", "F1", "F1", "recall_at_0.7"]
    assert unique_names(names) == ["recall", "recall_2", "F1", "F1_2", "recall_at_0.7"]
    assert unique_names(["a", "a_2", "a", "a"]) == ["a", "a_2", "a_3", "a_4"]


@pytest.mark.parametrize("loss", [torch.tensor([2.0]), torch.tensor([[2.0]]).double()])
def test_a_loss_of_one_element_may_have_any_shape_and_type(loss: Tensor) -> None:
    recorder = Recorder([])
    recorder.add_batch(loss, lr=1.0)
    recorder.read_losses()
    assert recorder.losses == fastais([2.0])


def test_recording_waits_for_nothing_and_keeps_no_graph() -> None:
    """On a meta tensor, as on a device that is still busy, any look at a value fails."""
    recorder, mean = Recorder([]), AverageMeter()
    loss = torch.ones((), device="meta", requires_grad=True)
    recorder.add_batch(loss, lr=1.0)
    mean.add(loss, 3)
    assert recorder.losses == []
    assert recorder._unread[0].grad_fn is None
    with pytest.raises(NotImplementedError, match="meta"):
        recorder.read_losses()


@settings(deadline=None)
@given(LOSSES, LOSSES)
def test_a_recorder_that_loads_a_state_goes_on_with_the_same_bits(
    before: list[float], after: list[float]
) -> None:
    first, whole = recorded(before), recorded([*before, *after])
    first.add_epoch([0.25])
    second = Recorder([])
    second.add_batch(torch.tensor(7.0), lr=7.0)  # is forgotten
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.state_dict() == first.state_dict()
    for loss in after:
        second.add_batch(torch.tensor(loss), lr=0.5)
    row = second.add_epoch([0.125])
    assert second.losses == whole.losses
    assert second.lrs == whole.lrs
    assert second.iters == [len(before), len(before) + len(after)]
    assert second.values == [[first.losses[-1], 0.25], row]


def test_a_state_shares_nothing_with_its_recorder() -> None:
    recorder = recorded([1.0])
    state = recorder.state_dict()
    other = Recorder([])
    other.load_state_dict(state)
    other.add_batch(torch.tensor(2.0), lr=1.0)
    other.add_epoch([0.5])
    assert state == recorder.state_dict()


def test_a_state_of_other_metrics_is_refused_and_changes_nothing() -> None:
    recorder = recorded([1.0])
    before = recorder.state_dict()
    with pytest.raises(
        ValueError,
        match=r"^the state has the columns epoch, train_loss, valid_loss, batch_accuracy, time; "
        r"this recorder has epoch, train_loss, valid_loss, time$",
    ):
        recorder.load_state_dict(Recorder([batch_accuracy]).state_dict())
    with pytest.raises(
        ValueError,
        match=r"^this is not a Recorder's state: it lacks lrs, moms, iters, lines, average$",
    ):
        recorder.load_state_dict({"metric_names": [], "values": [], "losses": []})
    assert recorder.state_dict() == before
