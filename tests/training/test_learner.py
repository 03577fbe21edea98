"""The Learner's promises beyond its table, which test_fastai_parity.py keeps."""

import io
import json
import math
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from weakref import ReferenceType, ref

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from PIL import Image
from safetensors import safe_open
from torch import Tensor, nn

from image_sets import random_set
from mnist_sgd import (
    SGD,
    Augmentation,
    Callback,
    CancelBatch,
    CancelEpoch,
    CancelFit,
    CancelTrain,
    CancelValidate,
    DataLoader,
    DataLoaders,
    ImageSet,
    Learner,
    batch_accuracy,
    create_model,
    first,
    mnist_loss,
    mnist_sample,
)
from mnist_sgd.loader.dataloader import Batch
from mnist_sgd.models.weights import WeightsError, read_weights
from mnist_sgd.training.callbacks.base import EVENTS
from values import same

Output = pytest.CaptureFixture[str]
HEADER = "epoch     train_loss  valid_loss  batch_accuracy  time    "

matplotlib.use("agg")


@pytest.fixture(scope="module")
def small() -> DataLoaders:
    """200 images of each class for training in 4 batches, and a few for validation in 2."""
    train, valid = mnist_sample()
    rows = np.r_[0:200, -200:0]
    few = ImageSet(
        np.ascontiguousarray(train.images[rows]), train.labels[rows].copy(), train.classes
    )
    rest = ImageSet(valid.images[990:1040], valid.labels[990:1040], valid.classes)
    return DataLoaders(DataLoader(few, 100, shuffle=True), DataLoader(rest, 40))


@pytest.fixture
def learn(small: DataLoaders) -> Learner:
    return Learner(small, create_model("linear", 0), metrics=batch_accuracy)


