"""Callbacks: fastai's events in fastai's order, in the state that they promise, none left out."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hooks import Accumulates, StopAfter
from image_sets import random_set
from learners import learner
from mnist_sgd import (
    Callback,
    CancelBackward,
    CancelBatch,
    CancelEpoch,
    CancelFit,
    CancelStep,
    CancelTrain,
    CancelValidate,
    DataLoader,
    DataLoaders,
    Learner,
    batch_accuracy,
    create_model,
)
from mnist_sgd.training.callbacks.base import EVENTS
from mnist_sgd.training.loop import print_nothing


@pytest.fixture
def learn() -> Learner:
    """Of 3 training batches and 2 validation batches."""
    return learner(train=12, valid=6)


def recording(seen: list[str], raises: dict[str, type[Exception]] | None = None) -> type[Callback]:
    """A callback that notes every event, and raises at some of them."""

    def handler(event: str) -> Callable[[Callback, Learner], None]:
        def method(self: Callback, learn: Learner) -> None:
            seen.append(event)
            if raises and event in raises:
                raise raises.pop(event)  # once

        return method

    return type("Recording", (Callback,), {event: handler(event) for event in EVENTS})


BATCH = ["before_batch", "after_pred", "after_loss"]


@pytest.mark.parametrize(
    ("event", "error", "expected"),
    [
        (
            "before_backward",
            CancelBackward,
            [
                *(*BATCH, "before_backward", "after_cancel_backward", "after_backward"),
                *("before_step", "after_step", "after_batch"),
            ],
        ),
        (
            "before_step",
            CancelStep,
            [
                *(*BATCH, "before_backward", "after_backward"),
                *("before_step", "after_cancel_step", "after_step", "after_batch"),
            ],
        ),
        ("after_pred", CancelBatch, [*BATCH[:2], "after_cancel_batch", "after_batch"]),
        (
            "before_batch",
            CancelTrain,
            ["before_batch", "after_cancel_train", "after_train", "cleanup_train"],
        ),
        (
            "before_train",
            CancelTrain,
            ["before_train", "after_cancel_train", "after_train", "cleanup_train"],
        ),
        (
            "before_validate",
            CancelValidate,
            ["before_validate", "after_cancel_validate", "after_validate", "cleanup_validate"],
        ),
        (
            "before_epoch",
            CancelEpoch,
            ["before_epoch", "after_cancel_epoch", "after_epoch", "cleanup_epoch"],
        ),
        (
            "before_validate",
            CancelEpoch,
            [
                *("before_validate", "cleanup_validate"),
                *("after_cancel_epoch", "after_epoch", "cleanup_epoch"),
            ],
        ),
        ("before_fit", CancelFit, ["before_fit", "after_cancel_fit", "after_fit", "cleanup_fit"]),
        (
            "after_batch",
            CancelFit,
            [
                *("after_batch", "cleanup_train", "cleanup_epoch"),
                *("after_cancel_fit", "after_fit", "cleanup_fit"),
            ],
        ),
        ("after_train", CancelTrain, ["after_train", "cleanup_train", "before_validate"]),
        ("after_fit", CancelFit, ["after_epoch", "cleanup_epoch", "after_fit", "cleanup_fit"]),
    ],
)
def test_after_a_cancellation_the_stage_is_finished_and_then_training_continues(
    learn: Learner, event: str, error: type[Exception], expected: list[str]
) -> None:
    seen: list[str] = []
    learn.fit(1, lr=0.1, cbs=recording(seen, {event: error}))
    start = seen.index(expected[0])
    assert seen[start : start + len(expected)] == expected
    assert seen[-1] == "cleanup_fit"


def test_an_exception_cleans_up_every_stage_that_it_ends(learn: Learner) -> None:
    seen: list[str] = []
    with pytest.raises(ZeroDivisionError) as raised:
        learn.fit(1, cbs=recording(seen, {"after_loss": ZeroDivisionError}))
    assert seen[-4:] == ["after_loss", "cleanup_train", "cleanup_epoch", "cleanup_fit"]
    assert raised.value.__notes__ == ["in the callback Recording, after_loss"]


ENDS = {
    CancelFit: ("fit", "a fit"),
    CancelEpoch: ("epoch", "an epoch"),
    CancelTrain: ("train", "an epoch's training"),
    CancelValidate: ("validate", "a validation"),
    CancelBatch: ("batch", "a batch"),
    CancelBackward: ("backward", "a backward pass"),
    CancelStep: ("step", "a step"),
}


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ("before_fit", CancelEpoch),
        ("before_epoch", CancelTrain),
        ("before_batch", CancelValidate),
        ("before_batch", CancelBackward),
        ("before_step", CancelBackward),
        ("before_backward", CancelStep),
        ("after_epoch", CancelBatch),
        ("cleanup_epoch", CancelEpoch),
        ("cleanup_fit", CancelFit),
    ],
)
def test_a_cancellation_that_ends_nothing_says_what_it_is_for(
    learn: Learner, event: str, error: type[Exception]
) -> None:
    with pytest.raises(error) as raised:
        learn.fit(1, cbs=recording([], {event: error}))
    stage, words = ENDS[error]
    assert str(raised.value) == (
        f"{error.__name__} was raised in the callback Recording, {event}, where there is nothing "
        f"that it ends: it ends {words}, and is for the events from before_{stage} to "
        f"after_{stage} of one, other than after_cancel_{stage}"
    )
    learn.fit(1)
    assert len(learn.recorder.values) == 1


def test_a_cancellation_that_ends_nothing_keeps_what_it_says(learn: Learner) -> None:
    class Enough(Callback):
        def before_validate(self, learn: Learner) -> None:
            raise CancelFit("it is enough")

    expected = (
        "CancelFit was raised in the callback Enough, before_validate, where there is nothing that "
        "it ends: it ends a fit, and is for the events from before_fit to after_fit of one, other "
        "than after_cancel_fit (it is enough)"
    )
    for call in (learn.validate, learn.get_preds):
        with pytest.raises(CancelFit, match=f"^{re.escape(expected)}$"):
            call(cbs=Enough())


def test_a_validation_within_a_fit_may_end_the_fit(learn: Learner) -> None:
    class Stop(Callback):
        def before_validate(self, learn: Learner) -> None:
            raise CancelFit

    class Validating(Callback):
        def after_train(self, learn: Learner) -> None:
            learn.validate(cbs=Stop())

    learn.fit(3, cbs=Validating())
    assert learn.recorder.values == []


def test_a_callback_is_told_when_the_learner_is_made() -> None:
    seen: list[str] = []
    batches = [(torch.zeros(1, 784), torch.ones(1, 1))]
    Learner(DataLoaders(batches, batches), create_model("linear", 0), cbs=recording(seen))
    assert seen == ["after_create"]


def test_batches_are_in_the_state_that_each_event_promises(learn: Learner) -> None:
    class Look(Callback):
        def __init__(self) -> None:
            self.weight = torch.empty(0)
            self.seen: set[str] = set()

        def look(self, event: str, learn: Learner, gradient: bool, changed: bool) -> None:
            self.seen.add(event)
            p = next(learn.model.parameters())
            assert (p.grad is not None) is gradient
            assert torch.equal(p, self.weight) is not changed

        def before_train(self, learn: Learner) -> None:
            assert learn.training
            assert learn.model.training
            assert learn.dl is learn.dls.train

        def before_validate(self, learn: Learner) -> None:
            assert not learn.training
            assert not learn.model.training
            assert learn.dl is learn.dls.valid

        def before_batch(self, learn: Learner) -> None:
            assert len(learn.xb) == len(learn.yb) > 0
            self.weight = next(learn.model.parameters()).detach().clone()

        def before_backward(self, learn: Learner) -> None:
            self.look("before_backward", learn, gradient=False, changed=False)

        def before_step(self, learn: Learner) -> None:
            self.look("before_step", learn, gradient=True, changed=False)

        def after_step(self, learn: Learner) -> None:
            self.look("after_step", learn, gradient=True, changed=True)

        def after_batch(self, learn: Learner) -> None:
            if learn.training:
                self.look("after_batch", learn, gradient=False, changed=True)

        def after_train(self, learn: Learner) -> None:
            assert learn.training
            assert len(learn.xb) == len(learn.yb) == 0

    look = Look()
    learn.fit(2, lr=0.1, cbs=look)
    assert look.seen == {"before_backward", "before_step", "after_step", "after_batch"}


def test_a_layer_that_is_frozen_before_the_training_stays_frozen() -> None:
    class FreezeNorm(Callback):
        def before_train(self, learn: Learner) -> None:
            learn.model[1].eval()  # type: ignore[index]

    batches = [(torch.randn(16, 4) + 5, torch.ones(16, 1)) for _ in range(3)]
    norm = nn.BatchNorm1d(4)
    model = nn.Sequential(nn.Linear(4, 4), norm, nn.Linear(4, 1))
    learn = Learner(DataLoaders(batches, batches), model, cbs=FreezeNorm())
    with learn.no_logging():
        learn.fit(2, lr=0.01)
    assert norm.running_mean is not None
    assert norm.running_mean.tolist() == [0.0] * 4


def test_the_share_of_the_training_that_is_done_grows_from_0_to_1(learn: Learner) -> None:
    shares: dict[str, list[float]] = {}

    def note(event: str) -> Callable[[Callback, Learner], None]:
        return lambda self, learn: shares.setdefault(event, []).append(learn.pct_train)

    events = ["before_fit", "before_train", "before_step", "before_validate", "after_fit"]
    cb = type("Note", (Callback,), {event: note(event) for event in events})
    learn.fit(2, cbs=cb)
    assert shares == {
        "before_fit": [0.0],
        "before_train": [0.0, 0.5],
        "before_step": [pytest.approx(i / 6) for i in range(6)],
        "before_validate": [0.5, 1.0],
        "after_fit": [1.0],
    }


class Flip(Callback):
    """Stands for any change of the inputs."""

    def before_batch(self, learn: Learner) -> None:
        learn.xb = learn.xb.flip(1)


class Doubled(Callback):
    """Stands for any change of the outputs."""

    def after_pred(self, learn: Learner) -> None:
        learn.pred = 2 * learn.pred


def test_predictions_and_the_rate_finder_see_what_training_and_validation_see() -> None:
    images = random_set(60)
    dls = DataLoaders(DataLoader(images, 4), DataLoader(images, 4))
    plain, changed = (
        Learner(dls, create_model("linear", 0), metrics=batch_accuracy, cbs=cbs)
        for cbs in (None, [Flip, Doubled])
    )
    xb = torch.tensor(images.images).reshape(-1, 784).float() / 255
    logits = 2 * changed.model(xb.flip(1)).detach()
    assert torch.allclose(changed.get_preds(act=None)[0], logits, atol=1e-6)
    assert changed.predict(images.images[3])[2] == pytest.approx(logits[3].sigmoid().item())
    accuracy = ((logits.sigmoid() > 0.5) == torch.tensor(images.labels)[:, None]).float().mean()
    assert changed.validate()[1] == pytest.approx(accuracy.item())
    assert changed.lr_find(num_it=20).losses != plain.lr_find(num_it=20).losses


def test_a_loader_of_bytes_works_everywhere_with_the_callback_that_converts_them() -> None:
    class ToFloat(Callback):
        def before_batch(self, learn: Learner) -> None:
            learn.xb = learn.xb.float() / 255

    images = random_set(60)
    bytes_, floats = (
        Learner(
            DataLoaders(*(DataLoader(images, 4, dtype=dtype) for _ in range(2))),
            create_model("linear", 0),
            cbs=cbs,
        )
        for dtype, cbs in ((torch.uint8, ToFloat), (torch.float32, None))
    )
    assert bytes_.lr_find(num_it=20) == floats.lr_find(num_it=20)
    assert torch.equal(bytes_.get_preds()[0], floats.get_preds()[0])
    assert bytes_.predict(images.images[0]) == floats.predict(images.images[0])
    assert bytes_.validate() == floats.validate()


def test_callbacks_of_one_validation_or_prediction_are_called_in_it_alone(learn: Learner) -> None:
    seen: list[str] = []
    cb = recording(seen)
    learn.validate(cbs=cb)
    expected = ["before_validate", *([*BATCH, "after_batch"] * 2)]
    expected += ["after_validate", "cleanup_validate"]
    assert seen == expected
    learn.get_preds(cbs=[cb])
    assert seen == expected * 2
    learn.validate()
    assert seen == expected * 2


def test_validating_in_the_middle_of_a_training_changes_nothing_of_it() -> None:
    """The next batches are still trained in training mode, with what the loop had."""

    class Peek(Callback):
        def after_loss(self, learn: Learner) -> None:
            if learn.training:
                before = learn.xb, learn.yb, learn.pred, learn.loss, learn.pct_train, learn.dl
                learn.validate(self.valid)
                learn.get_preds(self.valid)
                after = learn.xb, learn.yb, learn.pred, learn.loss, learn.pct_train, learn.dl
                assert all(a is b or a == b for a, b in zip(before, after, strict=True))
                assert learn.training
                assert learn.model.training

        def __init__(self) -> None:
            self.valid = DataLoader(random_set(6), 4)

    weights = []
    for cbs in ([], [Peek()]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(784, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 1))
        dls = DataLoaders(DataLoader(random_set(12), 4), DataLoader(random_set(6), 4))
        learn = Learner(dls, model, metrics=batch_accuracy)
        with learn.no_logging():
            learn.fit(2, lr=0.1, cbs=cbs)
        weights.append((list(model.state_dict().values()), learn.recorder.values))
    (plain, rows), (peeked, peeked_rows) = weights
    assert all(torch.equal(a, b) for a, b in zip(plain, peeked, strict=True))
    assert rows == peeked_rows


def test_validating_the_training_batches_does_not_move_the_training_order() -> None:
    class Peek(Callback):
        def after_batch(self, learn: Learner) -> None:
            if learn.training and learn.batch == 2:
                learn.validate(0)

    weights = []
    for cbs in ([], [Peek()]):
        train = DataLoader(random_set(12), 4, shuffle=True)
        learn = Learner(DataLoaders(train, DataLoader(random_set(6), 4)), create_model("linear", 0))
        with learn.no_logging():
            if cbs:
                learn.validate(0)
            learn.fit(2, lr=0.1, cbs=cbs)
        weights.append((learn.model.state_dict()["weight"].clone(), train.state_dict()))
    assert torch.equal(weights[0][0], weights[1][0])
    assert weights[0][1] == weights[1][1]


def test_predicting_within_a_validation_changes_nothing_of_it(learn: Learner) -> None:
    class Peek(Callback):
        def after_loss(self, learn: Learner) -> None:
            learn.get_preds([torch.zeros(1, 784)])  # type: ignore[list-item]

        def __init__(self) -> None:
            self.run_train = False

    class Once(Peek):
        def after_loss(self, learn: Learner) -> None:
            if not self.inside:
                self.inside = True
                super().after_loss(learn)
                self.inside = False

        inside = False

    expected = learn.validate()
    assert learn.validate(cbs=Once) == expected


def test_a_validation_that_leaves_batches_out_is_marked_as_partial(learn: Learner) -> None:
    class Skip(Callback):
        run_train = False

        def before_batch(self, learn: Learner) -> None:
            if len(learn.xb) == 2:
                raise CancelBatch

    learn.fit(1, cbs=Skip())
    assert learn.recorder.partial == [0]


def test_callbacks_are_called_by_their_order_and_otherwise_as_they_were_given(
    learn: Learner,
) -> None:
    seen: list[str] = []

    def named(name: str, order: float) -> Callback:
        def before_fit(self: Callback, learn: Learner) -> None:
            seen.append(name)

        made: Callback = type(name, (Callback,), {"before_fit": before_fit, "order": order})()
        return made

    learn.cbs = [named("c", 5), named("a", -1)]
    learn.fit(1, cbs=[named("b1", 0), named("b2", 0), named("c2", 5)])
    assert seen == ["a", "b1", "b2", "c", "c2"]


@pytest.mark.parametrize(
    ("flags", "train", "valid"),
    [
        ({}, 3, 2),
        ({"run_valid": False}, 3, 0),
        ({"run_train": False}, 0, 2),
        ({"run": False}, 0, 0),
    ],
)
def test_a_callback_may_run_in_training_or_in_validation_alone(
    learn: Learner, flags: dict[str, bool], train: int, valid: int
) -> None:
    class Count(Callback):
        def __init__(self) -> None:
            self.seen = {True: 0, False: 0}

        def after_pred(self, learn: Learner) -> None:
            self.seen[learn.training] += 1

    count = Count()
    for name, value in flags.items():
        setattr(count, name, value)
    learn.fit(1, cbs=count)
    assert count.seen == {True: train, False: valid}
    assert count.run


def test_what_is_changed_about_the_loss_before_its_gradient_is_taken_counts() -> None:
    class Penalty(Callback):
        def after_loss(self, learn: Learner) -> None:
            learn.loss_grad += 100 * learn.model.weight.pow(2).sum()  # type: ignore[operator]

    def fitted(*cbs: Callback) -> tuple[float, list[float]]:
        torch.manual_seed(0)
        batches = [(torch.randn(16, 1), torch.ones(16, 1)) for _ in range(4)]
        model = nn.Linear(1, 1)
        learn = Learner(DataLoaders(batches, batches), model, cbs=list(cbs))
        with learn.no_logging():
            learn.fit(1, lr=1e-3)
        return model.weight.abs().item(), learn.recorder.losses

    (plain, losses), (penalised, same_losses) = fitted(), fitted(Penalty())
    assert penalised < plain
    assert same_losses[0] == losses[0]  # the penalty is not part of the recorded loss


class Misspelt(Callback):
    def after_bacth(self, learn: Learner) -> None:
        """Would never be called."""


class NoLearner(Callback):
    def before_fit(self) -> None:  # type: ignore[override]
        """As fastai's callbacks are written."""


