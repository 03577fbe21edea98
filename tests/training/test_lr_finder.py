"""The finder leaves no trace, and suggests the place half way down the longest valley.

That its figures are fastai's test_fastai_parity.py keeps.
"""

import copy
import itertools
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from matplotlib import pyplot
from torch import nn
from torch.utils.data import DataLoader as TorchLoader, RandomSampler, TensorDataset

import learners
from hooks import StopAfter
from image_sets import random_set
from mnist_sgd import (
    SGD,
    Callback,
    CancelBatch,
    CancelFit,
    CSVLogger,
    DataLoader,
    DataLoaders,
    EarlyStopping,
    Learner,
    ReduceLROnPlateau,
    SaveBest,
    TensorBoard,
    first,
)
from mnist_sgd.training.lr_finder import valley
from networks import dropping
from values import same

matplotlib.use("agg")


def learner(**settings: Any) -> Learner:
    torch.manual_seed(0)
    return learners.learner(dropping(), train=52, **settings)


def state(learn: Learner) -> dict[str, Any]:
    """All that a fit begins with."""
    return {
        "weights": {name: t.clone() for name, t in learn.model.state_dict().items()},
        "modes": [module.training for module in learn.model.modules()],
        "gradients": [p.grad for p in learn.model.parameters()],
        "optimizer": copy.deepcopy(learn.opt.state_dict()) if learn.opt else None,
        "loaders": [learn.dls.train.state_dict(), learn.dls.valid.state_dict()],  # type: ignore[attr-defined]
        "recorder": learn.recorder.state_dict(),
        "random": torch.get_rng_state(),
        "where": [learn.epoch, learn.n_epoch, learn.batch, learn.base_lr, learn.kept_row],
        "callbacks": [type(cb).__name__ for cb in learn.cbs],
    }


optimizers = pytest.mark.parametrize(
    "opt_func", [partial(SGD, mom=0.9), torch.optim.Adam], ids=["sgd", "adam"]
)


@optimizers
@pytest.mark.parametrize("fitted", [0, 2])
def test_a_search_leaves_everything_as_it_was(opt_func: Callable[..., Any], fitted: int) -> None:
    learn = learner(opt_func=opt_func, cbs=Callback())
    learn.fit(fitted, lr=0.1)
    if not fitted:
        learn.opt = None
    before, opt, recorder = state(learn), learn.opt, learn.recorder
    learn.lr_find()
    assert same(state(learn), before)
    assert learn.opt is opt
    assert learn.recorder is recorder


@optimizers
def test_the_fit_after_a_search_is_the_fit_without_it_to_the_last_bit(
    opt_func: Callable[..., Any],
) -> None:
    with_search, without = learner(opt_func=opt_func), learner(opt_func=opt_func)
    torch.manual_seed(1)
    with_search.lr_find()
    with_search.fit(2, lr=0.1)
    after = state(with_search)
    torch.manual_seed(1)
    without.fit(2, lr=0.1)
    expected = state(without)
    for each in (after, expected):
        del each["recorder"]["lines"]  # they end in a time
    assert same(after, expected)


class Averaged(nn.Module):
    """A loss with a running average of itself."""

    average: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("average", torch.zeros(()))
        self.calls = 0

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss = (targets - logits.sigmoid()).abs().mean()
        self.average.mul_(0.9).add_(loss.detach() * 0.1)
        self.calls += 1
        return loss


def test_a_search_puts_back_all_that_a_batch_changes() -> None:
    """Non-persistent buffers, the loss's buffers, gradients, attributes and requires_grad."""

    class Changes(Callback):
        def before_epoch(self, learn: Learner) -> None:
            model: Any = learn.model
            model[0].requires_grad_(False)
            model[3].p = 0.75
            random.random()
            np.random.random()
            learn.loss_func = Averaged()

    loss = Averaged()
    learn = learner(loss_func=loss, cbs=Changes())
    model: Any = learn.model
    model[1].register_buffer("seen", torch.zeros(8), persistent=False)
    model[1].register_forward_hook(lambda module, xb, y: module.seen.add_(y.detach().mean(0)))
    model[0].weight.grad = torch.ones_like(model[0].weight)
    generators = random.getstate(), repr(np.random.get_state())
    learn.lr_find()
    assert same(model[1].seen, torch.zeros(8))
    assert same(loss.average, torch.zeros(()))
    assert loss.calls == 0
    assert learn.loss_func is loss
    assert same(model[0].weight.grad, torch.ones_like(model[0].weight))
    assert model[0].weight.requires_grad
    assert model[3].p == 0.5
    assert random.getstate() == generators[0]
    assert repr(np.random.get_state()) == generators[1]