class Unmeasured(torch.utils.data.IterableDataset[tuple[Tensor, Tensor]]):
    """Does not know its length, so that a torch DataLoader's `len()` fails."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        x, y = torch.linspace(-1, 1, 10 * 784).view(10, 784), torch.arange(10)[:, None] % 2
        yield from zip(x, y, strict=True)


@pytest.mark.parametrize("bar", [False, True])
def test_batches_of_unknown_number_are_trained_on_as_far_as_they_go(
    bar: bool, small: DataLoaders
) -> None:
    train = torch.utils.data.DataLoader(Unmeasured(), batch_size=4)
    learn = Learner(DataLoaders(train, small.valid), create_model("linear", 0))
    learn.logger, learn.bar = lambda line: None, bar
    learn.fit(2, lr=0.1)
    known = Learner(DataLoaders(list(train), small.valid), create_model("linear", 0))
    known.logger = lambda line: None
    known.fit(2, lr=0.1)
    assert learn.recorder.losses == known.recorder.losses
    assert len(learn.recorder.losses) == 6
    before = {name: each.clone() for name, each in learn.model.state_dict().items()}
    needing: dict[str, Callable[[], object]] = {
        "a schedule": lambda: learn.fit_one_cycle(2, 0.1),
        "lr_find": learn.lr_find,
    }
    for name, call in needing.items():
        with pytest.raises(TypeError) as caught:
            call()
        assert str(caught.value) == (
            f"{name} needs the number of training batches, but the training loader (DataLoader) "
            "has no length; give it, or the data set it loads from, a __len__"
        )
    assert same(dict(learn.model.state_dict()), before)


def log() -> tuple[Callback, list[str]]:
    """A callback and the list of the moments at which it was called."""
    moments: list[str] = []

    def handler(moment: str) -> Callable[[Callback, Learner], None]:
        return lambda self, learn: moments.append(moment)

    handlers = {name: handler(name) for name in EVENTS}
    return type("Log", (Callback,), handlers)(), moments


def test_moments_come_in_the_order_of_the_loop(learn: Learner) -> None:
    callback, moments = log()
    with learn.no_logging():
        learn.fit(1, cbs=callback)
    batch = ["before_batch", "after_pred", "after_loss"]
    update = ["before_backward", "after_backward", "before_step", "after_step"]
    assert moments == [
        "before_fit",
        "before_epoch",
        "before_train",
        *([*batch, *update, "after_batch"] * 4),
        "after_train",
        "cleanup_train",
        "before_validate",
        *([*batch, "after_batch"] * 2),
        "after_validate",
        "cleanup_validate",
        "after_epoch",
        "cleanup_epoch",
        "after_fit",
        "cleanup_fit",
    ]


class Raise(Callback):
    """Raises an exception at one moment."""

    def __init__(self, moment: str, error: type[BaseException]) -> None:
        def handler(learn: Learner) -> None:
            raise error

        self.handler = handler
        self.moment = moment

    def after_loss(self, learn: Learner) -> None:
        if self.moment == ("train" if learn.training else "validate"):
            self.handler(learn)

    def before_epoch(self, learn: Learner) -> None:
        if self.moment == f"epoch {learn.epoch}":
            self.handler(learn)


def weights_of(learn: Learner) -> Tensor:
    return torch.cat([p.detach().flatten() for p in learn.model.parameters()]).clone()


@pytest.mark.parametrize(
    ("error", "moment", "rows", "trained"),
    [
        (CancelBatch, "train", 3, False),
        (CancelTrain, "train", 3, False),
        (CancelBatch, "validate", 3, True),
        (CancelValidate, "validate", 3, True),
        (CancelEpoch, "epoch 1", 3, True),
        (CancelFit, "epoch 1", 1, True),
        (CancelFit, "train", 0, False),
    ],
)
def test_a_cancellation_ends_its_stage_and_nothing_more(
    learn: Learner, error: type[Exception], moment: str, rows: int, trained: bool
) -> None:
    before = weights_of(learn)
    with learn.no_logging():
        learn.fit(3, lr=1.0, cbs=Raise(moment, error))
    assert len(learn.recorder.values) == rows
    assert torch.equal(weights_of(learn), before) is not trained


def test_another_exception_passes_through_and_the_next_fit_works(learn: Learner) -> None:
    with learn.no_logging(), pytest.raises(KeyboardInterrupt):
        learn.fit(1, cbs=Raise("train", KeyboardInterrupt))
    with learn.no_logging():
        learn.fit(1)
    assert len(learn.recorder.values) == 1


def test_a_fit_that_is_given_callbacks_does_not_keep_them(learn: Learner) -> None:
    callback, moments = log()
    with learn.no_logging():
        learn.fit(1, cbs=[callback])
        seen = len(moments)
        learn.fit(1)
    assert len(moments) == seen > 0


def test_validating_within_a_fit_leaves_it_its_callbacks(learn: Learner) -> None:
    class Validate(Callback):
        def before_epoch(self, learn: Learner) -> None:
            learn.validate()

    callback, moments = log()
    with learn.no_logging():
        learn.fit(2, cbs=[Validate(), callback])
    assert moments.count("after_epoch") == 2
    assert moments.count("after_batch") == 2 * (4 + 2)
    assert moments[-1] == "cleanup_fit"


def test_a_batch_is_let_go_before_the_next_is_asked_for() -> None:
    """Else a loader that reuses memory needs room for two, which is more than fits the cache."""
    last: list[ReferenceType[Tensor]] = []
    alive: list[bool] = []

    class Batches:
        def __init__(self) -> None:
            self.left = 3

        def __iter__(self) -> Iterator[Batch]:
            self.left = 3
            return self

        def __next__(self) -> Batch:
            alive.extend(x() is not None for x in last)
            if not self.left:
                raise StopIteration
            self.left -= 1
            xb, yb = torch.rand(4, 784), torch.ones(4, 1)
            last[:] = [ref(xb), ref(yb)]
            return xb, yb

    learn = Learner(
        DataLoaders(Batches(), Batches()), create_model("mlp", 0), metrics=batch_accuracy
    )
    with learn.no_logging():
        learn.fit(2)
    assert len(alive) >= 2 * 2 * 3 * 2  # epochs, stages, batches, tensors
    assert not any(alive)


def test_captured_output_is_the_table_and_nothing_else(learn: Learner, capsys: Output) -> None:
    learn.fit(2, lr=0.5)
    out, err = capsys.readouterr()
    header, *rows = out.splitlines()
    assert header == HEADER
    assert [len(row) for row in rows] == [len(HEADER) + 2] * 2
    assert [row.split()[0] for row in rows] == ["0", "1"]
    assert err == ""


def test_a_terminal_gets_a_bar_on_its_error_stream_and_the_line_back(
    learn: Learner, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from mnist_sgd.training.callbacks import bar

    monkeypatch.setattr(bar, "BAR_INTERVAL", 0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    learn.fit(1, lr=0.5)
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == HEADER
    assert len(out.splitlines()) == 2
    assert "\rEpoch 1/1 train |" in err
    assert " 4/4 loss 0." in err
    assert "\rEpoch 1/1 valid |" in err
    assert err.endswith("\r\033[K")


def test_without_a_bar_a_terminal_gets_the_table_alone(
    learn: Learner, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with learn.no_bar():
        learn.fit(1)
    assert capsys.readouterr().err == ""
    assert learn.bar


def test_the_recorder_holds_losses_rates_and_rows(learn: Learner) -> None:
    with learn.no_logging():
        learn.fit(2, lr=0.25)
    recorder = learn.recorder
    assert recorder.metric_names == [
        "epoch",
        "train_loss",
        "valid_loss",
        "batch_accuracy",
        "time",
    ]
    assert recorder.lrs == [0.25] * 8
    assert recorder.iters == [4, 8]
    assert len(recorder.losses) == 8
    assert [row[0] for row in recorder.values] == [recorder.losses[3], recorder.losses[7]]


def test_the_smoothed_loss_is_the_debiased_average(learn: Learner) -> None:
    raw: list[float] = []

    class Raw(Callback):
        def after_loss(self, learn: Learner) -> None:
            if learn.training:
                raw.append(learn.loss.item())

    with learn.no_logging():
        learn.fit(1, lr=0.5, cbs=Raw())
    average = 0.0
    for i, loss in enumerate(raw, start=1):
        average = 0.98 * average + 0.02 * loss
        assert learn.recorder.losses[i - 1] == pytest.approx(average / (1 - 0.98**i), rel=1e-6)


def test_validate_counts_every_image_alike(learn: Learner) -> None:
    loss, accuracy = learn.validate()
    predictions, targets = learn.get_preds()
    assert accuracy == pytest.approx(((predictions > 0.5) == targets).float().mean().item())
    distance = torch.where(targets == 1, 1 - predictions, predictions)
    assert loss == pytest.approx(distance.mean().item(), rel=1e-6)
    assert not learn.model.training


def test_validating_nothing_gives_nan(learn: Learner) -> None:
    assert all(math.isnan(value) for value in learn.validate([]))


def test_predictions_are_probabilities_or_logits_in_the_loaders_order(learn: Learner) -> None:
    probabilities, targets = learn.get_preds()
    logits, _ = learn.get_preds(act=None)
    assert probabilities.shape == targets.shape == (50, 1)
    assert torch.equal(logits.sigmoid(), probabilities)
    assert targets.flatten().tolist() == [1] * 20 + [0] * 30


def test_predict_names_the_class(learn: Learner) -> None:
    with learn.no_logging():
        learn.fit(10, lr=0.5)
    train, _ = mnist_sample()
    three, seven = learn.predict(train.images[0]), learn.predict(train.images[-1])
    assert three[:2] == ("3", 1)
    assert seven[:2] == ("7", 0)
    assert seven[2] < 0.5 < three[2]


def test_predict_needs_this_packages_loader() -> None:
    class Batches:
        def __iter__(self) -> Iterator[Batch]:
            yield torch.rand(4, 784), torch.ones(4, 1)

    learn = Learner(DataLoaders(Batches(), Batches()), nn.Linear(784, 1))
    with learn.no_logging():
        learn.fit(1)
    with pytest.raises(TypeError, match=r"come from a mnist_sgd.DataLoader .* from a Batches,"):
        learn.predict(np.zeros((28, 28), np.uint8))


def test_the_optimizer_is_kept_from_fit_to_fit_unless_asked(learn: Learner) -> None:
    with learn.no_logging():
        learn.fit(1, lr=0.5)
        opt = learn.opt
        learn.fit(1, lr=0.25)
        assert learn.opt is opt
        assert learn.opt.param_groups[0]["lr"] == 0.25
        learn.fit(1, reset_opt=True)
    assert learn.opt is not opt
    assert learn.opt.param_groups[0]["lr"] == learn.lr == 1e-3


@pytest.mark.parametrize(
    ("opt_func", "given", "rates"),
    [
        (partial(SGD, lr=0.5), None, [0.5]),
        (partial(SGD, lr=0.5), 0.25, [0.25]),
        (partial(torch.optim.SGD, lr=0.5), None, [0.5]),
        (SGD, None, [1e-3]),
        (lambda ps, lr: SGD(ps, lr=0.5), 0.25, [0.25]),
    ],
)
def test_the_rate_is_the_fits_or_else_the_optimizers_own_or_else_the_learners(
    small: DataLoaders, opt_func: Callable[..., Any], given: float | None, rates: list[float]
) -> None:
    learn = Learner(small, create_model("linear", 0), opt_func=opt_func)
    with learn.no_logging():
        learn.fit(1, lr=given)
    assert learn.recorder.lrs == rates * 4


def two_groups(parameters: Iterator[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    weight, bias = parameters
    groups: list[dict[str, Any]] = [{"params": [weight], "lr": lr / 8}, {"params": [bias]}]
    return torch.optim.SGD(groups, lr=lr)


def test_parameter_groups_keep_the_ratio_of_their_rates(small: DataLoaders) -> None:
    class Rates(Callback):
        def __init__(self) -> None:
            self.seen: list[list[float]] = []

        def after_step(self, learn: Learner) -> None:
            self.seen.append([group["lr"] for group in learn.opt.param_groups])

    rates = Rates()
    learn = Learner(small, create_model("linear", 0), opt_func=two_groups, cbs=rates)
    with learn.no_logging():
        learn.fit(1, lr=0.5)
        learn.fit(1, lr=0.25)
        learn.fit_one_cycle(1, lr_max=1.0)
        learn.lr_find(num_it=20)
    assert rates.seen[0] == [0.0625, 0.5]
    assert rates.seen[4] == [0.03125, 0.25]
    assert len({last for _, last in rates.seen}) == 2 + 4 + 20
    assert all(first == last / 8 for first, last in rates.seen)


def test_a_parameter_group_that_is_added_has_its_own_rate_from_then_on(small: DataLoaders) -> None:
    learn = Learner(small, create_model("mlp", 0), opt_func=of_the_last_layer)
    with learn.no_logging():
        learn.fit(1, lr=0.5)
        first_layer = list(learn.model.parameters())[:2]
        learn.opt.add_param_group({"params": first_layer, "lr": 0.125})
        learn.fit(1, lr=0.25)
        assert [group["lr"] for group in learn.opt.param_groups] == [1.0, 0.25]
        learn.fit_one_cycle(1, lr_max=1.0)
        learn.lr_find(num_it=20)
    last, added = (group["lr"] for group in learn.opt.param_groups)
    assert last == 4 * added


def of_the_last_layer(parameters: Iterator[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(list(parameters)[-2:], lr=lr)


def test_an_optimizer_that_a_callback_sets_has_the_rates_of_the_schedule(
    small: DataLoaders,
) -> None:
    class Sets(Callback):
        def before_fit(self, learn: Learner) -> None:
            learn.opt = torch.optim.SGD(learn.model.parameters(), lr=0.01)

    scheduled, set_later = (Learner(small, create_model("linear", 0)) for _ in range(2))
    with scheduled.no_logging(), set_later.no_logging():
        scheduled.fit_one_cycle(2, lr_max=0.1)
        set_later.fit_one_cycle(2, lr_max=0.1, cbs=Sets())
    assert len(set(scheduled.recorder.lrs)) == len(scheduled.recorder.lrs)
    assert set_later.recorder.lrs == scheduled.recorder.lrs


def test_rates_of_numpy_are_kept_as_numbers(small: DataLoaders) -> None:
    learn = Learner(small, create_model("linear", 0), opt_func=partial(SGD, mom=0.9))
    with learn.no_logging():
        learn.fit(1, schedule=lambda progress: (np.float32(0.5), np.float32(0.75)))  # type: ignore[arg-type,return-value]
    (group,) = learn.opt.param_groups
    assert (type(group["lr"]), type(group["mom"])) == (float, float)
    assert set(learn.recorder.lrs) == {0.5}
    assert set(learn.recorder.moms) == {0.75}


def test_parameter_groups_made_at_the_rate_0_keep_their_ratio(small: DataLoaders) -> None:
    learn = Learner(small, create_model("linear", 0), opt_func=two_groups)
    with learn.no_logging():
        learn.fit(1, lr=0.0)
        assert [group["lr"] for group in learn.opt.param_groups] == [0.0, 0.0]
        assert same(dict(learn.model.state_dict()), dict(create_model("linear", 0).state_dict()))
        learn.fit(1, lr=0.5)
    assert [group["lr"] for group in learn.opt.param_groups] == [0.0625, 0.5]


def test_metrics_loss_and_model_are_taken_up_when_they_are_assigned(small: DataLoaders) -> None:
    def doubled(predictions: Tensor, targets: Tensor) -> Tensor:
        return 2 * mnist_loss(predictions, targets)

    learn = Learner(small, create_model("linear", 0))
    learn.metrics = batch_accuracy  # as the book's sixth chapter does
    loss, accuracy = learn.validate()
    learn.metrics = None
    assert learn.validate() == [loss]
    learn.metrics = [batch_accuracy, batch_accuracy]
    learn.loss_func = doubled
    assert learn.validate() == [pytest.approx(2 * loss), accuracy, accuracy]
    learn.model = create_model("mlp", 0)
    assert learn.validate()[0] != pytest.approx(2 * loss)
    with pytest.raises(
        TypeError, match=r"^metrics must be functions of \(predictions, targets\), "
    ):
        learn.metrics = "accuracy"  # type: ignore[assignment]


def test_a_loss_that_is_assigned_within_a_fit_trains_from_there_on(small: DataLoaders) -> None:
    class Swap(Callback):
        def before_epoch(self, learn: Learner) -> None:
            if learn.epoch == 1:
                learn.loss_func = lambda p, t: 1000 * mnist_loss(p, t)

    learn = Learner(small, create_model("linear", 0), cbs=Swap())
    with learn.no_logging():
        learn.fit(2, lr=1e-6)
    first, second = learn.recorder.values
    assert second[0] > 100 * first[0]
    assert second[1] > 100 * first[1]


def test_an_optimizer_of_another_model_is_refused(learn: Learner) -> None:
    with learn.no_logging():
        learn.fit(1)
        learn.model = create_model("mlp", 0)
        message = (
            "^the optimizer has none of the model's parameters, so the model would not change: "
            "after assigning learn.model, fit with reset_opt=True$"
        )
        with pytest.raises(ValueError, match=message):
            learn.fit(1)
        learn.fit(1, reset_opt=True)
    assert len(learn.recorder.values) == 1


def made(learn: Learner, **wrong: Any) -> Learner:
    """A learner with some wrong arguments."""
    arguments: dict[str, Any] = {"dls": learn.dls, "model": learn.model}
    return Learner(**arguments | wrong)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda learn: learn.fit(-1), "n_epoch must be 0 or more, got -1"),
        (lambda learn: learn.fit(1, lr="x"), "lr must be a number, got 'x'"),
        (lambda learn: learn.fit(1, lr=-0.5), "lr must be a finite number, 0 or more, got -0.5"),
        (
            lambda learn: learn.fit(1, lr=math.nan),
            "lr must be a finite number, 0 or more, got nan",
        ),
        (
            lambda learn: learn.fit(1, lr=slice(0.1, 0.5)),
            "lr must be a number; for different rates in different layers let opt_func make "
            "several parameter groups, whose ratios are kept",
        ),
        (
            lambda learn: made(learn, opt_func="adam"),
            "opt_func must be a function, such as SGD or adamw, got 'adam'",
        ),
        (
            lambda learn: made(learn, loss_func="bce"),
            "loss_func must be a function, such as mnist_loss or cross_entropy, got 'bce'",
        ),
        (lambda learn: made(learn, lr="x"), "lr must be a number, got 'x'"),
        (lambda learn: made(learn, wd="x"), "wd must be a number, got 'x'"),
        (lambda learn: learn.fit("x"), "n_epoch must be an integer, got 'x'"),
        (lambda learn: learn.fit(1, wd=-1), "wd must be a finite number, 0 or more, got -1.0"),
        (lambda learn: learn.fit_one_cycle(1, "x"), "lr_max must be a number, got 'x'"),
        (
            lambda learn: made(learn, metrics="accuracy"),
            "metrics must be functions of (predictions, targets), got 'accuracy'",
        ),
        (
            lambda learn: made(learn, model=len),
            "model must be a torch.nn.Module, got builtin_function_or_method",
        ),
        (
            lambda learn: made(learn, dls=learn.dls.train),
            "dls must be DataLoaders(train, valid), which hold the batches of both; got DataLoader",
        ),
        (
            lambda learn: learn.validate(2),
            "dl must be 0 (training), 1 (validation) or batches, got 2",
        ),
        (
            lambda learn: learn.get_preds([]),
            "there is nothing to predict: there was no batch",
        ),
        (
            lambda learn: learn.predict(np.zeros((2, 28, 28), np.uint8)),
            "an array must be a preprocessed image, uint8 [28, 28]; got uint8 [2, 28, 28]",
        ),
        (
            lambda learn: learn.predict(np.zeros((28, 28))),
            "an array must be a preprocessed image, uint8 [28, 28]; got float64 [28, 28]",
        ),
    ],
)
def test_an_argument_that_makes_no_sense_is_named_before_any_work(
    learn: Learner, call: Callable[[Learner], object], message: str, capsys: Output
) -> None:
    with pytest.raises((TypeError, ValueError)) as refused:
        call(learn)
    assert str(refused.value) == message
    assert capsys.readouterr().out == ""


def test_a_fit_without_training_batches_is_refused(small: DataLoaders, capsys: Output) -> None:
    _, valid = mnist_sample()
    empty = DataLoader(valid, 4096, drop_last=True)
    learn = Learner(DataLoaders(empty, small.valid), create_model("linear", 0))
    message = (
        "^there are no training batches: the training loader is empty, as it is with "
        "drop_last=True and fewer images than batch_size$"
    )
    with pytest.raises(ValueError, match=message):
        learn.fit(1)
    assert capsys.readouterr().out == ""


def flat_loaders() -> DataLoaders:
    """Batches with labels of one dimension, as torch's own loaders give them."""
    _, valid = mnist_sample()
    x = torch.tensor(valid.images[:64]).reshape(-1, 784).float() / 255
    batches = [(x, torch.tensor(valid.labels[:64]).long())]
    return DataLoaders(batches, batches)


