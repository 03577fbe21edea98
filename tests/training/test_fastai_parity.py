"""From the same initial weights our table is fastai's, byte for byte, and so are the weights.

So are the rates and momenta of one cycle, and what the learning rate finder sees and suggests.
"""

import copy
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mnist_sgd import (
    SGD,
    Callback,
    CancelBatch,
    DataLoader,
    DataLoaders,
    Learner,
    batch_accuracy,
    mnist_loss,
)
from mnist_sgd.data import mnist_sample
from mnist_sgd.training.recorder import Metric

fastai = pytest.importorskip("fastai", reason="pip install 'mnist-sgd[parity]' brings fastai")
pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # fastai's own, on import and in use
]

Output = pytest.CaptureFixture[str]
TIME = re.compile(r"\d\d:\d\d(?= {5}$)", re.MULTILINE)


def linear() -> nn.Module:
    return nn.Linear(28 * 28, 1)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(28 * 28, 30), nn.ReLU(), nn.Linear(30, 1))


@pytest.fixture(scope="module")
def ours() -> DataLoaders:
    train, valid = mnist_sample()
    return DataLoaders(DataLoader(train, batch_size=256), DataLoader(valid, batch_size=256))


@pytest.fixture(scope="module")
def theirs() -> Iterator[Any]:
    from fastai.data.core import DataLoaders as FastaiDataLoaders
    from fastai.data.load import DataLoader as FastaiDataLoader
    from fastai.torch_core import default_device

    default_device(False)
    loaders = []
    for images in mnist_sample():
        x = torch.tensor(images.images).view(-1, 28 * 28).float() / 255
        y = torch.tensor(images.labels).long().unsqueeze(1)
        loaders.append(FastaiDataLoader(list(zip(x, y, strict=True)), batch_size=256))
    yield FastaiDataLoaders(*loaders)
    default_device(None)


def fastai_learner(theirs: Any, model: nn.Module, optimizer: str = "SGD", **settings: Any) -> Any:
    import fastai.callback.schedule  # noqa: F401  # adds fit_one_cycle and lr_find to its Learner
    from fastai import optimizer as optimizers
    from fastai.callback.progress import ProgressCallback
    from fastai.learner import Learner as FastaiLearner

    opt_func = partial(getattr(optimizers, optimizer), **settings)
    learner = FastaiLearner(
        theirs, model, opt_func=opt_func, loss_func=mnist_loss, metrics=batch_accuracy
    )
    if not hasattr(learner, "progress"):
        learner.add_cb(ProgressCallback())  # what `from fastai.vision.all import *` adds by default
    return learner


def table(output: str) -> str:
    """The lines of a table, times blanked out and what a progress bar drew left out."""
    lines = [line.rsplit("\r", 1)[-1] for line in output.splitlines()]
    return TIME.sub("--:--", "\n".join(line for line in lines if re.match(r"epoch|\d+ ", line)))


