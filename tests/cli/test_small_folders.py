"""Few pictures are trained long enough, in a way that suits how they are preprocessed."""

import json
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from mnist_sgd import Augmentation, DataLoader
from mnist_sgd.cli import main
from mnist_sgd.cli.options.datasets import DataConfig
from mnist_sgd.cli.training.config import TrainConfig
from mnist_sgd.cli.training.learner import make_loaders
from mnist_sgd.cli.training.recipes import LEAST_STEPS, RECIPES, Recipe, with_enough_steps
from mnist_sgd.data import load_data
from mnist_sgd.training.distributed import SINGLE_PROCESS
from pictures import blob, fill_with, stroke

Output = pytest.CaptureFixture[str]

EVERY_RECIPE = st.sampled_from([*RECIPES.values()])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With 60 pictures to train with and 10 to validate with."""
    for place, name in enumerate("ab"):
        fill_with(tmp_path / "photos" / "train" / name, stroke, 30, 1000 * place)
        fill_with(tmp_path / "photos" / "valid" / name, stroke, 5, 1000 * place + 500)
    return tmp_path / "photos"


def train(folder: Path, *options: str) -> int:
    out = str(folder.parent)
    return main(["train", "--data", str(folder), "--out", out, "--model", "linear", *options])


@given(recipe=EVERY_RECIPE, images=st.integers(1, 100_000))
def test_any_number_of_images_gets_enough_steps(recipe: Recipe, images: int) -> None:
    suited = with_enough_steps(recipe, images, {})
    batches = -(-images // suited.batch_size)
    assert suited.epochs * batches >= LEAST_STEPS
    assert suited.epochs == recipe.epochs or (suited.epochs - 1) * batches < LEAST_STEPS
    assert suited.epochs >= recipe.epochs
    assert 16 <= suited.batch_size <= recipe.batch_size
    assert suited.batch_size == 16 or images >= 10 * suited.batch_size


@given(recipe=EVERY_RECIPE, images=st.integers(1, 100_000))
def test_what_the_user_gave_stays(recipe: Recipe, images: int) -> None:
    suited = with_enough_steps(recipe, images, {"epochs": 3, "batch_size": 50})
    assert (suited.epochs, suited.batch_size) == (recipe.epochs, recipe.batch_size)


@pytest.mark.parametrize(
    ("images", "batch_size", "epochs"),
    [(1, 16, 600), (100, 16, 86), (320, 32, 60), (1000, 64, 38), (3840, 128, 20), (12396, 128, 20)],
)
def test_the_cnn_trains_on_few_images_for_as_long_as_the_guide_says(
    images: int, batch_size: int, epochs: int
) -> None:
    suited = with_enough_steps(RECIPES["cnn"], images, {})
    assert (suited.batch_size, suited.epochs) == (batch_size, epochs)


def test_a_small_folder_is_trained_for_600_steps_and_says_so(folder: Path, capsys: Output) -> None:
    assert train(folder) == 0
    output = capsys.readouterr()
    assert "mnist-sgd: Model: linear, 150 epochs; " in output.err
    rows = [line for line in output.out.splitlines() if line[:1].isdigit()]
    assert len(rows) == 150


def test_options_override_it(folder: Path, capsys: Output) -> None:
    assert train(folder, "--epochs", "4") == 0
    assert "mnist-sgd: Model: linear, 4 epochs; " in capsys.readouterr().err
    assert train(folder, "--batch-size", "30") == 0
    assert "mnist-sgd: Model: linear, 300 epochs; " in capsys.readouterr().err


def test_early_stopping_may_wait_as_long_as_the_pictures_are_trained(
    folder: Path, capsys: Output
) -> None:
    assert train(folder, "--early-stopping", "149", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["epochs"]) <= 150
    for options in ([], ["--epochs", "150"]):
        assert train(folder, "--early-stopping", "150", *options) == 2
        assert capsys.readouterr().err.splitlines()[-1] == (
            "mnist-sgd: --early-stopping 150 needs more epochs than the training has (150); choose "
            "a smaller number, or more --epochs"
        )


def test_the_bundled_digits_keep_the_chapters_recipe(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["epochs"]) == 10


CHARACTERS = Augmentation(degrees=5, translate=0.05, scale=(0.9, 1.1), shear=2.5, share=0.75)
WHOLE = Augmentation(degrees=5, translate=0.04, scale=(0.95, 1.05), outside="edge")


@pytest.mark.parametrize(
    ("preprocessing", "augmentation"), [("mnist", CHARACTERS), ("fit", WHOLE), ("stretch", WHOLE)]
)
def test_augmentation_fits_the_preprocessing(
    tmp_path: Path, preprocessing: str, augmentation: Augmentation
) -> None:
    """Black is the ground of characters; on a white sheet it would be a bar."""
    for name in "ab":
        fill_with(tmp_path / name, blob, 20, ord(name) * 100)
    data = load_data(tmp_path, preprocessing=preprocessing)
    config = TrainConfig(data=DataConfig(data=tmp_path), recipe=RECIPES["cnn"])
    loaders = make_loaders(config, (data.train, data.valid), SINGLE_PROCESS)
    assert isinstance(loaders.train, DataLoader)
    assert isinstance(loaders.valid, DataLoader)
    assert loaders.train.augment == augmentation
    assert loaders.valid.augment is None