def test_labels_of_one_dimension_are_refused_before_the_first_row(capsys: Output) -> None:
    learn = Learner(flat_loaders(), create_model("linear", 0), metrics=batch_accuracy)
    with pytest.raises(ValueError, match=r"predictions \[64, 1\] and targets \[64\]; make the "):
        learn.fit(1)
    assert capsys.readouterr().out.splitlines() == [HEADER]


def test_another_loss_that_would_broadcast_is_warned_of() -> None:
    learn = Learner(flat_loaders(), create_model("linear", 0), lambda p, t: (p - t).abs().mean())
    message = (
        r"^the predictions are \[64, 1\], the targets \[64\]: a loss that broadcasts them compares "
        "each prediction with every target; give both the same shape$"
    )
    with pytest.warns(UserWarning, match=message):
        learn.validate()


def test_a_loss_that_wants_floating_point_targets_is_explained(learn: Learner) -> None:
    learn.loss_func = nn.BCEWithLogitsLoss()
    message = (
        "BCEWithLogitsLoss needs floating-point targets, the batches have int64; use "
        "mnist_sgd.cross_entropy, which takes them as they are, or convert them in a callback's "
        "before_batch"
    )
    for call in (lambda: learn.fit(1), learn.validate):
        with pytest.raises(TypeError) as refused:
            call()
        assert str(refused.value) == message