@pytest.mark.parametrize(
    ("make", "lr", "seed"),
    [(linear, 1.0, seed) for seed in range(20)] + [(network, 0.1, seed) for seed in range(5)],
)
def test_the_table_of_ten_epochs_is_fastais_byte_for_byte(
    ours: DataLoaders,
    theirs: Any,
    capsys: Output,
    make: Callable[[], nn.Module],
    lr: float,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    model = make()
    twin = copy.deepcopy(model)

    fastai_learner(theirs, twin).fit(10, lr=lr)
    expected = table(capsys.readouterr().out)
    Learner(ours, model, mnist_loss, SGD, metrics=batch_accuracy).fit(10, lr=lr)
    printed = TIME.sub("--:--", capsys.readouterr().out)

    assert len(expected.splitlines()) == 11
    assert expected.splitlines()[0] == "epoch     train_loss  valid_loss  batch_accuracy  time    "
    assert printed == expected + "\n"
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("cycle", [{}, {"pct_start": 0.3, "div": 10, "moms": (0.9, 0.8, 0.95)}])
@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("wd", [0.0, 0.1])
def test_one_cycle_of_sgd_with_momentum_is_fastais_byte_for_byte(
    ours: DataLoaders, theirs: Any, capsys: Output, epochs: int, wd: float, cycle: dict[str, Any]
) -> None:
    torch.manual_seed(epochs)
    model = network()
    twin = copy.deepcopy(model)

    fastais = fastai_learner(theirs, twin, mom=0.9, wd=wd)
    fastais.fit_one_cycle(epochs, lr_max=1.0, **cycle)
    expected = table(capsys.readouterr().out)
    learn = Learner(ours, model, opt_func=partial(SGD, mom=0.9, wd=wd), metrics=batch_accuracy)
    learn.fit_one_cycle(epochs, lr_max=1.0, **cycle)

    assert len(learn.recorder.lrs) == 49 * epochs
    assert learn.recorder.lrs == fastais.recorder.lrs
    assert learn.recorder.moms == fastais.recorder.hps["mom"]
    assert TIME.sub("--:--", capsys.readouterr().out) == expected + "\n"
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(p, q)


def test_weight_decay_of_the_learner_and_of_a_fit_is_fastais(
    ours: DataLoaders, theirs: Any
) -> None:
    """That of a fit wins, and the optimizer keeps it unless the learner has one."""
    model = network()
    twin = copy.deepcopy(model)
    fastais = fastai_learner(theirs, twin)
    learn = Learner(ours, model, opt_func=SGD)
    with fastais.no_bar(), fastais.no_logging(), learn.no_logging():
        for each in (fastais, learn):
            each.fit(1, 0.1, wd=0.1)
            each.fit(1, 0.1)
            each.wd = 0.05
            each.fit(1, 0.1)
            each.fit_one_cycle(1, 0.1, wd=0.2)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(p, q)


def test_one_cycle_of_adam_has_fastais_rates_and_momenta(ours: DataLoaders, theirs: Any) -> None:
    fastais = fastai_learner(theirs, network(), "Adam")
    with fastais.no_bar(), fastais.no_logging():
        fastais.fit_one_cycle(2, lr_max=0.01)
    learn = Learner(ours, network(), opt_func=torch.optim.Adam)
    with learn.no_logging():
        learn.fit_one_cycle(2, lr_max=0.01)
    assert learn.recorder.lrs == fastais.recorder.lrs
    assert learn.recorder.moms == fastais.recorder.hps["mom"]


@pytest.mark.parametrize("make", [linear, network])
@pytest.mark.parametrize("mom", [0.0, 0.9])
@pytest.mark.parametrize("end_lr", [10, 1e30])
def test_the_learning_rate_finder_sees_and_suggests_what_fastais_does(
    ours: DataLoaders,
    theirs: Any,
    tmp_path: Path,
    make: Callable[[], nn.Module],
    mom: float,
    end_lr: float,
) -> None:
    """Among the rates up to 1e30 are some with losses that are no numbers."""
    torch.manual_seed(0)
    model = make()
    fastais = fastai_learner(theirs, copy.deepcopy(model), mom=mom)
    fastais.path = tmp_path
    with fastais.no_bar():
        suggested = fastais.lr_find(end_lr=end_lr, show_plot=False).valley
    learn = Learner(ours, model, opt_func=partial(SGD, mom=mom))
    found = learn.lr_find(end_lr=end_lr)

    seen = slice(10, 10 + len(found.lrs))
    assert len(found.lrs) > 20
    assert found.lrs == tuple(fastais.recorder.lrs[seen])
    assert found.losses == tuple(loss.item() for loss in fastais.recorder.losses[seen])
    assert found.valley == pytest.approx(suggested, rel=1e-6)


def test_the_finder_after_a_fit_has_the_optimizers_averages_as_fastais_has(
    ours: DataLoaders, theirs: Any, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = linear()
    fastais = fastai_learner(theirs, copy.deepcopy(model), mom=0.9)
    fastais.path = tmp_path
    learn = Learner(ours, model, opt_func=partial(SGD, mom=0.9))
    with fastais.no_bar(), fastais.no_logging(), learn.no_logging():
        fastais.fit(1, lr=0.1)
        learn.fit(1, lr=0.1)
        suggested = fastais.lr_find(show_plot=False).valley
    found = learn.lr_find()
    assert found.lrs == tuple(fastais.recorder.lrs[10 : 10 + len(found.lrs)])
    assert found.losses == tuple(
        loss.item() for loss in fastais.recorder.losses[10 : 10 + len(found.losses)]
    )
    assert found.valley == pytest.approx(suggested, rel=1e-6)


class Layers(nn.Module):
    """Parameters of every kind: weights, biases, norms of one and two dimensions, bare ones."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(784, 16)
        self.norm = nn.LayerNorm((4, 4))
        self.act = nn.PReLU(16)
        self.scale = nn.Parameter(torch.ones(16))
        self.last = nn.Linear(16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.norm(self.first(x).view(-1, 4, 4)).flatten(1)
        logits: torch.Tensor = self.last(self.act(hidden * self.scale))
        return logits


def test_weight_decay_spares_what_fastais_learner_spares(ours: DataLoaders, theirs: Any) -> None:
    torch.manual_seed(0)
    model = Layers()
    twin = copy.deepcopy(model)
    fastais = fastai_learner(theirs, twin, mom=0.5, wd=0.5)
    learn = Learner(ours, model, opt_func=partial(SGD, mom=0.5, wd=0.5))
    with fastais.no_bar(), fastais.no_logging(), learn.no_logging():
        fastais.fit(1, lr=0.05)
        learn.fit(1, lr=0.05)
    for (name, p), q in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(p, q), name


def test_a_momentum_that_a_schedule_begins_with_0_grows_as_fastais_does(
    ours: DataLoaders, theirs: Any
) -> None:
    from fastai.callback.schedule import ParamScheduler, SchedLin

    torch.manual_seed(0)
    model = linear()
    twin = copy.deepcopy(model)
    fastais = fastai_learner(theirs, twin, mom=0.9)
    learn = Learner(ours, model, opt_func=partial(SGD, mom=0.9))
    with fastais.no_bar(), fastais.no_logging(), learn.no_logging():
        fastais.fit(1, lr=0.1, cbs=ParamScheduler({"mom": SchedLin(0.0, 0.9)}))
        learn.fit(1, lr=0.1, schedule=lambda progress: (0.1, 0.9 * progress))
    assert learn.recorder.moms == pytest.approx(fastais.recorder.hps["mom"], abs=1e-12)
    assert learn.recorder.moms[0] == 0.0 < learn.recorder.moms[-1]
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-6)


def test_batches_that_are_cancelled_before_the_step_give_fastais_losses_and_weights(
    ours: DataLoaders, theirs: Any
) -> None:
    from fastai.callback.core import Callback as FastaiCallback, CancelBatchException

    class Accumulate(Callback):
        def before_step(self, learn: Learner) -> None:
            if learn.batch % 2:
                raise CancelBatch

    class FastaisAccumulate(FastaiCallback):  # type: ignore[misc]  # it has no types
        def before_step(self) -> None:
            if not self.iter % 2:
                raise CancelBatchException

    torch.manual_seed(0)
    model = linear()
    twin = copy.deepcopy(model)
    fastais, learn = fastai_learner(theirs, twin), Learner(ours, model)
    with fastais.no_bar(), fastais.no_logging(), learn.no_logging():
        fastais.fit(2, lr=0.5, cbs=FastaisAccumulate())
        learn.fit(2, lr=0.5, cbs=Accumulate())
    assert learn.recorder.losses == [loss.item() for loss in fastais.recorder.losses]
    assert learn.recorder.iters == list(fastais.recorder.iters) == [49, 98]
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(p, q)


def boolean(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return ((predictions > 0) == targets.bool()).all()


def python_float(predictions: torch.Tensor, targets: torch.Tensor) -> float:
    return ((predictions > 0) == targets.bool()).float().mean().item()


def at(predictions: torch.Tensor, targets: torch.Tensor, cut: float) -> torch.Tensor:
    return ((predictions > cut) == targets.bool()).double().mean()


def test_metrics_of_every_kind_are_shown_as_fastai_shows_them(
    ours: DataLoaders, theirs: Any, capsys: Output
) -> None:
    torch.manual_seed(0)
    model = linear()
    metrics: list[Metric] = [boolean, python_float, partial(at, cut=-1.0), partial(at, cut=1.0)]
    fastais = fastai_learner(theirs, copy.deepcopy(model))
    fastais.metrics = metrics
    fastais.fit(2, lr=0.5)
    expected = table(capsys.readouterr().out)
    Learner(ours, model, metrics=metrics).fit(2, lr=0.5)
    assert TIME.sub("--:--", capsys.readouterr().out) == expected + "\n"
    assert "at        at        time" in expected
