"""From the same initial weights our table is fastai's, byte for byte, and so are the weights."""

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from mnist_sgd import SGD, DataLoader, DataLoaders, Learner, batch_accuracy, mnist_loss
from mnist_sgd.data import mnist_sample

fastai = pytest.importorskip("fastai", reason="pip install 'mnist-sgd[parity]' brings fastai")
pytestmark = pytest.mark.filterwarnings("ignore")  # fastai's own, on import and in use

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


def fastai_learner(theirs: Any, model: nn.Module) -> Any:
    from fastai.callback.progress import ProgressCallback
    from fastai.learner import Learner as FastaiLearner
    from fastai.optimizer import SGD as FASTAI_SGD

    learner = FastaiLearner(
        theirs, model, opt_func=FASTAI_SGD, loss_func=mnist_loss, metrics=batch_accuracy
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