def test_an_error_of_a_loss_or_a_metric_says_what_it_was_given(learn: Learner) -> None:
    def broken(predictions: Tensor, targets: Tensor) -> Tensor:
        raise KeyError("broken")

    learn.metrics = [batch_accuracy, broken]
    with pytest.raises(KeyError) as raised:
        learn.validate()
    assert raised.value.__notes__ == [
        "in broken(predictions float32 [40, 1], targets int64 [40, 1])"
    ]
    learn.metrics = [lambda p, t: "high"]
    with pytest.raises(
        TypeError, match=r"^a metric must return a number or a tensor, got str\nin <lambda>"
    ):
        learn.validate()


@pytest.mark.parametrize("augment", [None, Augmentation(degrees=10)])
def test_predictions_are_those_of_every_image_in_the_sets_order(
    augment: Augmentation | None,
) -> None:
    images = random_set(50)
    shuffled = DataLoader(images, 8, shuffle=True, drop_last=True, augment=augment)
    learn = Learner(DataLoaders(shuffled, DataLoader(images, 50)), create_model("linear", 0))
    position = shuffled.state_dict()
    probabilities, targets = learn.get_preds(0)
    assert targets.flatten().tolist() == images.labels.tolist()
    assert torch.allclose(probabilities, learn.get_preds()[0])
    assert shuffled.state_dict() == position