@pytest.mark.parametrize("where", ["loader", "sampler"])
def test_the_generator_of_a_torch_loader_is_put_back(where: str) -> None:
    def fitted(search: bool) -> dict[str, torch.Tensor]:
        data = TensorDataset(torch.rand(52, 784), (torch.rand(52, 1) > 0.5).long())
        own = torch.Generator().manual_seed(1)
        if where == "sampler":
            batches = TorchLoader(data, 4, sampler=RandomSampler(data, generator=own))
        else:
            batches = TorchLoader(data, 4, shuffle=True, generator=own)
        learn = learner()
        learn.dls = DataLoaders(batches, learn.dls.valid)
        torch.manual_seed(2)
        if search:
            learn.lr_find()
        learn.fit(1, lr=0.1)
        return dict(learn.model.state_dict())

    torch.manual_seed(3)
    without = fitted(search=False)
    torch.manual_seed(3)
    assert same(fitted(search=True), without)


def test_a_search_that_is_interrupted_leaves_everything_as_it_was() -> None:
    def interrupted(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if next(calls) == 20:
            raise KeyboardInterrupt
        return (targets - predictions.sigmoid()).abs().mean()

    calls = itertools.count()
    learn = learner(loss_func=interrupted)
    before = state(learn)
    with pytest.raises(KeyboardInterrupt):
        learn.lr_find()
    assert same(state(learn), before)


class Counts(Callback):
    """Counts its events."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def before_batch(self, learn: Learner) -> None:
        self.seen["train" if learn.training else "valid"] += 1

    def after_epoch(self, learn: Learner) -> None:
        self.seen["epoch"] += 1


def test_rates_grow_by_one_factor_and_validation_is_left_out() -> None:
    counts = Counts()
    learn = learner(cbs=counts)
    found = learn.lr_find(start_lr=1e-4, end_lr=1.0, num_it=40, stop_div=False)
    assert found.lrs == pytest.approx([1e-4 * 1e4 ** (i / 40) for i in range(4, 35)])
    assert len(found.losses) == len(found.lrs)
    assert found.valley == found.lrs[valley(found.losses)]
    assert repr(found) == f"LRFind(valley={found.valley:.3g}, of 31 rates)"
    assert counts.seen == {"train": 40, "epoch": 3}


def test_a_search_has_the_learners_callbacks_but_not_those_that_watch_or_write(
    tmp_path: Path,
) -> None:
    """It changes the batches as a fit does, and leaves no files, rows or best weights."""

    class Shift(Callback):
        def before_batch(self, learn: Learner) -> None:
            learn.xb = learn.xb + 1

    csv, best = CSVLogger(tmp_path / "history.csv"), SaveBest(tmp_path / "best.safetensors")
    watching = [best, EarlyStopping(), ReduceLROnPlateau(), csv, TensorBoard(tmp_path / "events")]
    plain, shifted = learner(), learner(cbs=[Shift, *watching])
    assert shifted.lr_find().losses != plain.lr_find().losses
    assert list(tmp_path.iterdir()) == []
    assert best.weights == {}


def test_a_search_gives_stateful_callbacks_their_state_back() -> None:
    class Stateful(Counts):
        def state_dict(self) -> dict[str, int]:
            return dict(self.seen)

        def load_state_dict(self, state: dict[str, int]) -> None:
            self.seen = Counter(state)

    counts = Stateful()
    learn = learner(cbs=counts)
    learn.fit(1)
    before = counts.state_dict()
    learn.lr_find()
    assert counts.state_dict() == before


def test_a_fit_after_an_unfinished_fit_and_a_search_begins_an_epoch() -> None:
    learn = learner()
    learn.fit(1, cbs=StopAfter(5))
    learn.lr_find()
    learn.fit(1)
    assert len(learn.recorder.lrs) == len(learn.dls.train) == 13  # type: ignore[arg-type]


@pytest.mark.parametrize("cbs", [None, Counts, Counts()])
def test_a_search_takes_callbacks_as_a_fit_does_and_leaves_them_switched_off(cbs: Any) -> None:
    learn = learner()
    learn.cbs = cbs
    if isinstance(cbs, Callback):
        cbs.run = False
    learn.lr_find()
    assert learn.cbs is cbs
    assert not isinstance(cbs, Callback) or not cbs.run


def test_a_search_that_ends_at_once_says_so() -> None:
    class Cut(Callback):
        def before_batch(self, learn: Learner) -> None:
            raise CancelBatch if learn.batch == 1 else CancelFit

    message = "^the search ended after 0 batches, too few to suggest a rate: the loss rose at once"
    with pytest.raises(ValueError, match=message):
        learner(cbs=Cut()).lr_find()


def test_a_search_on_no_batches_is_refused() -> None:
    learn = learner()
    learn.dls.train = DataLoader(random_set(3), 4, drop_last=True)
    message = (
        "^there are no training batches: the training loader is empty, as it is with "
        "drop_last=True and fewer images than batch_size$"
    )
    with pytest.raises(ValueError, match=message):
        learn.lr_find()


def test_a_search_ends_where_the_loss_is_over_four_times_its_lowest() -> None:
    def rising(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return predictions.sum() * 0 + (1.0 if next(calls) < 30 else 1000.0)

    calls = itertools.count()
    found = learner(loss_func=rising).lr_find()
    assert len(found.lrs) == 31 - 10 - 5
    calls = itertools.count()
    found = learner(loss_func=rising).lr_find(stop_div=False)
    assert len(found.lrs) == 100 - 10 - 5


def test_what_comes_after_a_loss_that_is_no_number_is_left_out() -> None:
    def lost(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return predictions.sum() * 0 + (1.0 if next(calls) < 30 else float("nan"))

    calls = itertools.count()
    assert len(learner(loss_func=lost).lr_find().lrs) == 20


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start_lr": 0.0}, "start_lr must be above 0 and below end_lr, got 0.0 and 10.0"),
        (
            {"start_lr": 0.1, "end_lr": 0.1},
            "start_lr must be above 0 and below end_lr, got 0.1 and 0.1",
        ),
        ({"num_it": 19}, "num_it must be at least 20, got 19"),
    ],
)
def test_numbers_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  # the text is compared
        learner().lr_find(**settings)
    assert str(refused.value) == message


def test_a_loss_that_is_no_number_from_the_start_is_said() -> None:
    def lost(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return predictions.sum() * float("nan")

    message = "^the loss became nan before a rate could be suggested: start below 1e-07$"
    with pytest.raises(ValueError, match=message):
        learner(loss_func=lost).lr_find()


def longest_decreasing(losses: list[int]) -> tuple[int, int]:
    """The length of the longest decreasing subsequences, and the first place where one ends."""
    best = (1, 0)
    for size in range(1, len(losses) + 1):
        for places in itertools.combinations(range(len(losses)), size):
            falls = all(losses[a] > losses[b] for a, b in itertools.pairwise(places))
            if falls and (size > best[0] or (size == best[0] and places[-1] < best[1])):
                best = (size, places[-1])
    return best


@given(st.lists(st.integers(0, 9), min_size=1, max_size=10))
def test_the_suggestion_is_half_way_down_the_longest_decreasing_subsequence(
    losses: list[int],
) -> None:
    length, end = longest_decreasing(losses)
    start = end - length
    expected = 0 if length == 1 else max(0, start + length // 3 + length // 6)
    assert valley([float(loss) for loss in losses]) == expected


def test_a_straight_fall_is_cut_in_the_middle() -> None:
    assert valley([float(-i) for i in range(60)]) == 29
    assert valley([*[5.0] * 20, *[float(-i) for i in range(60)], *[5.0] * 20]) == 48


def test_the_plot_shows_the_curve_and_the_suggestion() -> None:
    found = learner().lr_find()
    ax = found.plot()
    curve, mark = ax.get_lines()
    assert np.asarray(curve.get_xdata()).tolist() == list(found.lrs)
    assert np.asarray(curve.get_ydata()).tolist() == list(found.losses)
    assert np.asarray(mark.get_xdata()).tolist() == [found.valley]
    assert ax.get_xscale() == "log"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("learning rate", "loss")
    pyplot.close("all")


class Searches(Callback):
    """Searches in the second epoch, once; always in before_fit."""

    during_lr_find = False

    def __init__(self, event: str) -> None:
        self.found: list[float] = []
        setattr(self, event, self.search)

    def search(self, learn: Learner) -> None:
        if learn.epoch == learn.n_epoch - 1 and not self.found:
            self.found.append(learn.lr_find().valley)


def before_and_after(*events: str) -> list[str]:
    return [f"{when}_{event}" for event in events for when in ("before", "after")]


@pytest.mark.parametrize("event", before_and_after("fit", "epoch"))
def test_a_search_between_epochs_leaves_the_fit_as_it_is(event: str) -> None:
    undisturbed = learner()
    undisturbed.fit(1, lr=0.1)
    searching = Searches(event)
    learn = learner()
    learn.fit(1, lr=0.1, cbs=searching)
    assert len(searching.found) == 1
    assert same(state(learn), state(undisturbed))


@pytest.mark.parametrize("event", before_and_after("train", "batch", "step", "validate"))
def test_a_search_among_batches_is_refused(event: str) -> None:
    message = "^lr_find cannot search within a training or a validation, whose batch it would"
    learn = learner()
    with pytest.raises(ValueError, match=message):
        learn.fit(1, lr=0.1, cbs=Searches(event))
    learn.lr_find()


def test_a_search_for_a_lazy_model_says_how_to_give_it_weights() -> None:
    learn = learner()
    learn.model = nn.Sequential(nn.LazyLinear(1))
    with pytest.raises(ValueError, match=r"^lr_find puts the weights back, and lazy layers have n"):
        learn.lr_find()
    learn.model(first(learn.dls.train)[0])
    learn.lr_find()
