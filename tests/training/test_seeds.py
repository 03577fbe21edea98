"""A seed decides all that a training draws, and a Learner leaves other random numbers alone."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from image_sets import random_set
from mnist_sgd import (
    Checkpoint,
    DataLoader,
    DataLoaders,
    DistributedContext,
    Learner,
    batch_accuracy,
    create_model,
    mnist_sample,
)
from mnist_sgd.cli import _parser, main
from mnist_sgd.cli.training.config import train_config
from mnist_sgd.cli.training.learner import make_learner
from values import same

Output = pytest.CaptureFixture[str]

FILES = ("model.safetensors", "model.onnx")


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A training of a model with dropout in the current folder: 49 batches."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "dropnets", raising=False)
    Path("dropnets.py").write_text(
        "from torch import nn\n"
        "def drop():\n"
        "    return nn.Sequential(nn.Dropout(0.5), nn.Linear(784, 1))\n"
    )
    return ["train", "--model", "dropnets:drop", "--epochs", "1", "--checkpoint-every", "20"]


def files(folder: str) -> list[bytes]:
    return [(Path(folder) / name).read_bytes() for name in FILES]


def begun(line: list[str], *options: str) -> int:
    """The command, in a process whose random numbers begin anywhere, as they do."""
    torch.seed()
    return main([*line, *options])


def test_a_seed_gives_a_model_with_dropout_the_same_bytes(line: list[str]) -> None:
    assert begun(line, "--seed", "3", "--out", "a") == 0
    assert begun(line, "--seed", "3", "--out", "b") == 0
    assert begun(line, "--seed", "4", "--out", "c") == 0
    assert files("a") == files("b")
    assert files("a") != files("c")


@pytest.mark.parametrize("batches", [5, 30], ids=["before-the-first-checkpoint", "after-it"])
def test_so_does_a_training_that_was_cut_off_and_resumed(
    batches: int, line: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def stop(self: Checkpoint, learn: Learner) -> None:
        if learn.training and len(learn.recorder.lrs) == batches:
            raise KeyboardInterrupt

    assert begun(line, "--out", "whole") == 0
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "before_step", stop)
        assert begun(line, "--resume", "--out", "cut") == 130
    capsys.readouterr()
    assert begun(line, "--resume", "--out", "cut") == 0
    text = "no checkpoint yet" if batches < 20 else "resuming in epoch 0 after 20 batches"
    assert text in capsys.readouterr().err
    assert files("cut") == files("whole")


class SecondRank(DistributedContext):
    """A rank whose fellows have the same options and data."""

    def check_same_on_all_ranks(self, what: str, description: str) -> None:
        pass


def test_ranks_have_equal_weights_and_draw_by_seeds_of_their_own() -> None:
    config = train_config(_parser().parse_args(["train", "--model", "mlp", "--seed", "3"]))
    weights, seeds = [], []
    for ranks in (DistributedContext(), SecondRank(1, 2)):
        learn = make_learner(config, mnist_sample(), ranks)
        weights.append(dict(learn.model.state_dict()))
        seeds.append(torch.initial_seed())
    assert seeds == [3, 4]
    assert same(*weights)


def test_the_largest_seed_is_one(line: list[str]) -> None:
    assert begun(line, "--seed", str(2**64 - 1), "--out", "a") == 0


def states() -> list[object]:
    """Of the generators that a process has: torch's, Python's and NumPy's."""
    name, keys, *rest = np.random.get_state()
    return [torch.get_rng_state().tolist(), random.getstate(), name, list(keys), *rest]


@pytest.mark.parametrize("model", ["linear", "cnn"])
def test_a_learner_of_a_model_that_draws_nothing_touches_no_random_state(model: str) -> None:
    train = DataLoader(random_set(45), 8, shuffle=True)
    learn = Learner(
        DataLoaders(train, DataLoader(random_set(17), 8)),
        create_model(model, 0),
        metrics=batch_accuracy,
    )
    before = states()
    with learn.no_logging():
        learn.fit(1, lr=0.01)
        learn.fit_one_cycle(1, 0.01)
        learn.lr_find(num_it=20)
        learn.validate()
        learn.get_preds()
        learn.predict(random_set(1).images[0])
    assert states() == before
