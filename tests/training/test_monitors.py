"""Early stopping, best weights and plateaus do what the rows say, and change no figure."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from hooks import Copies
from image_sets import random_set
from mnist_sgd import (
    SGD,
    Callback,
    CancelEpoch,
    CancelFit,
    CancelValidate,
    Checkpoint,
    CSVLogger,
    DataLoader,
    DataLoaders,
    EarlyStopping,
    ImageSet,
    Learner,
    ReduceLROnPlateau,
    SaveBest,
    batch_accuracy,
    create_model,
    cross_entropy,
)
from mnist_sgd._state_file import parse
from mnist_sgd.models.weights import read_weights
from mnist_sgd.training.loop import print_nothing
from mnist_sgd.training.metadata import measured_row
from mnist_sgd.training.recorder import Metric
from networks import Centred
from values import same


def scripted(name: str, values: Sequence[float]) -> Metric:
    """A metric whose value in each epoch is given; the last one stays."""
    left = list(values)

    def metric(predictions: Tensor, targets: Tensor) -> Tensor:
        return torch.tensor(left.pop(0) if len(left) > 1 else left[0])

    metric.__name__ = name
    return metric


def learner(metrics: Metric = batch_accuracy, seed: int = 0, **kwargs: Any) -> Learner:
    """Of 22 images in 6 batches, and one batch of 10 others for validation."""
    both = random_set(32)
    valid = ImageSet(both.images[22:], both.labels[22:], both.classes)
    dls = DataLoaders(DataLoader(random_set(22), 4, shuffle=True), DataLoader(valid, 10))
    learn = Learner(dls, create_model("linear", seed), metrics=metrics, **kwargs)
    learn.logger = print_nothing
    return learn


class Weights(Callback):
    """Keeps the weights and the rate of each epoch."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []
        self.lrs: list[float] = []

    def after_epoch(self, learn: Learner) -> None:
        self.weights.append({name: t.clone() for name, t in learn.model.state_dict().items()})
        self.lrs.append(learn.recorder.lrs[-1])


SCORES = [0.5, 0.7, 0.6, 0.7, 0.8, 0.8, 0.75, 0.8, 0.1]
LOSSES = [-score for score in SCORES]


@pytest.mark.parametrize(
    ("patience", "min_delta", "epochs"),
    [(1, 0.0, 3), (2, 0.0, 4), (3, 0.0, 8), (4, 0.0, 9), (9, 0.0, 12), (2, 0.15, 4), (3, 0.05, 8)],
)
@pytest.mark.parametrize(("name", "values"), [("score", SCORES), ("my_loss", LOSSES)])
def test_a_fit_stops_after_so_many_epochs_without_a_better_one(
    name: str, values: list[float], patience: int, min_delta: float, epochs: int
) -> None:
    learn = learner(scripted(name, values))
    learn.fit(12, cbs=EarlyStopping(patience, monitor=name, min_delta=min_delta))
    assert len(learn.recorder.values) == epochs
    assert len(learn.recorder.lrs) == 6 * epochs


@pytest.mark.parametrize(
    ("name", "values", "best"),
    [
        ("score", [0.5, 0.75, 0.25], 1),
        ("score", [0.5, 0.75, 0.75], 1),
        ("score", [0.5, math.nan, 0.75], 2),
        ("error_rate", [0.5, 0.75, 0.25], 2),
        ("valid_loss", [], None),
    ],
)
def test_the_weights_of_the_best_epoch_come_back(
    name: str, values: list[float], best: int | None
) -> None:
    learn = learner(scripted(name, values) if values else batch_accuracy)
    seen = Weights()
    learn.fit(3, lr=0.1, cbs=[SaveBest(monitor=name), seen])
    if best is None:
        losses = [row[1] for row in learn.recorder.values]
        best = losses.index(min(losses))
    assert learn.kept_row == best
    assert same(dict(learn.model.state_dict()), seen.weights[best])


def test_the_best_weights_come_back_after_an_exception_too() -> None:
    class Interrupt(Callback):
        def before_epoch(self, learn: Learner) -> None:
            if learn.epoch == 2:
                raise KeyboardInterrupt

    learn = learner(scripted("score", [0.75, 0.5]))
    seen = Weights()
    with pytest.raises(KeyboardInterrupt):
        learn.fit(3, lr=0.1, cbs=[SaveBest(monitor="score"), seen, Interrupt()])
    assert same(dict(learn.model.state_dict()), seen.weights[0])


