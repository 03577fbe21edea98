"""Resuming with a changed setting is refused by name; what a fit itself changed is restored."""

import copy
import math
import warnings
from argparse import Namespace
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

import learners
from hooks import Accumulates, StopAfter
from image_sets import random_set
from learners import BATCHES, figures
from mnist_sgd import (
    SGD,
    Callback,
    CancelEpoch,
    CancelFit,
    CancelTrain,
    Checkpoint,
    CheckpointError,
    DataLoader,
    DataLoaders,
    Learner,
    batch_accuracy,
    create_model,
    cross_entropy,
    first,
)
from mnist_sgd._state_file import dump, parse
from networks import Centred, compiled
from values import same


def layers(p: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(784, 8), nn.ReLU(), nn.Dropout(p), nn.Linear(8, 1))


def learner(make: Callable[[], nn.Module] = layers, **settings: Any) -> Learner:
    return learners.learner(make(), **{"loss_func": cross_entropy, **settings})


class Interrupt(StopAfter):
    """Interrupts a fit after this many batches; with 0, after the first epoch."""

    def __init__(self, batches: int) -> None:
        super().__init__(batches, KeyboardInterrupt)

    def after_epoch(self, learn: Learner) -> None:
        if self.batches == 0 or len(learn.recorder.lrs) == self.batches + BATCHES / 2:
            raise KeyboardInterrupt


Settings = dict[str, Any]


def fit(
    settings: Settings,
    path: Path | None = None,
    stop: int | None = None,
    resume: Path | None = None,
) -> Learner:
    """Fit three epochs; `cbs` make the callbacks, `before` is called with the learner before it."""
    settings = dict(settings)
    cbs = [make() for make in settings.pop("cbs", ())]
    schedule, before = settings.pop("schedule", None), settings.pop("before", None)
    learn = learner(**settings)
    if before:
        before(learn)
    torch.manual_seed(3 if resume is None else 4)
    cbs += [Checkpoint(path, every=1)] if path else []
    cbs += [] if stop is None else [Interrupt(stop)]
    try:
        learn.fit(3, lr=0.1, cbs=cbs, resume=resume, schedule=schedule)
    except KeyboardInterrupt:
        assert stop is not None
    return learn


# What is refused.


class Focal:
    """A callable loss with a setting."""

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(logits, targets) * (1 + self.gamma)


class SlottedFocal(Focal):
    __slots__ = ("_power",)

    def __init__(self, power: float) -> None:
        super().__init__(1)
        self._power = power


class Weighted(nn.Module):
    """A loss that wraps another."""

    def __init__(self, delta: float) -> None:
        super().__init__()
        self.inner = nn.HuberLoss(delta=delta)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = self.inner(logits, targets.float())
        return loss


