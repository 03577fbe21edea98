"""One cycle is the cosine that it says; a fit's rates and momenta are what its schedule gives."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from learners import BATCHES, learner
from mnist_sgd import (
    SGD,
    BasicOptim,
    Callback,
    CancelBatch,
    CancelEpoch,
    CancelTrain,
    Checkpoint,
    DataLoaders,
    Learner,
    OneCycle,
    adamw,
    create_model,
)

cycles = st.builds(
    OneCycle,
    lr_max=st.floats(1e-6, 10),
    div=st.floats(1, 1000),
    div_final=st.floats(1, 1e8),
    pct_start=st.floats(0.01, 0.99),
    moms=st.tuples(*[st.floats(0.01, 0.99)] * 3),
)


def half_cosine(start: float, end: float, part: float) -> float:
    return start + (end - start) * (1 - math.cos(math.pi * part)) / 2


@given(cycles, st.floats(0, 1))
def test_one_cycle_is_half_a_cosine_up_and_half_a_cosine_down(
    cycle: OneCycle, progress: float
) -> None:
    rising = progress < cycle.pct_start
    part = (
        progress / cycle.pct_start
        if rising
        else (progress - cycle.pct_start) / (1 - cycle.pct_start)
    )
    rates = cycle.lr_max / cycle.div, cycle.lr_max, cycle.lr_max / cycle.div_final
    found = cycle(progress)
    for value, ends in zip(found, (rates, cycle.moms), strict=True):
        expected = half_cosine(*(ends[:2] if rising else ends[1:]), part)
        assert value == pytest.approx(expected, abs=3e-5 * max(ends))  # float32 near an end


@given(cycles)
def test_one_cycle_begins_peaks_and_ends_where_it_says(cycle: OneCycle) -> None:
    low, high = cycle.lr_max / cycle.div, cycle.lr_max / cycle.div_final
    first, middle, last = cycle(0.0), cycle(cycle.pct_start), cycle(1.0)
    assert first == pytest.approx((low, cycle.moms[0]))
    assert middle == pytest.approx((cycle.lr_max, cycle.moms[1]))
    assert last == pytest.approx((high, cycle.moms[2]), abs=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr_max": 0.0}, "lr_max must be above 0, got 0.0"),
        ({"lr_max": math.nan}, "lr_max must be above 0, got nan"),
        ({"div": -1}, "div must be above 0, got -1"),
        ({"div_final": 0}, "div_final must be above 0, got 0"),
        ({"pct_start": 1}, "pct_start must be above 0 and below 1, got 1"),
        ({"moms": (0.9, 0.8)}, "moms must be three numbers above 0 and below 1, got (0.9, 0.8)"),
        (
            {"moms": (0.9, 0.0, 0.9)},
            "moms must be three numbers above 0 and below 1, got (0.9, 0.0, 0.9)",
        ),
    ],
)
def test_a_cycle_of_numbers_out_of_range_is_refused_before_any_work(
    settings: dict[str, Any], message: str
) -> None:
    learn = learner()
    with pytest.raises(ValueError) as refused:  # noqa: PT011  # the text is compared
        learn.fit_one_cycle(1, **({"lr_max": 0.1} | settings))
    assert str(refused.value) == message
    assert learn.opt is None


class Used(Callback):
    """Keeps what each step was done with, as the optimizer itself has it."""

    def __init__(self) -> None:
        self.groups: list[dict[str, Any]] = []

    def after_batch(self, learn: Learner) -> None:
        if learn.training:
            self.groups.append(dict(learn.opt.param_groups[0]))


@pytest.mark.parametrize(
    ("opt_func", "momentum"),
    [
        (partial(SGD, mom=0.5), lambda group: group["mom"]),
        (partial(torch.optim.SGD, momentum=0.5), lambda group: group["momentum"]),
        (torch.optim.Adam, lambda group: group["betas"][0]),
        (adamw, lambda group: group["betas"][0]),
    ],
)
def test_each_step_is_done_with_the_recorded_rate_and_momentum(
    opt_func: Callable[..., Any], momentum: Callable[[dict[str, Any]], float]
) -> None:
    learn, used = learner(opt_func=opt_func), Used()
    learn.fit_one_cycle(2, lr_max=0.5, cbs=used)
    cycle = OneCycle(0.5)
    wanted = [cycle(step / (2 * BATCHES)) for step in range(2 * BATCHES)]
    assert learn.recorder.lrs == [lr for lr, _ in wanted] == [g["lr"] for g in used.groups]
    assert learn.recorder.moms == [mom for _, mom in wanted] == list(map(momentum, used.groups))
    assert learn.base_lr == 0.5


def test_the_learners_rate_is_the_highest_where_none_is_given() -> None:
    learn = learner(lr=0.25)
    learn.fit_one_cycle(1, pct_start=0.5)
    assert max(learn.recorder.lrs) == 0.25


@pytest.mark.parametrize("opt_func", [BasicOptim, SGD, torch.optim.SGD])
def test_an_optimizer_without_momentum_stays_without(opt_func: Callable[..., Any]) -> None:
    learn = learner(opt_func=opt_func)
    learn.fit_one_cycle(1, lr_max=0.5)
    assert learn.recorder.moms == [0.0] * BATCHES
    assert learn.recorder.lrs == [OneCycle(0.5)(step / BATCHES)[0] for step in range(BATCHES)]


def test_all_groups_follow_the_schedule() -> None:
    learn = learner(create_model("mlp", 0), opt_func=adamw)
    learn.fit_one_cycle(1, lr_max=0.5)
    rates = {(group["lr"], group["betas"]) for group in learn.opt.param_groups}
    assert len(learn.opt.param_groups) == 2
    assert len(rates) == 1


def test_a_schedule_of_ones_own_gets_the_share_of_batches_that_came_before() -> None:
    seen: list[float] = []

    def schedule(progress: float) -> tuple[float, float | None]:
        seen.append(progress)
        return 1 - progress, None

    learn = learner(opt_func=partial(SGD, mom=0.5))
    learn.fit(3, lr=0.1, schedule=schedule)
    assert seen == pytest.approx([step / (3 * BATCHES) for step in range(3 * BATCHES)])
    assert learn.recorder.lrs == [1 - progress for progress in seen]
    assert learn.recorder.moms == [0.5] * (3 * BATCHES)
    learn.fit(1, lr=0.1)
    assert learn.recorder.lrs == [0.1] * BATCHES


class Leave(Callback):
    """Leaves a stage of the first epoch at its third batch."""

    def __init__(self, cancelled: type[Exception]) -> None:
        self.cancelled = cancelled

    def after_pred(self, learn: Learner) -> None:
        if learn.training and (learn.epoch, learn.batch) == (0, 3):
            raise self.cancelled


@pytest.mark.parametrize(
    ("cancelled", "steps"),
    [
        (CancelBatch, [0, 1, 3, 4, 5]),
        (CancelTrain, [0, 1]),
        (CancelEpoch, [0, 1]),
    ],
)
def test_a_stage_that_is_left_early_moves_no_later_rate(
    cancelled: type[Exception], steps: list[int]
) -> None:
    learn = learner(cbs=Leave(cancelled))
    learn.fit_one_cycle(2, lr_max=0.5)
    cycle = OneCycle(0.5)
    steps = [*steps, *range(BATCHES, 2 * BATCHES)]
    assert learn.recorder.lrs == [cycle(step / (2 * BATCHES))[0] for step in steps]


def test_batches_of_no_known_number_are_refused() -> None:
    class Endless:
        def __iter__(self) -> Any:
            return iter([(torch.rand(4, 784), torch.ones(4, 1))])

    learn = Learner(DataLoaders(Endless(), Endless()), nn.Linear(784, 1))
    with learn.no_logging(), pytest.raises(TypeError, match=r"^a schedule needs .* \(Endless\) "):
        learn.fit_one_cycle(1, lr_max=0.1)


def counting() -> Callable[[float], tuple[float, None]]:
    count = 0

    def schedule(progress: float) -> tuple[float, None]:
        nonlocal count
        count += 1
        return 0.01 * count, None

    return schedule


class Counting:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self, progress: float) -> tuple[float, None]:
        self.count += 1
        return 0.01 * self.count, None


class Listed:
    """Has what cannot be copied."""

    def __init__(self) -> None:
        self.rates = (0.01 * i for i in range(1, 100))

    def __call__(self, progress: float) -> tuple[float, None]:
        return next(self.rates), None


@pytest.mark.parametrize(
    "make", [counting, Counting, lambda: Counting().__call__, lambda: partial(Counting()), Listed]
)
def test_a_checkpoint_does_not_move_a_schedule_that_counts_its_calls(
    make: Callable[[], Any], tmp_path: Path
) -> None:
    plain, noted = learner(), learner()
    plain.fit(1, schedule=make())
    noted.fit(1, schedule=make(), cbs=Checkpoint(tmp_path / "c"))
    assert noted.recorder.lrs == plain.recorder.lrs
    assert plain.recorder.lrs[:2] == [0.01, 0.02]


@pytest.mark.parametrize("checkpoint", [False, True])
def test_what_is_no_rate_and_momentum_is_said_with_a_checkpoint_too(
    checkpoint: bool, tmp_path: Path
) -> None:
    def constant(progress: float) -> Any:
        return 0.1

    cbs = [Checkpoint(tmp_path / "c")] if checkpoint else []
    with pytest.raises(TypeError) as refused:
        learner().fit(1, schedule=constant, cbs=cbs)
    assert str(refused.value) == (
        "a schedule must give a learning rate and a momentum, None for a momentum that stays, as "
        f"in (0.1, None); {constant.__qualname__} at the progress 0 gives 0.1"
    )