class Invented(Callback):
    def after_all_is_done(self, learn: Learner) -> None:
        """No event is near."""


EVENT_LIST = ", ".join(EVENTS)


@pytest.mark.parametrize(
    ("cbs", "message"),
    [
        (
            Misspelt(),
            "Misspelt.after_bacth is not an event of the training loop; did you mean after_batch? "
            f"(the events: {EVENT_LIST}); a helper method's name must not begin with before_, "
            "after_ or cleanup_",
        ),
        (
            [Callback(), Invented],
            "Invented.after_all_is_done is not an event of the training loop (the events: "
            f"{EVENT_LIST}); a helper method's name must not begin with before_, after_ or "
            "cleanup_",
        ),
        (
            NoLearner,
            "NoLearner.before_fit must take the learner and nothing else: "
            "def before_fit(self, learn)",
        ),
        ("tqdm", "cbs takes Callbacks, classes of them, or a list of these; got str"),
        ([dict], "cbs takes Callbacks, classes of them, or a list of these; got type"),
    ],
)
def test_what_would_never_be_called_is_refused_before_any_work(
    learn: Learner, cbs: Any, message: str
) -> None:
    calls: list[Callable[[], object]] = [
        lambda: Learner(learn.dls, learn.model, cbs=cbs),
        lambda: learn.fit(1, cbs=cbs),
        lambda: learn.validate(cbs=cbs),
        lambda: learn.get_preds(cbs=cbs),
    ]
    for call in calls:
        with pytest.raises(TypeError) as refused:
            call()
        assert str(refused.value) == message
    assert learn.recorder.lrs == []


