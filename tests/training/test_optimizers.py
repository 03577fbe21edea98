"""The optimizers do what their formulas say."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from image_sets import random_set
from learners import figures, learner
from mnist_sgd import (
    SGD,
    BasicOptim,
    Callback,
    Checkpoint,
    CheckpointError,
    DataLoader,
    DataLoaders,
    Learner,
    adamw,
)
from mnist_sgd.training.optimizers import (
    DECAY_KEYS,
    Rates,
    exempt_from_decay,
    momentum_of,
    set_decay,
    set_momentum,
)
from values import same

MOMENTA = ("mom", "momentum", "betas")


def parameters(*values: float) -> nn.Parameter:
    p = nn.Parameter(torch.tensor(values))
    p.grad = torch.ones_like(p)
    return p


def test_basic_optim_subtracts_the_gradient_times_the_rate_and_forgets_it() -> None:
    p = parameters(1.0, 2.0)
    opt = BasicOptim([p], lr=0.25)
    opt.step()
    assert p.tolist() == [0.75, 1.75]
    opt.zero_grad()
    assert p.grad is None


def test_basic_optim_leaves_a_parameter_without_a_gradient_alone() -> None:
    frozen = nn.Parameter(torch.ones(1))
    BasicOptim([frozen, parameters(1.0)], lr=1.0).step()
    assert frozen.item() == 1.0


def test_momentum_that_was_0_for_a_while_comes_back_with_the_average_of_that_while() -> None:
    p = parameters(0.0)
    opt = SGD([p], lr=1.0, mom=0.5)
    steps = []
    for mom in (0.0, 0.0, 0.5):
        opt.param_groups[0]["mom"] = mom
        before = p.item()
        opt.step()
        steps.append(p.item() - before)
    assert steps == [-1.0, -1.0, -1.5]


def test_groups_keep_the_ratio_of_their_rates_and_have_momentum_only_if_made_with_it() -> None:
    groups = [
        {"params": [parameters(1.0)], "lr": 0.25, "momentum": 0.9},
        {"params": [parameters(1.0)], "lr": 1.0},
    ]
    opt = torch.optim.SGD(groups)
    rates = Rates(opt)
    rates.set(0.5, 0.0)
    rates.set(2.0, 0.75)
    assert [(group["lr"], group["momentum"]) for group in opt.param_groups] == [
        (0.5, 0.75),
        (2.0, 0.0),
    ]


def test_sgd_with_momentum_follows_the_undamped_average() -> None:
    p = parameters(0.0)
    opt = SGD([p], lr=1.0, mom=0.5)
    steps = []
    for _ in range(3):
        opt.step()
        steps.append(p.item())
    assert steps == [-1.0, -2.5, -4.25]


def matrix(value: float) -> nn.Parameter:
    p = nn.Parameter(torch.tensor([[value]]))
    p.grad = torch.ones_like(p)
    return p


def test_sgd_decays_by_a_factor_before_the_step() -> None:
    weight, bias = matrix(8.0), parameters(8.0)
    SGD([weight, bias], lr=0.5, wd=0.5).step()
    assert weight.item() == bias.item() == 8 * (1 - 0.25) - 0.5


class Own(nn.Module):
    """A layer with a parameter of one dimension that is no bias."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))


@pytest.mark.parametrize("make", [partial(SGD, wd=1.0), partial(adamw, wd=1.0)])
def test_biases_and_normalisation_layers_are_exempt_from_decay_whatever_their_shape(
    make: Callable[..., Any],
) -> None:
    layers = {
        "linear": nn.Linear(4, 4),
        "prelu": nn.PReLU(4),
        "own": Own(),
        "layer norm": nn.LayerNorm((2, 2)),
        "batch norm": nn.BatchNorm1d(4),
        "group norm": nn.GroupNorm(2, 4),
    }
    model = nn.ModuleDict(layers)
    for p in model.parameters():
        nn.init.ones_(p)
        p.grad = torch.zeros_like(p)
    exempt_from_decay(model)
    make(model.parameters(), lr=0.5).step()
    decayed = {
        name for name, p in model.named_parameters() if not torch.equal(p, torch.ones_like(p))
    }
    assert decayed == {"linear.weight", "prelu.weight", "own.scale"}


def test_sgd_leaves_a_parameter_without_a_gradient_alone() -> None:
    p = nn.Parameter(torch.tensor([[3.0]]))
    SGD([p], lr=1.0, wd=0.1).step()
    assert p.item() == 3.0


def test_adamw_is_torchs_with_the_exempt_parameters_in_a_group_of_their_own() -> None:
    layer = nn.Linear(1, 1)
    for p in layer.parameters():
        nn.init.constant_(p, 8.0)
        p.grad = torch.ones_like(p)
    exempt_from_decay(layer)
    opt = adamw([layer.bias, layer.weight], lr=0.5, mom=0.8, wd=0.5)
    opt.step()
    assert isinstance(opt, torch.optim.AdamW)
    assert [group["betas"] for group in opt.param_groups] == [(0.8, 0.999)] * 2
    assert layer.weight.item() == pytest.approx(8 * (1 - 0.25) - 0.5)
    assert layer.bias.item() == pytest.approx(8 - 0.5)