def test_a_refused_fit_does_not_restore_an_earlier_fits_best_weights() -> None:
    learn = learner(scripted("score", [0.75, 0.5, 0.5, 0.5]))
    best = SaveBest(monitor="score")
    learn.fit(2, lr=0.1, cbs=best)
    learn.fit(2, lr=0.1)
    before = {name: t.clone() for name, t in learn.model.state_dict().items()}
    with pytest.raises(ValueError, match=r"^EarlyStopping watches 'accuracy'; there are train_los"):
        learn.fit(1, lr=0.1, cbs=[EarlyStopping(monitor="accuracy"), best])
    assert same(dict(learn.model.state_dict()), before)
    assert learn.kept_row == -1


def test_the_files_figures_are_those_of_the_best_epoch(tmp_path: Path) -> None:
    learn = learner(scripted("score", [0.5, 0.75, 0.25]))
    learn.fit(3, lr=0.1, cbs=SaveBest(tmp_path / "best.safetensors", monitor="score"))
    learn.save(tmp_path / "kept.safetensors")
    kept, best = ((tmp_path / f"{name}.safetensors").read_bytes() for name in ("kept", "best"))
    assert kept == best
    figures = read_weights(tmp_path / "best.safetensors")[1].metrics
    assert figures == {
        "valid_loss": learn.recorder.values[1][1],
        "score": 0.75,
        "images": 10,
    }
    learn.fit(1, lr=0.1)
    learn.save(tmp_path / "kept.safetensors")
    assert read_weights(tmp_path / "kept.safetensors")[1].metrics["score"] == 0.25


@pytest.mark.parametrize("resume", [False, True])
def test_non_persistent_buffers_of_the_best_epoch_come_back(resume: bool, tmp_path: Path) -> None:
    path = tmp_path / "c"

    def fitted(n_epoch: int, **settings: Any) -> Learner:
        learn = learner(scripted("score", [0.5, 0.75, 0.25, 0.25]))
        learn.model = Centred()
        learn.fit(n_epoch, lr=0.1, cbs=[SaveBest(monitor="score"), Checkpoint(path)], **settings)
        return learn

    if resume:
        fitted(3)
    learn = fitted(4, resume=path if resume else None)
    assert learn.kept_row == 1
    assert measured_row(learn) == 1
    assert learn.validate()[0] == learn.recorder.values[1][1]
    learn.model.run.add_(0.01)  # type: ignore[operator]
    assert measured_row(learn) is None


class Steep(nn.Module):
    """A model whose answers depend on numbers and words that are no weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(784, 1)
        self.steepness: Any = [1.0]
        self.sign = "plus"
        self.offset: Any = 0

    def forward(self, x: Tensor) -> Tensor:
        factor = self.steepness[0] * (1 if self.sign == "plus" else -1)
        offset = sum(self.offset) if isinstance(self.offset, set) else self.offset
        logits: Tensor = self.layer(x) * factor + float(offset)
        return logits


class Changes(Callback):
    """Changes the numbers and the words of the model in each epoch, a list in place."""

    def __init__(self, kind: Callable[[float], Any] = float) -> None:
        self.kind = kind

    def before_epoch(self, learn: Learner) -> None:
        model: Any = learn.model
        model.steepness[0] = 1.0 + learn.epoch
        model.sign = "minus" if learn.epoch % 2 else "plus"
        model.offset = self.kind(0.5 * learn.epoch)


def as_tensor(value: float) -> Tensor:
    return torch.tensor(value)


@pytest.mark.parametrize("kind", [float, np.float64, as_tensor])
@pytest.mark.parametrize("resume", [False, True])
def test_the_numbers_and_words_of_the_best_epoch_come_back(
    resume: bool, kind: Callable[[float], Any], tmp_path: Path
) -> None:
    path = tmp_path / "c"

    def fitted(n_epoch: int, **settings: Any) -> Learner:
        learn = learner(scripted("score", [0.5, 0.75, 0.25, 0.25]))
        learn.model = Steep()
        cbs = [Changes(kind), SaveBest(monitor="score"), Checkpoint(path)]
        learn.fit(n_epoch, lr=0.1, cbs=cbs, **settings)
        return learn

    if resume:
        fitted(3)
    learn = fitted(4, resume=path if resume else None)
    model: Any = learn.model
    assert (learn.kept_row, measured_row(learn)) == (1, 1)
    assert (model.steepness, model.sign, model.offset) == ([2.0], "minus", 0.5)
    assert type(model.offset) is type(kind(0.5))
    assert learn.validate()[0] == learn.recorder.values[1][1]


def test_a_file_has_no_figures_where_a_number_of_the_model_cannot_come_back(tmp_path: Path) -> None:
    learn = learner(scripted("score", [0.5, 0.75, 0.25, 0.25]))
    learn.model = Steep()
    learn.fit(4, lr=0.1, cbs=[Changes(lambda value: {value}), SaveBest(monitor="score")])
    model: Any = learn.model
    assert (learn.kept_row, measured_row(learn)) == (1, None)
    assert (model.steepness, model.sign, model.offset) == ([2.0], "minus", {1.5})
    learn.save(tmp_path / "kept.safetensors")
    assert read_weights(tmp_path / "kept.safetensors")[1].metrics == {"images": 10}


class Learned(nn.Module):
    """A loss whose temperature is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(1.0))

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(logits * self.temperature, targets)