@pytest.mark.parametrize("cbs", [None, [], (), Callback, Callback(), [Callback, Callback()]])
def test_callbacks_are_given_as_in_fastai(learn: Learner, cbs: Any) -> None:
    other = Learner(learn.dls, learn.model, cbs=cbs, metrics=None)
    other.logger = print_nothing
    other.fit(1, cbs=cbs)
    assert len(other.recorder.values) == 1


def test_a_cancelled_batch_leaves_its_gradient_to_the_next_but_not_to_the_next_fit() -> None:
    def weight(batches: list[tuple[Tensor, Tensor]], *cbs: Callback) -> Tensor:
        model = nn.Linear(2, 1)
        nn.init.ones_(model.weight)
        learn = Learner(DataLoaders(batches, batches), model, summed, cbs=list(cbs))
        with learn.no_logging():
            learn.fit(1, lr=0.5)
            learn.fit(1, lr=0.0)
        assert len(learn.recorder.losses) == len(batches)
        return model.weight.detach()

    def summed(predictions: Tensor, targets: Tensor) -> Tensor:
        return (predictions - targets).pow(2).sum()

    torch.manual_seed(0)
    xb, yb = torch.randn(4, 2), torch.randn(4, 1)
    halves = [(xb[:2], yb[:2]), (xb[2:], yb[2:])]
    torch.manual_seed(1)
    whole = weight([(xb, yb)])
    torch.manual_seed(1)
    assert torch.allclose(weight(halves, Accumulates(2)), whole)

    class Leave(Callback):
        def before_step(self, learn: Learner) -> None:
            raise CancelFit

    learn = Learner(DataLoaders(halves, halves), nn.Linear(2, 1), summed)
    with learn.no_logging():
        learn.fit(1, cbs=Leave())
        assert all(p.grad is not None for p in learn.model.parameters())
        learn.fit(0)
    assert all(p.grad is None for p in learn.model.parameters())