def test_predictions_of_a_subclass_of_the_loader_are_of_its_batches() -> None:
    class Flipped(DataLoader):
        def __iter__(self) -> Any:
            return ((xb.flip(1), yb) for xb, yb in super().__iter__())

    images = random_set(6)
    learn = Learner(
        DataLoaders(DataLoader(images, 4), Flipped(images, 4)), create_model("linear", 0)
    )
    xb, _ = first(DataLoader(images, 6))
    expected = learn.model(xb.flip(1)).detach().sigmoid()
    assert torch.allclose(learn.get_preds()[0], expected, atol=1e-6)


def test_predictions_need_no_targets(learn: Learner) -> None:
    (xb, yb), *_ = learn.dls.valid
    expected, _ = learn.get_preds([(xb, yb)])
    for batch in (xb, (xb,), [xb]):
        probabilities, targets = learn.get_preds([batch, batch])  # type: ignore[list-item]
        assert torch.equal(probabilities, torch.cat([expected, expected]))
        assert len(targets) == 0


def test_validate_and_get_preds_take_the_number_of_the_loader(learn: Learner) -> None:
    assert len(learn.get_preds(0)[0]) == 400
    assert len(learn.get_preds(1)[0]) == 50
    assert learn.validate(1) == learn.validate()
    assert learn.validate(0) != learn.validate(1)


