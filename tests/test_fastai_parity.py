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

from mnist_sgd import SGD, DataLoader, DataLoaders, Learner, batch_accuracy, mnist_loss
from mnist_sgd.data import mnist_sample

fastai = pytest.importorskip("fastai", reason="pip install 'mnist-sgd[parity]' brings fastai")
pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # fastai's own, on import and in use
    pytest.mark.usefixtures("one_thread"),
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