class Interrupted(Exception):  # noqa: N818 (it stands for KeyboardInterrupt)
    """Stands for what is no cancellation."""


@pytest.mark.parametrize("error", [CancelFit, CancelTrain, CancelEpoch, Interrupted])
def test_whatever_ends_a_training_the_record_is_complete_and_the_batch_is_released(
    learn: Learner, error: type[Exception]
) -> None:
    try:
        learn.fit(1, lr=0.1, cbs=StopAfter(2, error))
    except Interrupted:
        assert error is Interrupted
    assert len(learn.recorder.losses) == len(learn.recorder.lrs) == len(learn.recorder.moms) == 2
    assert len(learn.xb) == len(learn.yb) == 0
    assert not learn.training


def test_the_row_of_a_cancelled_epoch_has_what_was_measured(learn: Learner) -> None:
    class Skip(Callback):
        def before_validate(self, learn: Learner) -> None:
            if learn.epoch == 1:
                raise CancelEpoch

    lines: list[str] = []
    learn.logger = lines.append
    learn.fit(3, cbs=Skip())
    rows = learn.recorder.values
    assert [row[0] for row in rows] == [learn.recorder.losses[i] for i in (2, 5, 8)]
    assert [[value == value for value in row[1:]] for row in rows] == [
        [True, True],
        [False, False],
        [True, True],
    ]
    assert learn.recorder.iters == [3, 6, 9]
    assert lines[2].split()[2:4] == ["nan", "nan"]


