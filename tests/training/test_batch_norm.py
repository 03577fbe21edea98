"""A training batch that is too small for batch norm is reported before the first batch."""

import re
import sys
from pathlib import Path
from typing import Any, Self

import pytest
import torch
from torch import nn

from image_sets import random_set
from mnist_sgd import Callback, DataLoader, DataLoaders, DistributedContext, Learner, create_model
from mnist_sgd.cli import main
from mnist_sgd.training.batch_norm import check_batch_norm

Output = pytest.CaptureFixture[str]

ADVICE = "leave that batch out (drop_last=True; train --drop-last) or take another batch size"


def normed() -> nn.Module:
    """With a batch norm that takes the values of one image alone, or cannot."""
    return nn.Sequential(nn.Linear(784, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1))


class Counts(Callback):
    """Counts the batches that were trained."""

    def __init__(self) -> None:
        self.batches = 0

    def after_batch(self, learn: Learner) -> None:
        self.batches += learn.training


def fit(model: nn.Module, images: int = 33, batch_size: int = 8, **options: Any) -> Counts:
    train = DataLoader(random_set(images), batch_size, **options)
    counts = Counts()
    learn = Learner(DataLoaders(train, DataLoader(random_set(17), 8)), model)
    with learn.no_logging():
        learn.fit(1, lr=0.1, cbs=counts)
    return counts


def test_a_last_batch_of_one_image_is_refused_before_the_first() -> None:
    model = normed()
    before = [t.clone() for t in model.state_dict().values()]
    state = torch.get_rng_state()
    message = (
        "the last training batch has 1 image (33 images in batches of 8), and batch norm (layer "
        f"'1') needs more than one value of each channel in training: {ADVICE}"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        fit(model)
    assert all(map(torch.equal, before, model.state_dict().values()))
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training


def test_what_the_message_advises_trains() -> None:
    assert fit(normed(), drop_last=True).batches == 4
    assert fit(normed(), batch_size=7).batches == 5


def test_batches_of_one_image_are_told_that_leaving_the_last_out_is_no_help() -> None:
    message = (
        "each training batch has 1 image (33 images in batches of 1), and batch norm (layer '1') "
        "needs more than one value of each channel in training: take a larger batch size"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        fit(normed(), batch_size=1, drop_last=True)


@pytest.mark.parametrize("model", ["cnn", "linear"])
def test_a_model_that_can_take_one_image_trains_on_it(model: str) -> None:
    """The cnn's batch norms have the values of all places of an image."""
    assert fit(create_model(model, 0)).batches == 5


def test_a_batch_norm_that_is_kept_in_evaluation_mode_takes_any_batch() -> None:
    class Frozen(nn.BatchNorm1d):
        def train(self, mode: bool = True) -> Self:
            return super().train(False)

    model = nn.Sequential(nn.Linear(784, 4), Frozen(4), nn.Linear(4, 1))
    assert fit(model).batches == 5


@pytest.mark.parametrize(
    ("images", "batch_size", "refused"),
    [
        (33, 8, "the last training batch (33 images in batches of 8)"),
        (35, 8, "the last training batch (35 images in batches of 8)"),
        (36, 8, None),
        (32, 8, None),
        (33, 3, "each training batch (33 images in batches of 3)"),
        (2, 8, "the last training batch (2 images in batches of 8)"),
    ],
)
def test_ranks_are_refused_a_part_of_one_image(
    images: int, batch_size: int, refused: str | None
) -> None:
    """Of two: the parts of 3 images are 1 and 2, those of 4 are 2 and 2."""
    parts = [
        DataLoader(random_set(images), batch_size, rank=rank, world_size=2) for rank in range(2)
    ]
    for rank, part in enumerate(parts):
        if refused is None:
            check_batch_norm(normed().train(), part, DistributedContext(rank, 2))
            continue
        with pytest.raises(ValueError, match=r"^one of 2 processes gets 1 image of ") as told:
            check_batch_norm(normed().train(), part, DistributedContext(rank, 2))
        assert refused in str(told.value)
    sizes = {len(yb) for part in parts for _, yb in part}
    assert (1 in sizes) is (refused is not None)


def test_other_loaders_batches_are_explained_when_they_come() -> None:
    data = torch.rand(5, 784), torch.ones(5, 1)
    train = [(data[0][:4], data[1][:4]), (data[0][4:], data[1][4:])]
    learn = Learner(DataLoaders(train, train[:1]), normed())
    message = (
        "a training batch has too few images for batch norm, which needs more than one value of "
        f"each channel in training: {ADVICE} (Expected more than 1 value per channel when "
        "training, got input size torch.Size([1, 4]))"
    )
    with learn.no_logging(), pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        learn.fit(1, lr=0.1)


def test_the_command_names_its_option_which_then_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "normednets", raising=False)
    Path("normednets.py").write_text(
        "from torch import nn\n"
        "def normed():\n"
        "    layers = nn.Linear(784, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1)\n"
        "    return nn.Sequential(*layers)\n"
    )
    line = ["train", "--model", "normednets:normed", "--epochs", "1", "--batch-size", "2479"]
    assert main([*line, "--out", "out"]) == 2
    assert capsys.readouterr().err == (
        "mnist-sgd: the last training batch has 1 image (12,396 images in batches of 2479), and "
        f"batch norm (layer '1') needs more than one value of each channel in training: {ADVICE}\n"
    )
    assert not Path("out").exists()
    assert main([*line, "--out", "out", "--drop-last", "--checkpoint-every", "1"]) == 0
    capsys.readouterr()
    assert main([*line, "--out", "out", "--resume"]) == 2
    assert capsys.readouterr().err == (
        f"mnist-sgd: {Path('out', 'checkpoint.safetensors')}: the state is of another drop_last: "
        "it has 1, this loader has 0; resume with the options and data that the training "
        "started with, or start again without --resume\n"
    )


def test_leaving_out_the_last_batch_may_not_leave_out_all(tmp_path: Path, capsys: Output) -> None:
    line = ["train", "--drop-last", "--batch-size", "12397", "--out", str(tmp_path)]
    assert main(line) == 2
    assert capsys.readouterr().err == (
        "mnist-sgd: --drop-last leaves no batch: there are 12396 training images, and a batch has "
        "12397; choose a smaller --batch-size\n"
    )