@pytest.mark.parametrize("resume", [False, True])
def test_what_the_loss_had_learned_in_the_best_epoch_comes_back(
    resume: bool, tmp_path: Path
) -> None:
    class TrainsTheLoss(Callback):
        def before_fit(self, learn: Learner) -> None:
            loss: Any = learn.loss_func
            learn.opt = SGD([*learn.model.parameters(), *loss.parameters()], lr=0.1)

    path = tmp_path / "c"

    def fitted(n_epoch: int, **settings: Any) -> Learner:
        learn = learner(scripted("score", [0.5, 0.75, 0.25, 0.25]), loss_func=Learned())
        cbs = [TrainsTheLoss(), SaveBest(monitor="score"), Checkpoint(path)]
        learn.fit(n_epoch, lr=0.1, cbs=cbs, **settings)
        return learn

    if resume:
        fitted(3)
    learn = fitted(4, resume=path if resume else None)
    assert (learn.kept_row, measured_row(learn)) == (1, 1)
    assert learn.validate()[0] == learn.recorder.values[1][1]


def test_a_second_fit_begins_without_the_best_of_the_first() -> None:
    best = SaveBest(monitor="score")
    learn = learner(scripted("score", [0.9, 0.5, 0.5, 0.6]), cbs=best)
    seen = Weights()
    learn.fit(2, lr=0.1)
    learn.fit(2, lr=0.1, cbs=seen)
    assert same(dict(learn.model.state_dict()), seen.weights[1])


@pytest.mark.parametrize(
    ("patience", "min_lr", "reductions"),
    [
        (1, 0.0, [0, 0, 0, 1, 2, 2, 3, 4, 5]),
        (2, 0.0, [0, 0, 0, 0, 1, 1, 1, 2, 2]),
        (1, 0.05, [0, 0, 0, 1, 1, 1, 1, 1, 1]),
    ],
)
def test_the_rate_falls_after_so_many_epochs_without_a_better_one(
    patience: int, min_lr: float, reductions: list[int]
) -> None:
    learn = learner(scripted("score", SCORES))
    seen = Weights()
    plateau = ReduceLROnPlateau(patience, 4.0, min_lr, monitor="score")
    learn.fit(9, lr=0.1, cbs=[plateau, seen])
    assert seen.lrs == [max(0.1 / 4**n, min_lr) for n in reductions]


@pytest.mark.parametrize("figure", [math.nan, math.inf])
@pytest.mark.parametrize("patience", [1, 3])
def test_a_fit_that_is_lost_from_the_start_stops_after_the_patience(
    figure: float, patience: int
) -> None:
    learn = learner(scripted("my_loss", [figure]))
    learn.fit(9, cbs=EarlyStopping(patience, monitor="my_loss"))
    assert len(learn.recorder.values) == patience