def test_means_over_a_part_of_the_validation_are_marked(learn: Learner) -> None:
    class Half(Callback):
        def after_batch(self, learn: Learner) -> None:
            if not learn.training and learn.epoch == 1:
                raise CancelValidate

    lines: list[str] = []
    learn.logger = lines.append
    learn.dls.valid = DataLoader(random_set(6), 4)
    learn.fit(2, lr=0.0, cbs=Half())
    whole, part = learn.recorder.values
    (first_batch, *_) = learn.dls.valid
    assert part[1:] == pytest.approx(learn.validate([first_batch]))
    assert part[1] != whole[1]
    assert learn.recorder.partial == [1]
    cells = [line.split()[2:4] for line in lines[1:]]
    assert cells[0] == [f"{value:.6f}" for value in whole[1:]]
    assert cells[1] == [f"~{value:.6f}" for value in part[1:]]
    state = learn.recorder.state_dict()
    learn.recorder.partial = []
    learn.recorder.load_state_dict(state)
    assert learn.recorder.partial == [1]


def test_a_batch_that_is_no_pair_is_named() -> None:
    class Lone:
        def __iter__(self) -> Iterator[Any]:
            yield [torch.zeros(1, 784)]

    learn = Learner(DataLoaders(Lone(), Lone()), create_model("linear", 0))
    with (
        learn.no_logging(),
        pytest.raises(TypeError, match=r"^a batch must be a pair of tensors \(xb, yb\), got list$"),
    ):
        learn.fit(1)