def test_adamw_without_exempt_parameters_has_one_group() -> None:
    assert len(adamw([parameters(1.0)], lr=0.5).param_groups) == 1


@pytest.mark.parametrize(
    ("make", "before"),
    [
        (BasicOptim, 0.0),
        (partial(SGD, mom=0.5), 0.5),
        (partial(torch.optim.SGD, momentum=0.5), 0.5),
        (partial(torch.optim.RMSprop, momentum=0.5), 0.5),
        (torch.optim.Adam, 0.9),
    ],
)
def test_a_momentum_is_found_and_set_under_each_of_its_names(
    make: Callable[..., Any], before: float
) -> None:
    (group,) = make([parameters(1.0)], lr=0.5).param_groups
    assert momentum_of(group) == before
    if before:
        others = {key: value for key, value in group.items() if key not in MOMENTA}
        set_momentum(group, 0.75)
        assert momentum_of(group) == 0.75
        assert others == {key: value for key, value in group.items() if key not in MOMENTA}
        assert group.get("betas", (0.75, 0.999)) == (0.75, 0.999)


@pytest.mark.parametrize("mom", [0.0, 0.9])
def test_sgd_without_decay_goes_where_torchs_goes(mom: float) -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(50)) for _ in range(2))
    opts = SGD([ours], 0.1, mom=mom), torch.optim.SGD([theirs], 0.1, momentum=mom)
    for _ in range(5):
        ours.grad = torch.randn(50)
        theirs.grad = ours.grad.clone()
        for opt in opts:
            opt.step()
    assert torch.allclose(ours, theirs, rtol=1e-6)


def test_the_rate_is_read_from_the_groups_at_each_step() -> None:
    p = parameters(1.0)
    opt = SGD([p], lr=1.0)
    opt.param_groups[0]["lr"] = 0.125
    opt.step()
    assert p.item() == 0.875


@pytest.mark.parametrize("make", [BasicOptim, SGD, partial(SGD, mom=0.5, wd=0.25)])
def test_an_optimizer_that_loads_a_state_goes_on_as_the_other(make: Callable[..., Any]) -> None:
    p, q = parameters(1.0, 2.0), parameters(3.0)
    first = make([p, q], lr=0.5)
    first.step()
    first.param_groups[0]["lr"] = 0.125
    twins = [nn.Parameter(each.detach().clone()) for each in (p, q)]
    second = make(twins, lr=1.0)
    second.load_state_dict(first.state_dict())
    assert second.param_groups[0]["lr"] == 0.125
    for each in (p, q, *twins):
        each.grad = torch.full_like(each, 0.75)
    first.step()
    second.step()
    assert [each.tolist() for each in twins] == [p.tolist(), q.tolist()]
    assert same(second.state_dict(), first.state_dict())


def test_a_state_numbers_the_parameters_as_torchs_does() -> None:
    p, q = parameters(1.0), nn.Parameter(torch.ones(1))
    opt = SGD([q, p], lr=0.5, mom=0.5)
    opt.step()
    assert opt.state_dict() == {
        "state": {1: {"momentum_buffer": torch.ones(1)}},
        "param_groups": [{"params": [0, 1], "lr": 0.5, "mom": 0.5, "wd": 0.0}],
    }


def test_a_state_of_other_parameters_is_refused_and_changes_nothing() -> None:
    opt = SGD([parameters(1.0)], lr=0.5)
    other = SGD([parameters(1.0), parameters(2.0)], lr=1.0)
    message = r"^the state is of groups of \[2\] parameters, here are \[1\]$"
    with pytest.raises(ValueError, match=message):
        opt.load_state_dict(other.state_dict())
    assert opt.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize("make", [BasicOptim, SGD, partial(SGD, mom=0.5), adamw])