def test_a_plateau_leaves_alone_what_other_callbacks_do_to_the_rate() -> None:
    class Halve(Callback):
        def after_epoch(self, learn: Learner) -> None:
            for group in learn.opt.param_groups:
                group["lr"] /= 2

    learn, seen = learner(scripted("score", [0.5, 0.75, 0.75, 0.75, 0.75])), Weights()
    learn.fit(5, lr=0.64, cbs=[Halve(), seen, ReduceLROnPlateau(2, 10.0, monitor="score")])
    assert seen.lrs == pytest.approx([0.64, 0.32, 0.16, 0.08, 0.004])


def test_a_plateau_never_raises_the_rate() -> None:
    learn, seen = learner(scripted("score", [0.5])), Weights()
    learn.fit(4, lr=0.08, cbs=[ReduceLROnPlateau(min_lr=0.5, monitor="score"), seen])
    assert seen.lrs == [0.08] * 4


def test_a_plateau_reduces_the_rates_of_all_groups() -> None:
    def two_groups(parameters: Iterator[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        weight, bias = parameters
        groups: list[dict[str, Any]] = [{"params": [weight], "lr": lr / 4}, {"params": [bias]}]
        return torch.optim.SGD(groups, lr=lr)

    learn = learner(scripted("score", [0.5]), opt_func=two_groups)
    learn.fit(3, lr=0.5, cbs=ReduceLROnPlateau(1, 2.0, monitor="score"))
    assert [group["lr"] for group in learn.opt.param_groups] == [0.0625, 0.25]


def test_an_epoch_that_was_cancelled_is_no_better_than_the_others() -> None:
    """Its figures are nan, so its weights are not kept, and it counts as one without a better."""

    class Skip(Callback):
        def before_epoch(self, learn: Learner) -> None:
            if learn.epoch in (1, 2):
                raise CancelEpoch

    learn, seen = learner(scripted("score", [0.5, 0.75])), Weights()
    best = SaveBest(monitor="score")
    learn.fit(5, lr=0.1, cbs=[Skip(), best, seen, EarlyStopping(2, monitor="score")])
    assert len(learn.recorder.values) == 3
    assert learn.kept_row == 0
    assert same(dict(learn.model.state_dict()), seen.weights[0])


@pytest.mark.parametrize("error", [CancelFit, KeyboardInterrupt])
def test_the_kept_row_is_that_of_the_weights_even_if_the_best_epoch_ends_the_fit(
    error: type[BaseException],
) -> None:
    """An earlier callback may end the fit as soon as the metric is good enough."""

    class GoodEnough(Callback):
        def after_epoch(self, learn: Learner) -> None:
            if learn.recorder.values[-1][-1] > 0.8:
                raise error

    learn = learner(scripted("score", [0.5, 0.75, 0.6, 0.9]))
    with suppress(KeyboardInterrupt):
        learn.fit(9, lr=0.1, cbs=[GoodEnough(), SaveBest(monitor="score")])
    assert learn.kept_row == 3
    assert measured_row(learn) == 3


def test_an_epoch_with_a_partial_validation_is_never_the_best() -> None:
    class Cut(Callback):
        def after_batch(self, learn: Learner) -> None:
            if not learn.training and learn.epoch == 0:
                raise CancelValidate

    learn = learner(scripted("score", [0.9, 0.5, 0.6]))
    learn.dls.valid = DataLoader(random_set(10), 4)
    learn.fit(3, lr=0.1, cbs=[Cut(), SaveBest(monitor="score")])
    assert learn.recorder.partial == [0]
    assert learn.kept_row > 0


class Plain(Callback):
    """Does nothing at the moments at which the others do something."""


every_callback = [
    lambda folder: [Plain()],
    lambda folder: [EarlyStopping(100)],
    lambda folder: [SaveBest()],
    lambda folder: [SaveBest(folder / "best.safetensors"), CSVLogger(folder / "history.csv")],
    lambda folder: [ReduceLROnPlateau(100)],
]


@pytest.mark.parametrize("make", every_callback)
def test_the_whole_table_is_the_same_with_or_without_them(
    make: Callable[[Path], list[Callback]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = []
    for cbs in ([], make(tmp_path)):
        learn = learner()
        learn.logger = print
        learn.fit(5, lr=0.1, cbs=cbs)
        out, err = capsys.readouterr()
        tables.append([line.rsplit(maxsplit=1)[0] for line in out.splitlines()])
        assert len(out.splitlines()) == 6
        assert err == ""
    assert tables[0] == tables[1]


def test_a_monitored_fit_resumes_from_any_batch_to_the_same_bits(tmp_path: Path) -> None:
    """The loss is lowest in the fourth epoch of 12, and the fit stops after the seventh."""
    path = tmp_path / "c.safetensors"

    def watched(*cbs: Callback, resume: Path | None = None) -> dict[str, Any]:
        seed = 0 if resume is None else 1
        learn = learner(seed=seed, loss_func=cross_entropy)
        best = SaveBest(monitor="batch_accuracy"), SaveBest()
        watching = [*best, EarlyStopping(3), ReduceLROnPlateau(1, 2.0)]
        csv = CSVLogger(tmp_path / "history.csv")
        learn.fit(12, lr=0.03, cbs=[*watching, csv, *cbs], resume=resume)
        table = (tmp_path / "history.csv").read_text().splitlines()
        return {
            "weights": dict(learn.model.state_dict()),
            "best": [each.weights for each in best],
            "kept": learn.kept_row,
            "values": learn.recorder.values,
            "lrs": learn.recorder.lrs,
            "csv": [line.rpartition(",")[0] for line in table],
        }

    copies = Copies(path)
    undisturbed = watched(Checkpoint(path, every=1), copies)
    epochs = len(undisturbed["values"])
    assert (undisturbed["kept"], epochs) == (3, 7)
    assert len(set(undisturbed["lrs"])) > 2
    assert len(copies.copies) == 7 * epochs
    assert set(parse(copies.copies[-1].read_bytes())["callbacks"]) == {"SaveBest", "SaveBest 2"}
    assert not same(*undisturbed["best"])
    for cut in copies.copies[::3]:  # 7 per epoch: each position, in some epoch
        assert same(watched(resume=cut), undisturbed)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, math.nan]), min_size=1, max_size=12),
    st.sampled_from([0.0, 0.25]),
)
def test_a_row_is_better_if_it_beats_the_best_before_it(
    values: list[float], min_delta: float
) -> None:
    learn = learner(scripted("score", [0.0]))
    learn.recorder.values = [[0.0, 0.0, value] for value in values]
    best = SaveBest(monitor="score", min_delta=min_delta)
    better = best.improvements(learn)
    for i, value in enumerate(values):
        before = [values[j] for j in range(i) if better[j]]
        assert better[i] == (value > max(before, default=-math.inf) + min_delta)
    rows = [i for i in range(len(values)) if better[i]]
    assert best.best_row(learn) == (rows[-1] if rows else None)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EarlyStopping(0), "patience must be at least 1 epoch, got 0"),
        (lambda: ReduceLROnPlateau(0), "patience must be at least 1 epoch, got 0"),
        (lambda: ReduceLROnPlateau(1, 1.0), "factor must be above 1, got 1.0"),
        (lambda: SaveBest(min_delta=-1), "min_delta must be 0 or more, got -1"),
    ],
)
def test_numbers_out_of_range_are_refused(make: Callable[[], Callback], message: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  # the text is compared
        make()
    assert str(refused.value) == message


def test_a_column_that_is_not_there_is_refused_before_any_work() -> None:
    learn = learner()
    message = "^SaveBest watches 'accuracy'; there are train_loss, valid_loss, batch_accuracy$"
    with pytest.raises(ValueError, match=message):
        learn.fit(1, cbs=SaveBest(monitor="accuracy"))
    assert learn.recorder.lrs == []


def test_two_columns_of_the_watched_name_are_refused() -> None:
    learn = learner()
    learn.metrics = [scripted("recall", [0.5]), scripted("recall", [0.75])]
    message = (
        "^EarlyStopping watches 'recall'; several of that name: train_loss, valid_loss, recall, "
        "recall$"
    )
    with pytest.raises(ValueError, match=message):
        learn.fit(1, cbs=EarlyStopping(monitor="recall"))


def test_a_plateau_and_a_schedule_are_not_for_one_fit() -> None:
    message = "^a schedule sets the learning rate of each batch, so ReduceLROnPlateau cannot; take "
    with pytest.raises(ValueError, match=message):
        learner().fit_one_cycle(1, lr_max=0.1, cbs=ReduceLROnPlateau())