def test_every_cleanup_is_called_after_an_error_in_one(learn: Learner) -> None:
    seen: list[str] = []

    class Fails(Callback):
        def cleanup_fit(self, learn: Learner) -> None:
            raise OSError("the disk is full")

        def cleanup_train(self, learn: Learner) -> None:
            raise KeyboardInterrupt

    with pytest.raises(OSError, match=r"^the disk is full\n") as raised:
        learn.fit(1, cbs=[Fails(), recording(seen)()])
    assert isinstance(raised.value.__context__, KeyboardInterrupt)
    assert seen[-3:] == ["cleanup_train", "cleanup_epoch", "cleanup_fit"]


def test_metrics_that_are_added_before_the_fit_begins_have_a_column(learn: Learner) -> None:
    def half(predictions: Tensor, targets: Tensor) -> float:
        return 0.5

    class Adds(Callback):
        def before_fit(self, learn: Learner) -> None:
            learn.metrics = [batch_accuracy, half]

    lines: list[str] = []
    learn.logger = lines.append
    learn.fit(1, cbs=Adds())
    names = ["train_loss", "valid_loss", "batch_accuracy", "half"]
    assert lines[0].split() == ["epoch", *names, "time"]
    assert learn.recorder.values[0][3] == 0.5


def test_metrics_that_change_in_the_middle_of_a_fit_are_refused_before_the_epoch(
    learn: Learner,
) -> None:
    class Changes(Callback):
        def before_epoch(self, learn: Learner) -> None:
            if learn.epoch == 1:
                learn.metrics = None

    message = (
        "^the metrics are none, but the table of this fit has the columns batch_accuracy: assign "
        "learn.metrics before the fit, or in before_fit$"
    )
    with pytest.raises(ValueError, match=message):
        learn.fit(2, cbs=Changes())
    assert len(learn.recorder.lrs) == 3


@pytest.mark.parametrize("event", [event for event in EVENTS if event != "after_create"])
def test_a_fit_within_a_fit_is_refused(learn: Learner, event: str) -> None:
    class Again(Callback):
        pass

    def again(self: Callback, learn: Learner) -> None:
        with pytest.raises(ValueError, match=r"^a callback cannot start a fit within a fit: "):
            learn.fit(1)

    setattr(Again, event, again)
    learn.fit(2, cbs=Again())
    assert len(learn.recorder.values) == 2
    learn.fit(1)


def test_a_callbacks_methods_may_say_of_what_class_the_learner_is(tmp_path: Path) -> None:
    """The base class cannot, as it would import the learner, which imports it."""
    written = tmp_path / "written.py"
    written.write_text(
        "from mnist_sgd.training.callbacks.base import Callback\n\n"
        "class Learner:\n    epoch = 0\n\n"
        "class Counts(Callback):\n"
        "    def after_batch(self, learn: Learner) -> None:\n        learn.epoch += 1\n"
    )
    line = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir"]
    line += [str(tmp_path / "cache"), "--follow-imports", "silent", str(written)]
    done = subprocess.run(line, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.stdout == "Success: no issues found in 1 source file\n", done.stderr