def focal_in_a_closure(gamma: float) -> Callable[[Tensor, Tensor], Tensor]:
    def focal(logits: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(logits, targets) * (1 + gamma)

    return focal


def smoothed(logits: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(logits, targets)


class Floats(Callback):
    def before_batch(self, learn: Learner) -> None:
        learn.yb = learn.yb.float()


@dataclass
class Config:
    scale: float


class Scaled(nn.Module):
    """A model with settings that no `repr` shows."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(784, 1)
        vars(self).update(settings)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layer(x)
        return logits


class Tripled(Scaled):
    scale = 3


class Attention(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(28, 4, dropout=dropout, batch_first=True)
        self.head = nn.Linear(784, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(-1, 28, 28)
        logits: Tensor = self.head(self.attention(x, x, x)[0].flatten(1))
        return logits


def frozen() -> nn.Module:
    model = layers()
    model[0].requires_grad_(False)  # type: ignore[index]
    return model


def part(start: int, stop: int, mom: float = 0.0) -> Callable[..., torch.optim.Optimizer]:
    return lambda parameters, lr: SGD(list(parameters)[start:stop], lr=lr, mom=mom)


class Clipping(SGD):
    """An optimizer with a setting outside its groups."""

    def __init__(self, params: Any, lr: float, most: float) -> None:
        super().__init__(params, lr=lr)
        self.most = most


def falling(top: float) -> Settings:
    return {"schedule": lambda progress: (np.float32(top * (1 - progress)), None)}


def loss(loss_func: Any, *cbs: type[Callback]) -> Settings:
    return {"loss_func": loss_func, "cbs": cbs}


@pytest.mark.parametrize(
    ("there", "here", "message"),
    [
        (
            loss(nn.HuberLoss(delta=1.0), Floats),
            loss(nn.HuberLoss(delta=0.1), Floats),
            "other delta of the loss: the checkpoint has 1, this fit has 0.1",
        ),
        (
            loss(nn.BCEWithLogitsLoss(), Floats),
            loss(nn.BCEWithLogitsLoss(reduction="sum"), Floats),
            "other reduction of the loss: the checkpoint has 'mean', this fit has 'sum'",
        ),
        (
            loss(nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0])), Floats),
            loss(nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3.0])), Floats),
            "other pos_weight of the loss: the checkpoint has [2.0], this fit has [3.0]",
        ),
        (
            loss(Focal(1)),
            loss(Focal(4)),
            "other gamma of the loss: the checkpoint has 1, this fit has 4",
        ),
        (
            loss(SlottedFocal(1)),
            loss(SlottedFocal(4)),
            "other _power of the loss: the checkpoint has 1, this fit has 4",
        ),
        (
            loss(Weighted(1)),
            loss(Weighted(0.5)),
            "other inner.delta of the loss: the checkpoint has 1, this fit has 0.5",
        ),
        (
            loss(partial(Focal.__call__, Focal(1))),
            loss(partial(Focal.__call__, Focal(4))),
            "other argument 1.gamma of the loss: the checkpoint has 1, this fit has 4",
        ),
        (
            loss(Focal(1).__call__),
            loss(Focal(4).__call__),
            "other gamma of the loss: the checkpoint has 1, this fit has 4",
        ),
        (
            loss(focal_in_a_closure(1)),
            loss(focal_in_a_closure(4)),
            "other gamma of the loss: the checkpoint has 1, this fit has 4",
        ),
        (
            {"make": frozen},
            {},
            "other requires_grad of 0.weight: the checkpoint has False, this fit has True",
        ),
        (
            {},
            {"make": frozen},
            "other requires_grad of 0.weight: the checkpoint has True, this fit has False",
        ),
        (
            falling(0.1),
            falling(0.4),
            "other learning rate of the schedule after 0/16 of the fit: the checkpoint has "
            f"{float(np.float32(0.1))}, this fit has {float(np.float32(0.4))}",
        ),
        (
            {"schedule": lambda progress: (0.1, 0.9)},
            {"schedule": lambda progress: (0.1, 0.5 if progress > 0.5 else 0.9)},
            "other momentum of the schedule after 9/16 of the fit: the checkpoint has 0.9, "
            "this fit has 0.5",
        ),
        (
            {"make": partial(Attention, 0.0)},
            {"make": partial(Attention, 0.5)},
            "other attention.dropout of the model: the checkpoint has 0, this fit has 0.5",
        ),
        (
            {"opt_func": part(0, 2)},
            {"opt_func": part(2, 4)},
            "other place of 3.weight in the optimizer: the checkpoint has none, "
            "this fit has number 1, in group 1",
        ),
        (
            {"opt_func": partial(Clipping, most=1)},
            {"opt_func": partial(Clipping, most=2)},
            "other most of the optimizer: the checkpoint has 1, this fit has 2",
        ),
    ],
    ids=lambda value: value.partition(":")[0] if isinstance(value, str) else "",
)
def test_another_setting_is_refused_with_both_values_and_changes_nothing(
    there: Settings, here: Settings, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "c"
    fit(there, path, stop=8)
    fit(there, resume=path)
    with pytest.raises(CheckpointError) as refused:
        fit(here, resume=path)
    assert str(refused.value) == f"{path}: {message}"


class Weighed(nn.Module):
    """A loss with whatever a program gives it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        vars(self).update(settings)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(logits, targets)


def closing_over(args: object) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(logits, targets) * (1 if args else 0)

    return loss


def with_args(logits: Tensor, targets: Tensor, args: object) -> Tensor:
    return cross_entropy(logits, targets) * (1 if args else 0)


def scaled(**settings: Any) -> Settings:
    return {"make": partial(Scaled, **settings)}


@pytest.mark.parametrize(
    ("there", "here", "message"),
    [
        (scaled(scale=1.0), scaled(scale=3.0), "scale of the model: the checkpoint has 1, T 3"),
        (
            scaled(drop=False),
            scaled(drop=True),
            "drop of the model: the checkpoint has False, T True",
        ),
        (
            scaled(created=1.5),
            scaled(created=2.5),
            "created of the model: the checkpoint has 1.5, T 2.5",
        ),
        (
            scaled(sizes=(1, 2)),
            scaled(sizes=(1, 3)),
            "sizes of the model: the checkpoint has [1, 2], T [1, 3]",
        ),
        (
            scaled(out="runs_a"),
            scaled(out="runs_b"),
            "out of the model: the checkpoint has 'runs_a', T 'runs_b'",
        ),
        (
            scaled(config=Config(1)),
            scaled(config=Config(3)),
            "config.scale of the model: the checkpoint has 1, T 3",
        ),
        (
            scaled(args=Namespace(resume=False)),
            scaled(args=Namespace(resume=True)),
            "args.resume of the model: the checkpoint has False, T True",
        ),
        (
            scaled(hparams={"epochs": 3, "lr": 0.1}),
            scaled(hparams={"lr": 0.1, "epochs": 5}),
            "hparams of the model: the checkpoint has {'epochs': 3, 'lr': 0.1}, "
            "T {'epochs': 5, 'lr': 0.1}",
        ),
        (
            scaled(act=torch.relu),
            scaled(act=torch.tanh),
            "act of the model: the checkpoint has _VariableFunctionsClass.relu, "
            "T _VariableFunctionsClass.tanh",
        ),
        (
            scaled(table=torch.tensor([1.0])),
            scaled(table=torch.tensor([2.0])),
            "table of the model: the checkpoint has [1.0], T [2.0]",
        ),
        (
            {"make": Tripled},
            {"make": partial(Tripled, scale=2)},
            "scale of the model: the checkpoint has 3, T 2",
        ),
        (
            loss(Weighed(name="first")),
            loss(Weighed(name="second")),
            "name of the loss: the checkpoint has 'first', T 'second'",
        ),
        (
            loss(Weighed(args=Namespace(epochs=3))),
            loss(Weighed(args=Namespace(epochs=5))),
            "args.epochs of the loss: the checkpoint has 3, T 5",
        ),
        (
            loss(closing_over(Namespace(resume=False))),
            loss(closing_over(Namespace(resume=True))),
            "args.resume of the loss: the checkpoint has False, T True",
        ),
        (
            loss(closing_over({"resume": False})),
            loss(closing_over({"resume": True})),
            "args of the loss: the checkpoint has {'resume': False}, T {'resume': True}",
        ),
        (
            loss(partial(with_args, args=Namespace(epochs=3))),
            loss(partial(with_args, args=Namespace(epochs=5))),
            "args.epochs of the loss: the checkpoint has 3, T 5",
        ),
    ],
    ids=lambda value: value.partition(":")[0] if isinstance(value, str) else "",
)
def test_what_may_not_matter_for_the_result_is_named_in_one_warning(
    there: Settings, here: Settings, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "c"
    fit(there, path, stop=8)
    with pytest.warns(UserWarning, match="start the fit again") as told:
        resumed = fit(here, resume=path)
    message = message.replace("T ", "this fit has ")
    assert [str(each.message) for each in told] == [
        f"{path}: other {message}. If that takes part in what is computed, start the fit again, "
        "without the checkpoint"
    ]
    assert len(resumed.recorder.values) == 3


def test_one_warning_names_all_that_differs_and_the_fit_keeps_its_own_values(
    tmp_path: Path,
) -> None:
    path = tmp_path / "c"
    fit(scaled(run=1, name="a"), path, stop=8)
    with pytest.warns(UserWarning, match="other run of the model.*; other name of the") as told:
        resumed = fit(scaled(run=2, name="b"), resume=path)
    assert len(told) == 1
    model: Any = resumed.model
    assert (model.run, model.name) == (2, "b")


def test_the_order_of_entries_is_no_difference(tmp_path: Path) -> None:
    path = tmp_path / "c"
    fit(scaled(options={"a": 1, "b": 2}), path, stop=8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(scaled(options={"b": 2, "a": 1}), resume=path)


def test_a_long_value_is_named_by_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "c"
    fit(scaled(sizes=list(range(100))), path, stop=8)
    with pytest.warns(UserWarning, match="other sizes of the model") as told:
        fit(scaled(sizes=list(range(101))), resume=path)
    message = str(told[0].message)
    assert len(message) < len(str(path)) + 350
    assert "other sizes of the model: the checkpoint has [0, 1, 2, 3," in message


@pytest.mark.parametrize(
    "settings",
    [
        lambda n: {"device": f"cuda:{n}"},
        lambda n: {"cache": f"/tmp/cache-{n}"},
        lambda n: {"rank": n},
        lambda n: {"num_workers": n},
    ],
)
def test_a_setting_without_influence_on_the_results_may_differ(
    settings: Callable[[int], dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "c"
    fit({"make": partial(Scaled, **settings(0))}, path, stop=8)
    resumed = fit({"make": partial(Scaled, **settings(1))}, resume=path)
    assert same(figures(resumed), figures(fit({"make": Scaled})))


def test_a_setting_that_only_one_torch_version_has_is_not_compared(tmp_path: Path) -> None:
    path = tmp_path / "c"
    fit({"make": partial(Attention, 0.5)}, path, stop=8)
    state = parse(path.read_bytes())
    state["torch"] = "2.6.0"
    own = state["start"]["attributes"]["model"]
    own["attention.older"] = "1"
    del own["attention.num_heads"]
    path.write_bytes(dump(state))
    fit({"make": partial(Attention, 0.5)}, resume=path)
    with pytest.raises(CheckpointError, match=r"other attention\.dropout of the model"):
        fit({"make": partial(Attention, 0.0)}, resume=path)


def test_a_checkpoint_without_a_record_of_its_start_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / "c"
    settings = {"make": partial(layers, 0.5), "loss_func": nn.HuberLoss(), "cbs": [Floats]}
    fit(settings, path, stop=8)
    state = parse(path.read_bytes())
    for name in ("start", "attributes", "changed", "trained", "loss", "passing buffers"):
        del state[name]
    path.write_bytes(dump(state))
    assert same(figures(fit(settings, resume=path)), figures(fit(settings)))


# What changes during a fit.


class Drops(Callback):
    """Raises the dropout in the second epoch."""

    def before_epoch(self, learn: Learner) -> None:
        if learn.epoch == 1:
            learn.model[2].p = 0.5  # type: ignore[index]


class Thaws(Callback):
    """Trains the first layer from the second epoch on."""

    def before_fit(self, learn: Learner) -> None:
        learn.model[0].requires_grad_(False)  # type: ignore[index]

    def before_epoch(self, learn: Learner) -> None:
        if learn.epoch == 1:
            learn.model[0].requires_grad_(True)  # type: ignore[index]


class Decays(Callback):
    """Decays the rate before each epoch, and the weights by random factors."""

    def before_epoch(self, learn: Learner) -> None:
        learn.opt.param_groups[0]["lr"] *= 0.9
        with torch.no_grad():
            for p in learn.model.parameters():
                p.mul_(0.9 + 0.05 * torch.rand(()))


class Begins(Callback):
    """Resets the last layer before the fit, and counts batches."""

    def __init__(self) -> None:
        self.batches = 0

    def before_fit(self, learn: Learner) -> None:
        self.batches = 0
        nn.init.normal_(learn.model[3].weight)  # type: ignore[index]

    def before_batch(self, learn: Learner) -> None:
        self.batches += 1
        learn.xb = learn.xb * (1 + self.batches / 64)

    def state_dict(self) -> dict[str, int]:
        return {"batches": self.batches}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.batches = state["batches"]


class NewOptimizer(Callback):
    """Trains each layer with a different rate."""

    def before_fit(self, learn: Learner) -> None:
        model: Any = learn.model
        learn.opt = SGD(
            [{"params": model[0].parameters(), "lr": 0.05}, {"params": model[3].parameters()}],
            lr=0.1,
            mom=0.9,
        )


class NewHead(Callback):
    """Replaces the last layer before the fit."""

    def before_fit(self, learn: Learner) -> None:
        model: Any = learn.model
        model[3] = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 1))
        learn.opt = SGD(model.parameters(), lr=0.1)


class SmallerBatches(Callback):
    def before_epoch(self, learn: Learner) -> None:
        if learn.epoch >= 1:
            train = DataLoader(random_set(22), 2, shuffle=True, seed=9)
            learn.dls = DataLoaders(train, learn.dls.valid)


class SwapsModel(Callback):
    def before_epoch(self, learn: Learner) -> None:
        if learn.epoch >= 1 and len(learn.model) == 4:  # type: ignore[arg-type]
            torch.manual_seed(1)
            learn.model = nn.Sequential(nn.Linear(784, 1))
            learn.opt = SGD(learn.model.parameters(), lr=0.1)


class AddsGroup(Callback):
    def before_epoch(self, learn: Learner) -> None:
        model: Any = learn.model
        if learn.epoch >= 1 and len(learn.opt.param_groups) == 1:
            learn.opt.add_param_group({"params": list(model[0].parameters()), "lr": 0.1})


class Prunes(Callback):
    """Sets half of the first layer's weights to 0 from the second epoch on."""

    def before_epoch(self, learn: Learner) -> None:
        model, pruning = cast("Any", learn.model), cast("Any", prune)
        if learn.epoch >= 1 and not pruning.is_pruned(model):
            pruning.l1_unstructured(model[0], "weight", amount=0.5)


class Normalizes(Callback):
    """Trains the first layer's weights as a direction and a length from the second epoch on."""

    def before_epoch(self, learn: Learner) -> None:
        model: Any = learn.model
        if learn.epoch >= 1 and not parametrize.is_parametrized(model[0]):
            parametrizations.weight_norm(model[0])
            learn.opt = SGD(model.parameters(), lr=0.1)


class LooksAtAll(Callback):
    def look(self, learn: Learner) -> None:
        for loader in (learn.dls.train, learn.dls.valid):
            first(loader)

    before_fit = before_epoch = before_train = before_batch = after_batch = after_epoch = look


class Averaged(nn.Module):
    """A loss with a running average of itself."""

    average: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("average", torch.zeros(()))
        self.register_buffer("last", torch.zeros(()), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        loss = cross_entropy(logits, targets)
        if torch.is_grad_enabled():
            self.average.mul_(0.9).add_(loss.detach() * 0.1)
            self.last.copy_(loss.detach())  # type: ignore[operator]
        return loss / (1 + self.average + self.last)  # type: ignore[operator]


class Counted:
    """A loss that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        self.calls += torch.is_grad_enabled()
        return cross_entropy(logits, targets) / self.calls


class Counting(Centred):
    """Counts its training batches in a plain attribute, too."""

    def __init__(self) -> None:
        super().__init__()
        self.batches = 0

    def forward(self, x: Tensor) -> Tensor:
        self.batches += self.training
        return super().forward(x) / (1 + self.batches / 10)


class Learned(nn.Module):
    """A loss whose temperature is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(1.0))

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        logits = logits * self.temperature
        return cross_entropy(logits, targets) + logits.pow(2).mean()


class TrainsTheLoss(Callback):
    def before_fit(self, learn: Learner) -> None:
        loss: Any = learn.loss_func
        learn.opt = SGD([*learn.model.parameters(), *loss.parameters()], lr=0.1)


def halved(logits: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(logits, targets) * 0.5


def doubled(logits: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(logits, targets) * 2


class LossByEpoch(Callback):
    def before_epoch(self, learn: Learner) -> None:
        learn.loss_func = (cross_entropy, halved, doubled)[learn.epoch]


class LossesInTurns(Callback):
    """Takes another loss for each batch."""

    def before_batch(self, learn: Learner) -> None:
        if learn.training:
            learn.loss_func = (cross_entropy, halved, doubled)[learn.batch % 3]


class LossOfTraining(Callback):
    """Takes another loss for validation, and from the second epoch on also for training."""

    def before_train(self, learn: Learner) -> None:
        learn.loss_func = halved if learn.epoch else cross_entropy

    def before_validate(self, learn: Learner) -> None:
        learn.loss_func = doubled


class SwapsOnce(Callback):
    """Replaces parts of the fit before its second epoch, and again when it resumes."""

    def before_epoch(self, learn: Learner) -> None:
        if learn.epoch == 1:
            self.swap(learn)

    def before_fit(self, learn: Learner) -> None:
        if learn.epoch >= 1:
            self.swap(learn)

    def swap(self, learn: Learner) -> None:
        learn.loss_func = halved
        model: Any = learn.model
        model[1] = nn.GELU()
        if not isinstance(learn.opt, torch.optim.Adam):
            learn.opt = torch.optim.Adam(model.parameters(), lr=0.01)


def lazy() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(1))


def assigned(learn: Learner) -> None:
    learn.opt = SGD(learn.model.parameters(), lr=0.1, mom=0.9)


def cycle(progress: float) -> tuple[float, float]:
    return 0.1 * math.sin(math.pi * (progress + 0.01)), 0.85 + 0.1 * abs(progress - 0.5)


CHANGES: dict[str, Settings] = {
    "nothing": {},
    "a dropout": {"make": partial(layers, 0.1), "cbs": [Drops]},
    "what is frozen": {"cbs": [Thaws]},
    "before each epoch": {"cbs": [Decays]},
    "before the fit": {"cbs": [Begins]},
    "the optimizer": {"cbs": [NewOptimizer]},
    "the optimizer, in a cycle": {"cbs": [NewOptimizer], "schedule": cycle},
    "the model": {"cbs": [NewHead]},
    "the model before an epoch": {"cbs": [SwapsModel]},
    "a group before an epoch": {"cbs": [AddsGroup], "opt_func": part(2, 4)},
    "a group before an epoch, in a cycle": {
        "cbs": [AddsGroup],
        "opt_func": part(2, 4, mom=0.9),
        "schedule": cycle,
    },
    "pruned weights": {"cbs": [Prunes]},
    "normalized weights": {"cbs": [Normalizes]},
    "a loss by the epoch": {"cbs": [LossByEpoch]},
    "losses in turns": {"cbs": [LossesInTurns]},
    "the loss of the training": {"cbs": [LossOfTraining]},
    "parts once, and again": {"cbs": [SwapsOnce]},
    "the loader": {"cbs": [SmallerBatches]},
    "the place of the loaders": {"cbs": [LooksAtAll]},
    "a loss with buffers": {"loss_func": Averaged},
    "a loss that counts": {"loss_func": Counted},
    "a partial of a loss": {"loss_func": lambda: partial(Averaged())},
    "a model that counts": {"make": Counting},
    "lazy layers": {"make": lazy},
    "lazy layers under Adam": {"make": lazy, "opt_func": torch.optim.Adam},
    "an assigned optimizer": {"before": assigned, "schedule": cycle},
    "gradients of a loss": {
        "loss_func": Learned,
        "cbs": [TrainsTheLoss, partial(Accumulates, 7)],
    },
    "gradients": {"cbs": [partial(Accumulates, 7)], "opt_func": partial(SGD, mom=0.9)},
    "gradients of a compiled model": {
        "make": lambda: compiled(layers()),
        "cbs": [partial(Accumulates, 7)],
    },
}


@pytest.mark.parametrize("stop", [2, 0, 8, 12, 15])
@pytest.mark.parametrize("change", CHANGES)
def test_what_a_fit_changes_is_resumed_to_the_same_bits(
    change: str, stop: int, tmp_path: Path
) -> None:
    def settings() -> Settings:
        made = dict(CHANGES[change])
        if "loss_func" in made:
            made["loss_func"] = made["loss_func"]()
        return made

    path = tmp_path / "c"
    whole = fit(settings())
    fit(settings(), path, stop=stop)
    assert same(figures(fit(settings(), resume=path)), figures(whole))


@pytest.mark.parametrize(
    ("there", "here"),
    [
        (layers, lambda: compiled(layers())),
        (lambda: compiled(layers()), layers),
        (layers, lambda: nn.DataParallel(layers())),
    ],
    ids=["compiled", "plain", "parallel"],
)
def test_accumulated_gradients_are_restored_in_a_differently_wrapped_model(
    there: Callable[[], nn.Module], here: Callable[[], nn.Module], tmp_path: Path
) -> None:
    path = tmp_path / "c"
    fit({"make": there, "cbs": [partial(Accumulates, 7)]}, path, stop=6)
    resumed = fit({"make": here, "cbs": [partial(Accumulates, 7)]}, resume=path)
    whole = fit({"make": layers, "cbs": [partial(Accumulates, 7)]})
    weights = list(resumed.model.state_dict().values())
    assert same(weights, list(whole.model.state_dict().values()))


def test_a_model_with_a_compiled_layer_resumes_as_a_plain_one(tmp_path: Path) -> None:
    def with_compiled_part() -> nn.Module:
        model: Any = layers()
        model[0] = compiled(model[0])
        return nn.Sequential(*model)

    path = tmp_path / "c"
    fit({"make": with_compiled_part}, path, stop=8)
    resumed, whole = fit({"make": layers}, resume=path), fit({"make": layers})
    assert same(dict(resumed.model.state_dict()), dict(whole.model.state_dict()))


def test_lazy_and_materialized_models_resume_each_others_checkpoints(
    tmp_path: Path,
) -> None:
    def shaped() -> nn.Module:
        model = lazy()
        model(torch.zeros(2, 784))
        torch.manual_seed(0)
        for layer in (model[0], model[3]):  # type: ignore[index]
            layer.reset_parameters()
        model[1].reset_running_stats()  # type: ignore[index]
        return model

    for there, here in ((lazy, shaped), (shaped, lazy)):
        path = tmp_path / there.__name__
        whole = fit({"make": there}, path)
        fit({"make": there}, path, stop=8)
        resumed = fit({"make": here}, resume=path)
        assert same(dict(resumed.model.state_dict()), dict(whole.model.state_dict()))


def test_an_attribute_that_a_fit_changed_is_no_setting(tmp_path: Path) -> None:
    """The model's count at the start of its second fit differs from that of a new model."""
    path = tmp_path / "c"

    def once(learn: Learner) -> None:
        learn.fit(1, lr=0.1)
        learn.dls.train.set_epoch(0)  # type: ignore[attr-defined]
        learn.dls.valid.set_epoch(0)  # type: ignore[attr-defined]

    settings: Settings = {"make": Counting}
    whole = fit(settings | {"before": once})
    fit(settings | {"before": once}, path, stop=8)
    assert same(figures(fit(settings, resume=path)), figures(whole))


class Anneals(nn.Module):
    """A model whose number each training batch makes smaller, whatever type it has."""

    def __init__(self, value: Any, step: Callable[[Any], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(784, 1)
        self.value, self.step = value, step

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.value = self.step(self.value)
        logits: Tensor = self.layer(x) * float(np.ravel(first_of(self.value))[0])
        return logits


def first_of(value: Any) -> Any:
    while isinstance(value, list | tuple | dict):
        value = next(iter(value.values() if isinstance(value, dict) else value))
    return value


def tenth_off(value: Any) -> Any:
    """The same, with the same types, a tenth off."""
    if isinstance(value, dict):
        return {key: tenth_off(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(tenth_off, value))
    if isinstance(value, np.generic):
        kind: Any = type(value)
        return kind(kind(9) * value / kind(10))
    return value * 0.9


@pytest.mark.parametrize(
    "make",
    [
        lambda: 1.0,
        lambda: np.float64(1.0),
        lambda: np.float32(1.0),
        lambda: np.float16(1.0),
        lambda: np.int64(10**15),
        lambda: [np.float64(1.0), 2.0],
        lambda: (np.float32(1.0), [3.0]),
        lambda: {0: 1.0, "one": 2.0, None: 4.0},
        lambda: {"$tensor": [1.0]},
        lambda: torch.ones(()),
        lambda: [torch.ones((), dtype=torch.float64)],
        lambda: np.ones(2),
        lambda: np.ones((), np.float32),
    ],
)
def test_an_attribute_that_the_fit_changed_is_restored(
    make: Callable[[], Any], tmp_path: Path
) -> None:
    path = tmp_path / "c"
    settings = {"make": lambda: Anneals(make(), tenth_off)}
    whole = fit(settings)
    fit(settings, path, stop=8)
    resumed = fit(settings, resume=path)
    assert same(figures(resumed), figures(whole))
    there: Any = whole.model
    here: Any = resumed.model
    assert same(here.value, there.value)
    assert type(here.value) is type(there.value)
    assert type(first_of(here.value)) is type(first_of(there.value))


def test_a_tensor_of_a_loss_that_a_callback_anneals_comes_back(tmp_path: Path) -> None:
    class Halves(Callback):
        def before_epoch(self, learn: Learner) -> None:
            loss: Any = learn.loss_func
            if learn.epoch and not learn.batch:
                loss.gamma = loss.gamma * 0.5

    for stop in (8, 12):
        path = tmp_path / str(stop)

        def settings() -> Settings:
            return loss(Focal(torch.tensor(1.0)), Halves)  # type: ignore[arg-type]

        whole = fit(settings())
        fit(settings(), path, stop=stop)
        assert same(figures(fit(settings(), resume=path)), figures(whole))


def test_an_attribute_that_only_the_fit_made_comes_back(tmp_path: Path) -> None:
    class Counts(Scaled):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                self.batches = getattr(self, "batches", 0) + 1
            logits: Tensor = super().forward(x) / self.batches
            return logits

    path = tmp_path / "c"
    fit({"make": Counts}, path, stop=8)
    assert same(figures(fit({"make": Counts}, resume=path)), figures(fit({"make": Counts})))


class Pair(NamedTuple):
    value: float
    other: int


@pytest.mark.parametrize(
    ("make", "step"),
    [
        (lambda: Pair(1.0, 2), lambda pair: Pair(pair.value * 0.9, 2)),
        (lambda: defaultdict(int, a=1), lambda d: defaultdict(int, a=d["a"] + 1)),
        (lambda: Counter("a"), lambda c: c + Counter("a")),
        (lambda: {1}, lambda s: {*s, len(s) + 1}),
        (lambda: b"a", lambda b: b + b"b"),
        (lambda: range(1), lambda r: range(len(r) + 1)),
    ],
    ids=["namedtuple", "defaultdict", "Counter", "set", "bytes", "range"],
)
def test_what_a_checkpoint_cannot_hold_is_reported_once_and_starts_with_its_initial_value(
    make: Callable[[], Any], step: Callable[[Any], Any], tmp_path: Path
) -> None:
    class Changes(Callback):
        def before_batch(self, learn: Learner) -> None:
            if learn.training:
                model: Any = learn.model
                model.value = step(model.value)

    path = tmp_path / "c"

    def settings() -> Settings:
        return {"make": partial(Scaled, value=make()), "cbs": [Changes]}

    with pytest.warns(UserWarning, match="a checkpoint cannot hold") as told:
        fit(settings(), path, stop=8)
    assert [str(each.message) for each in told] == [
        "value of the model has changed, but a checkpoint cannot hold what it is, of type "
        f"{type(make()).__name__}: a fit that resumes begins with its initial value"
    ]
    resumed: Any = fit(settings(), resume=path).model
    expected = make()
    for _ in range(3 * BATCHES - 8):
        expected = step(expected)
    assert type(resumed.value) is type(expected)
    assert resumed.value == expected


class Steps(Callback):
    """Steps a scheduler of torch's after each epoch, and collects losses."""

    def before_fit(self, learn: Learner) -> None:
        self.scheduler = torch.optim.lr_scheduler.StepLR(learn.opt, 1)
        self.run = True
        self.losses: list[float] = []

    def after_epoch(self, learn: Learner) -> None:
        self.scheduler.step()
        self.losses.append(learn.loss.item())


class RunsOnce(Callback):
    def after_epoch(self, learn: Learner) -> None:
        self.run = False


class StepsWithState(Steps):
    def state_dict(self) -> dict[str, Any]:
        return {"last_epoch": self.scheduler.last_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scheduler.last_epoch = state["last_epoch"]


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (Steps, "scheduler of the callback Steps"),
        (RunsOnce, "run of the callback RunsOnce"),
        (StepsWithState, None),
        (Begins, None),
        (Decays, None),
    ],
)
def test_a_scheduler_of_a_callback_that_no_checkpoint_holds_is_reported_once(
    make: type[Callback], named: str | None, tmp_path: Path
) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fit({"cbs": [make]}, tmp_path / "c")
    expected = [
        f"{named} has changed, which a checkpoint does not hold: a fit that resumes begins with "
        "what before_fit makes of it; give the callback state_dict() and load_state_dict()"
    ]
    ours = [str(each.message) for each in told if "lr_scheduler.step" not in str(each.message)]
    assert ours == (expected if named else [])


def test_a_loader_that_no_callback_brings_in_again_is_refused_by_what_differs(
    tmp_path: Path,
) -> None:
    class Once(Callback):
        def before_epoch(self, learn: Learner) -> None:
            if learn.epoch == 1:
                learn.dls = DataLoaders(DataLoader(random_set(22), 2), learn.dls.valid)

    path = tmp_path / "c"
    fit({"cbs": [Once]}, path, stop=BATCHES + 12)
    with pytest.raises(CheckpointError) as refused:
        fit({"cbs": [Once]}, resume=path)
    assert str(refused.value) == (
        f"{path}: the state is of another batch_size: it has 2, this loader has 4"
    )


ENDS: dict[str, Settings] = {
    "nothing": {},
    "the model": {"cbs": [SwapsModel]},
    "a group": {"cbs": [AddsGroup], "opt_func": part(2, 4, mom=0.9)},
}


@pytest.mark.parametrize("is_same", [False, True], ids=["new", "same"])
@pytest.mark.parametrize("change", ENDS)
def test_a_finished_fit_is_found_finished_with_what_hooks_brought_in(
    change: str, is_same: bool, tmp_path: Path
) -> None:
    path = tmp_path / "c"
    whole = fit(ENDS[change], path)
    expected = copy.deepcopy(figures(whole))
    if is_same:
        cbs = [make() for make in ENDS[change].get("cbs", ())]
        whole.fit(3, lr=0.1, cbs=[*cbs, Checkpoint(path, every=1)], resume=path)
        resumed = whole
    else:
        resumed = fit(ENDS[change], resume=path)
    assert same(figures(resumed), expected)


@pytest.mark.parametrize("order", [-1, 1], ids=["first", "last"])
@pytest.mark.parametrize("error", [CancelFit, CancelEpoch, CancelTrain])
@pytest.mark.parametrize("change", ENDS)
def test_a_fit_that_a_callback_ends_as_it_resumes_has_all_of_its_state(
    change: str, error: type[Exception], order: int, tmp_path: Path
) -> None:
    def settings(error: type[BaseException]) -> Settings:
        def end(self: Callback, learn: Learner) -> None:
            if learn.epoch == 2:
                raise error

        event = "before_epoch" if error is not CancelTrain else "before_train"
        ends = type("Ends", (Callback,), {event: end, "order": order})
        return {**ENDS[change], "cbs": [*ENDS[change].get("cbs", ()), ends]}

    def outcome(learn: Learner) -> dict[str, Any]:
        found = figures(learn)
        return found | {"figures": repr(found["figures"])}  # in which nan is nan

    path = tmp_path / "c"
    fit(settings(KeyboardInterrupt), path, stop=99)
    resumed = fit(settings(error), resume=path)
    assert same(outcome(resumed), outcome(fit(settings(error))))


@pytest.mark.parametrize("stop", [None, 8, 15])
def test_what_no_hook_brings_in_again_is_refused_with_what_to_do(
    stop: int | None, tmp_path: Path
) -> None:
    class Once(AddsGroup):
        def before_epoch(self, learn: Learner) -> None:
            if learn.epoch == 1 and not learn.batch:
                super().before_epoch(learn)

    path = tmp_path / "c"
    settings = {"cbs": [Once], "opt_func": part(2, 4)}
    fit(settings, path, stop=stop)
    with pytest.raises(CheckpointError) as refused:
        fit(settings, resume=path)
    assert str(refused.value) == (
        f"{path}: other numbers of parameters in the optimizer's groups: the checkpoint has "
        "[2, 2], this fit has [2]. A callback changed that during the fit: let it do so again when "
        "it is called in a resumed fit, as in before_fit if learn.epoch >= 1"
    )


def swap_loss(learn: Learner) -> None:
    learn.loss_func = halved


def swap_module_of_loss(learn: Learner) -> None:
    learn.loss_func = Averaged()


def swap_layer(learn: Learner) -> None:
    model: Any = learn.model
    model[1] = nn.GELU()


def swap_model(learn: Learner) -> None:
    model: Any = learn.model
    learn.model = nn.Sequential(model[0], nn.Tanh(), *model[2:])


def swap_optimizer(learn: Learner) -> None:
    learn.opt = torch.optim.Adam(learn.model.parameters(), lr=0.01)


@pytest.mark.parametrize("is_same", [False, True], ids=["new", "same"])
@pytest.mark.parametrize("stop", ["at an epoch", "in an epoch", "at the end"])
@pytest.mark.parametrize(
    ("swap", "message"),
    [
        (swap_loss, "loss: the checkpoint has halved, this fit has cross_entropy"),
        (swap_module_of_loss, "loss: the checkpoint has Averaged, this fit has cross_entropy"),
        (swap_layer, "layer 1: the checkpoint has GELU, this fit has ReLU"),
        (swap_model, "layer 1: the checkpoint has Tanh, this fit has ReLU"),
        (
            swap_optimizer,
            "optimizer: the checkpoint has torch.optim.adam.Adam, this fit has mnist_sgd.SGD",
        ),
    ],
)
def test_what_a_callback_replaced_once_is_not_forgotten_without_a_word(
    swap: Callable[[Learner], None], message: str, stop: str, is_same: bool, tmp_path: Path
) -> None:
    class Once(Callback):
        def before_epoch(self, learn: Learner) -> None:
            if learn.epoch == 1:
                swap(learn)

    class Stops(Callback):
        def before_epoch(self, learn: Learner) -> None:
            if learn.epoch == 2:
                raise KeyboardInterrupt

    path = tmp_path / "c"
    number = {"at an epoch": 99, "in an epoch": 15, "at the end": None}[stop]
    broken = fit({"cbs": [Once, *([Stops] if number == 99 else [])]}, path, stop=number)
    learn = broken if is_same else learner()
    with pytest.raises(CheckpointError) as refused:
        learn.fit(3, lr=0.1, cbs=Once(), resume=path)
    assert str(refused.value).startswith(f"{path}: other {message}")
    assert str(refused.value).endswith(
        ". A callback changed that during the fit: let it do so again when it is called in a "
        "resumed fit, as in before_fit if learn.epoch >= 1"
    )


# The learner whose own fit was interrupted.


class SwapsLoss(Callback):
    def before_epoch(self, learn: Learner) -> None:
        if learn.epoch >= 1:
            learn.loss_func = loss_of_the_second_epoch


def loss_of_the_second_epoch(logits: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(logits, targets) * 0.5


def test_a_fit_begins_without_what_a_cancelled_batch_left_to_the_parameters_of_the_loss() -> None:
    learn = learner(loss_func=Learned())
    loss: Any = learn.loss_func
    loss.temperature.grad = torch.tensor(5.0)
    learn.fit(0)
    assert loss.temperature.grad is None


class OtherMetrics(Callback):
    def before_fit(self, learn: Learner) -> None:
        learn.metrics = [batch_accuracy, batch_accuracy]


class Counts(Callback):
    """Counts in an attribute of the model, from nothing."""

    def before_epoch(self, learn: Learner) -> None:
        model: Any = learn.model
        model.epochs = learn.epoch


SAME: dict[str, Settings] = {
    **{name: each for name, each in CHANGES.items() if "lazy" not in name},
    "another loss": {"cbs": [SwapsLoss]},
    "other metrics": {"cbs": [OtherMetrics]},
    "another attribute": {"cbs": [Counts]},
}


@pytest.mark.parametrize(("stop", "every"), [(2, 1), (8, 3)])
@pytest.mark.parametrize("change", SAME)
def test_the_learner_whose_fit_was_interrupted_resumes_it(
    change: str, every: int, stop: int, tmp_path: Path
) -> None:
    """Twice, and after a checkpoint that lies further back than what the fit changed last."""
    settings = dict(SAME[change])
    make = settings.get("loss_func")
    settings |= {"loss_func": make()} if make else {}
    whole = fit(settings | ({"loss_func": make()} if make else {}))
    path = tmp_path / "c"
    cbs = [cb() for cb in settings.pop("cbs", ())]
    before, schedule = settings.pop("before", None), settings.pop("schedule", None)
    learn = learner(**settings)
    if before:
        before(learn)
    torch.manual_seed(3)
    resume = None
    for interrupt in (stop + every - 1, 12, None):
        stops = [] if interrupt is None else [Interrupt(interrupt)]
        try:
            each = [*cbs, Checkpoint(path, every=every), *stops]
            learn.fit(3, lr=0.1, cbs=each, resume=resume, schedule=schedule)
        except KeyboardInterrupt:
            resume = path if path.exists() else None
            assert interrupt is not None
    assert same(figures(learn), figures(whole))


def test_what_was_changed_since_the_interruption_is_compared(tmp_path: Path) -> None:
    path = tmp_path / "c"
    learn = learner(loss_func=nn.HuberLoss(delta=1.0))
    cbs = [Floats(), Thaws(), Checkpoint(path, every=1)]
    with pytest.raises(KeyboardInterrupt):
        learn.fit(3, lr=0.1, cbs=[*cbs, Interrupt(8)])

    def refused(lr: float = 0.1) -> str:
        with pytest.raises(CheckpointError) as error:
            learn.fit(3, lr=lr, cbs=cbs, resume=path)
        return str(error.value).removeprefix(f"{path}: ")

    assert refused(0.2) == "other learning rate: the checkpoint has 0.1, this fit has 0.2"
    learn.loss_func.delta = 0.5  # type: ignore[attr-defined]
    assert refused() == "other delta of the loss: the checkpoint has 1, this fit has 0.5"
    learn.loss_func = nn.HuberLoss(delta=1.0)
    learn.model[3].requires_grad_(False)  # type: ignore[index]
    assert refused() == (
        "other requires_grad of 3.weight: the checkpoint has True, this fit has False"
    )
    learn.model[3].requires_grad_(True)  # type: ignore[index]
    learn.opt.param_groups[0]["wd"] = 0.5
    assert refused() == "other weight decay: the checkpoint has 0.0, this fit has 0.5"
    learn.opt.param_groups[0]["wd"] = 0.0
    learn.fit(3, lr=0.1, cbs=cbs, resume=path)
    assert len(learn.recorder.lrs) == 3 * BATCHES


# A refusal.


@pytest.mark.parametrize("fitted", [0, 1])
def test_a_refused_resume_leaves_the_learner_unchanged(fitted: int, tmp_path: Path) -> None:
    class Refuses(Begins):
        def load_state_dict(self, state: dict[str, int]) -> None:
            raise ValueError("it is of another kind")

    path = tmp_path / "c"
    fit({"cbs": [Begins]}, path, stop=8)
    learn, begins = learner(opt_func=partial(SGD, mom=0.9)), Begins()
    if fitted:
        learn.fit(fitted, lr=0.05)
        first(learn.dls.train)
    learn.model[0].weight.grad = torch.ones(8, 784)  # type: ignore[index]
    begins.batches = 3

    def state() -> dict[str, Any]:
        return {
            **({"optimizer": learn.opt.state_dict()} if learn.opt else {"optimizer": None}),
            "weights": dict(learn.model.state_dict()),
            "gradients": [p.grad for p in learn.model.parameters()],
            "loaders": [learn.dls.train.state_dict(), learn.dls.valid.state_dict()],  # type: ignore[attr-defined]
            "recorder": learn.recorder.state_dict(),
            "fields": [learn.epoch, learn.n_epoch, learn.batch, learn.base_lr, learn.kept_row],
            "callback": begins.batches,
            "random": torch.get_rng_state(),
        }

    before, recorder = copy.deepcopy(state()), learn.recorder
    for cbs in ([], [begins], [Refuses()]):
        with pytest.raises(CheckpointError):
            learn.fit(3, lr=0.1, cbs=cbs, resume=path)
        assert same(state(), before)
        assert learn.recorder is recorder


@pytest.mark.parametrize("event", ["before_fit", "before_epoch", "before_train"])
@pytest.mark.parametrize(
    "change",
    [
        *("nothing", "before the fit", "the model", "the optimizer"),
        *("pruned weights", "normalized weights"),
    ],
)
def test_a_callback_that_refuses_before_the_first_batch_leaves_the_learner_unchanged(
    change: str, event: str, tmp_path: Path
) -> None:
    path, settings = tmp_path / "c", CHANGES[change]
    fit(settings, path, stop=8)
    learn = learner()
    learn.fit(1, lr=0.1)
    model, before, recorder = learn.model, copy.deepcopy(figures(learn)), learn.recorder

    def refuse(self: Callback, learn: Learner) -> None:
        raise ArithmeticError("not today")

    refuses = type("Refuses", (Callback,), {event: refuse})()
    cbs = [*(make() for make in settings.get("cbs", ())), refuses]
    with pytest.raises(ArithmeticError):
        learn.fit(3, lr=0.1, cbs=cbs, resume=path)
    assert learn.model is model
    assert same(figures(learn), before)
    assert learn.recorder is recorder
    assert (learn.epoch, learn.n_epoch) == (0, 1)
    with pytest.raises(CheckpointError):
        learn.fit(3, lr=0.2, cbs=cbs, resume=path)
    assert same(figures(learn), before)


@pytest.mark.parametrize("after", [9, 15])
def test_an_error_in_a_resumed_fit_leaves_what_it_has_trained(after: int, tmp_path: Path) -> None:
    path = tmp_path / "c"
    fit({}, path, stop=8)
    learn = learner()
    with pytest.raises(KeyboardInterrupt):
        learn.fit(3, lr=0.1, cbs=Interrupt(after), resume=path)
    assert len(learn.recorder.lrs) == after


def test_the_state_of_a_callback_that_refuses_it_is_named(tmp_path: Path) -> None:
    class Begun(Begins):
        def load_state_dict(self, state: dict[str, int]) -> None:
            raise ValueError("it is of another kind")

    path = tmp_path / "c"
    fit({"cbs": [Begun]}, path, stop=8)
    with pytest.raises(CheckpointError) as refused:
        fit({"cbs": [Begun]}, resume=path)
    assert str(refused.value) == f"{path}: it is of another kind"


def test_a_numpy_rate_is_a_number_in_a_checkpoint(tmp_path: Path) -> None:
    class Rate(Callback):
        def before_step(self, learn: Learner) -> None:
            learn.opt.param_groups[0]["lr"] = np.float32(0.5)

    path = tmp_path / "c"
    fit({"cbs": [Rate]}, path, stop=8)
    assert parse(path.read_bytes())["optimizer"]["param_groups"][0]["lr"] == 0.5
    resumed, whole = fit({"cbs": [Rate]}, resume=path), fit({"cbs": [Rate]})
    assert same(dict(resumed.model.state_dict()), dict(whole.model.state_dict()))


def test_the_attributes_of_a_built_in_model_are_recorded_and_its_loss_has_none(
    tmp_path: Path,
) -> None:
    path = tmp_path / "c"
    fit({"make": partial(create_model, "mlp", 0)}, path, stop=8)
    start = parse(path.read_bytes())["start"]
    assert start["attributes"]["loss"] == {}
    assert start["attributes"]["model"]["0.in_features"] == "784"
    assert start["trained"]["0.weight"] is True