def test_predict_takes_a_picture_in_any_form(learn: Learner, tmp_path: Path) -> None:
    """A file, its bytes and a Pillow image are preprocessed as the training's pictures were."""
    train, _ = mnist_sample()
    pixels = train.images[0]
    learn.fit(5, lr=0.5)
    assert learn.predict(torch.tensor(pixels)) == learn.predict(pixels)
    path = tmp_path / "three.png"
    picture = Image.fromarray(255 - np.kron(np.pad(pixels, 10), np.ones((4, 4), np.uint8)))
    picture.save(path)
    answers = {learn.predict(each) for each in (path, str(path), path.read_bytes(), picture)}
    assert len(answers) == 1
    assert answers.pop()[:2] == ("3", 1)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("add_cb", ": append the callback to learn.cbs"),
        ("to_fp16", ": give the callback MixedPrecision, which trains in bfloat16"),
        ("nonsense", ""),
    ],
)
def test_an_attribute_of_fastais_that_is_not_here_says_what_is(
    learn: Learner, name: str, advice: str
) -> None:
    assert not hasattr(learn, name)
    with pytest.raises(AttributeError) as raised:
        getattr(learn, name)
    assert str(raised.value) == f"this Learner has no attribute {name!r}{advice}"


def test_loading_weights_gives_the_learner(learn: Learner, tmp_path: Path) -> None:
    learn.save(tmp_path / "w.safetensors")
    assert learn.load(tmp_path / "w.safetensors") is learn


