"""The optimizers do what their formulas say."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from mnist_sgd import SGD, BasicOptim
from values import same


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


def test_sgd_with_momentum_follows_the_undamped_average() -> None:
    p = parameters(0.0)
    opt = SGD([p], lr=1.0, mom=0.5)
    steps = []
    for _ in range(3):
        opt.step()
        steps.append(p.item())
    assert steps == [-1.0, -2.5, -4.25]


def test_sgd_decays_weights_by_a_factor_before_the_step() -> None:
    p = parameters(8.0)
    SGD([p], lr=0.5, wd=0.5).step()
    assert p.item() == 8 * (1 - 0.25) - 0.5


def test_sgd_leaves_a_parameter_without_a_gradient_alone() -> None:
    p = nn.Parameter(torch.tensor([3.0]))
    SGD([p], lr=1.0, wd=0.1).step()
    assert p.item() == 3.0


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
        "state": {1: {"average": torch.ones(1)}},
        "param_groups": [{"params": [0, 1], "lr": 0.5, "mom": 0.5, "wd": 0.0}],
    }


def test_a_state_of_other_parameters_is_refused_and_changes_nothing() -> None:
    opt = SGD([parameters(1.0)], lr=0.5)
    other = SGD([parameters(1.0), parameters(2.0)], lr=1.0)
    message = r"^the state is of groups of \[2\] parameters, here are \[1\]$"
    with pytest.raises(ValueError, match=message):
        opt.load_state_dict(other.state_dict())
    assert opt.param_groups[0]["lr"] == 0.5