def test_torchs_schedulers_take_it(make: Callable[..., Any]) -> None:
    p = parameters(1.0)
    opt = make([p], lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(opt, step_size=1, gamma=0.5)
    rates = []
    for _ in range(3):
        rates.append(opt.param_groups[0]["lr"])
        opt.step()
        scheduler.step()
    assert rates == [1.0, 0.5, 0.25]


schedulers = torch.optim.lr_scheduler


@pytest.mark.parametrize(
    "schedule",
    [
        lambda opt: schedulers.StepLR(opt, step_size=1, gamma=0.5),
        lambda opt: schedulers.CosineAnnealingLR(opt, T_max=3),
        lambda opt: schedulers.OneCycleLR(opt, max_lr=0.5, total_steps=4, cycle_momentum=False),
        lambda opt: torch.optim.swa_utils.SWALR(opt, swa_lr=0.25, anneal_epochs=2),
        lambda opt: schedulers.ReduceLROnPlateau(opt, mode="max", factor=0.5, patience=0),
    ],
    ids=["StepLR", "CosineAnnealingLR", "OneCycleLR", "SWALR", "ReduceLROnPlateau"],
)
@pytest.mark.parametrize("make", [SGD, adamw, torch.optim.SGD, torch.optim.AdamW])
def test_a_callback_can_set_the_rates_of_a_fit_with_torchs_schedulers(
    make: Callable[..., Any], schedule: Callable[[Any], Any]
) -> None:
    class Scheduled(Callback):
        def before_fit(self, learn: Learner) -> None:
            self.scheduler = schedule(learn.opt)

        def after_epoch(self, learn: Learner) -> None:
            move(self.scheduler)

    def move(scheduler: Any) -> None:
        watches = isinstance(scheduler, schedulers.ReduceLROnPlateau)
        scheduler.step(*([0.0] if watches else []))  # a figure that never gets better

    opt = make([parameters(1.0)], lr=0.5)
    scheduler = schedule(opt)
    expected = []
    for _ in range(3):
        expected.append(opt.param_groups[0]["lr"])
        opt.step()
        move(scheduler)
    loaders = DataLoaders(DataLoader(random_set(8), 8), DataLoader(random_set(4), 4))
    learn = Learner(loaders, nn.Linear(784, 1), opt_func=make, cbs=Scheduled())
    learn.logger = lambda line: None
    learn.fit(3, 0.5)
    assert learn.recorder.lrs == expected
    assert len(set(expected)) > 1


def test_a_step_that_a_wrapper_gives_its_closure_is_called() -> None:
    class Closes(Callback):
        def before_fit(self, learn: Learner) -> None:
            learn.opt.step = partial(learn.opt.step, lambda: learn.loss_grad.detach())

    loaders = DataLoaders(DataLoader(random_set(8), 8), DataLoader(random_set(4), 4))
    model = nn.Linear(784, 1)
    learn = Learner(loaders, model, opt_func=torch.optim.LBFGS, cbs=Closes())
    learn.logger = lambda line: None
    before = model.weight.clone()
    learn.fit(1, 0.5)
    assert not torch.equal(model.weight, before)


def test_groups_are_given_as_to_torchs_optimizers() -> None:
    p, q = parameters(1.0), parameters(1.0)
    opt = SGD([{"params": p, "lr": 0.25}, {"params": [q], "wd": 0.5}], lr=0.5)
    opt.step()
    assert (p.item(), q.item()) == (0.75, 1 * (1 - 0.25) - 0.5)
    opt.zero_grad(set_to_none=False)
    assert p.grad is not None
    assert p.grad.item() == 0.0


def test_a_step_hook_that_would_not_be_called_is_refused() -> None:
    opt = SGD([parameters(1.0)], lr=0.5)
    for register in (opt.register_step_pre_hook, opt.register_step_post_hook):
        with pytest.raises(TypeError, match=r"^SGD calls no step hooks: use a callback's .*_step$"):
            register(lambda *args: None)


def test_making_one_does_not_import_torchs_compiler() -> None:
    code = (
        "import sys, torch; from mnist_sgd import SGD; p = torch.nn.Parameter(torch.ones(1)); "
        "p.grad = p.detach(); opt = SGD([p], lr=1.0, mom=0.5); opt.step(); opt.zero_grad(); "
        "opt.load_state_dict(opt.state_dict()); print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_fits_weight_decay_spares_the_parameters_that_are_exempt() -> None:
    model = nn.Linear(784, 1)
    exempt_from_decay(model)
    for opt, expected in (
        (SGD(model.parameters(), lr=0.1), [("wd", 0.25)]),
        (adamw(model.parameters(), lr=0.1), [("weight_decay", 0.25), ("weight_decay", 0.0)]),
    ):
        set_decay(opt, 0.25)
        keys = [
            (key, group[key]) for group in opt.param_groups for key in DECAY_KEYS if key in group
        ]
        assert keys == expected


def test_a_fit_with_weight_decay_resumes_with_that_alone(tmp_path: Path) -> None:
    path = tmp_path / "fit.safetensors"
    whole = learner(opt_func=partial(SGD, mom=0.5))
    whole.fit(4, 0.1, wd=0.1)
    cut = learner(opt_func=partial(SGD, mom=0.5))
    with pytest.raises(KeyboardInterrupt):
        cut.fit(4, 0.1, cbs=[Checkpoint(path, every=1), Interrupt()], wd=0.1)
    other = learner(opt_func=partial(SGD, mom=0.5))
    with pytest.raises(
        CheckpointError, match=r"other weight decay: the checkpoint has 0\.1, this fit has 0\.0"
    ):
        other.fit(4, 0.1, cbs=Checkpoint(path), resume=path)
    resumed = learner(opt_func=partial(SGD, mom=0.5), wd=0.1)
    resumed.fit(4, 0.1, cbs=Checkpoint(path), resume=path)
    assert same(figures(resumed), figures(whole))


class Interrupt(Callback):
    """Ends the fit in its third epoch, as Ctrl-C does."""

    def after_batch(self, learn: Learner) -> None:
        if learn.training and learn.epoch == 2 and learn.batch == 3:
            raise KeyboardInterrupt