@pytest.mark.parametrize("stream", ["none", "closed", "plain", "ascii"])
def test_a_training_needs_no_standard_streams(
    learn: Learner, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Plain:
        """A stream without isatty."""

        def __init__(self) -> None:
            self.text = ""

        def write(self, text: str) -> int:
            self.text += text
            return len(text)

        def flush(self) -> None:
            """Nothing is buffered."""

    class Ascii(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    closed = io.StringIO()
    closed.close()
    streams = {
        "none": None,
        "closed": closed,
        "plain": Plain(),
        "ascii": Ascii(io.BytesIO(), encoding="ascii"),
    }
    monkeypatch.setattr("mnist_sgd.training.callbacks.bar.BAR_INTERVAL", 0)
    monkeypatch.setattr(sys, "stderr", streams[stream])
    learn.fit(1)
    assert len(learn.recorder.values) == 1


def test_torchs_optimizers_and_any_module_train_too(small: DataLoaders) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(784, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
    learn = Learner(small, model, opt_func=torch.optim.Adam, metrics=[batch_accuracy])
    with learn.no_logging():
        learn.fit(20, lr=1e-2)
    first, last = learn.recorder.values[0], learn.recorder.values[-1]
    assert last[1] < first[1] / 2


def test_saved_weights_come_back_bit_for_bit(learn: Learner, tmp_path: Path) -> None:
    with learn.no_logging():
        learn.fit(1, lr=1.0)
    learn.save(tmp_path / "w.safetensors")
    trained = weights_of(learn)
    other = Learner(learn.dls, create_model("linear", 1))
    other.load(tmp_path / "w.safetensors")
    assert torch.equal(weights_of(other), trained)
    with safe_open(tmp_path / "w.safetensors", "pt") as file:
        header = json.loads(file.metadata()["mnist_sgd"])
    assert header["mnist_sgd.model"] == "linear"
    assert header["mnist_sgd.classes"] == '["7", "3"]'
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize("figure", [math.nan, math.inf])
def test_weights_come_back_also_where_a_figure_is_no_number(
    figure: float, small: DataLoaders, tmp_path: Path
) -> None:
    def wild(predictions: Tensor, targets: Tensor) -> Tensor:
        return torch.tensor(figure)

    learn = Learner(small, create_model("linear", 0), metrics=[batch_accuracy, wild])
    with learn.no_logging():
        learn.fit(1, lr=1.0)
    learn.save(tmp_path / "w.safetensors")
    trained = weights_of(learn)
    other = Learner(small, create_model("linear", 1))
    other.load(tmp_path / "w.safetensors")
    assert torch.equal(weights_of(other), trained)
    assert set(read_weights(tmp_path / "w.safetensors")[1].metrics) == {
        "valid_loss",
        "batch_accuracy",
        "images",
    }


def test_the_same_weights_make_the_same_file(learn: Learner, tmp_path: Path) -> None:
    for name in ("a", "b"):
        learn.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_weights_of_another_architecture_are_refused_and_change_nothing(
    learn: Learner, tmp_path: Path
) -> None:
    other = Learner(learn.dls, create_model("mlp", 0))
    other.save(tmp_path / "mlp.safetensors")
    before = weights_of(learn)
    with pytest.raises(WeightsError, match=r"mlp.safetensors: its weights are 0.bias \[30\], .*"):
        learn.load(tmp_path / "mlp.safetensors")
    assert torch.equal(weights_of(learn), before)


def test_a_missing_or_damaged_weights_file_is_named(learn: Learner, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none.safetensors: there is no such file"):
        learn.load(tmp_path / "none.safetensors")
    damaged = tmp_path / "damaged.safetensors"
    learn.save(damaged)
    damaged.write_bytes(damaged.read_bytes()[:-7])
    with pytest.raises(WeightsError, match=r"damaged.safetensors: not a safetensors file"):
        learn.load(damaged)


def test_the_plot_shows_both_losses(learn: Learner) -> None:
    with learn.no_logging():
        learn.fit(3)
    ax = learn.recorder.plot_loss(skip_start=2)
    train, valid = ax.get_lines()
    assert np.asarray(train.get_xdata()).tolist() == list(range(2, 12))
    assert np.asarray(train.get_ydata()).tolist() == learn.recorder.losses[2:]
    assert np.asarray(valid.get_xdata()).tolist() == [4, 8, 12]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("steps", "loss")
    pyplot.close("all")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.99, "00:00"), (59.9, "00:59"), (754, "12:34"), (3723, "1:02:03")]
)
def test_times_are_cut_to_whole_seconds(seconds: float, text: str) -> None:
    from mnist_sgd.training.callbacks.progress import format_time

    assert format_time(seconds) == text
