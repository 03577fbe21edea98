"""The options of `mnist-sgd train` change a recipe, and each does what its help says."""

import csv
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mnist_sgd import (
    SGD,
    Checkpoint,
    DataLoader,
    DataLoaders,
    Learner,
    MixedPrecision,
    OneCycle,
    SaveBest,
    create_model,
    cross_entropy,
    mnist_loss,
    mnist_sample,
)
from mnist_sgd.cli import _parser, main, train
from mnist_sgd.cli.training.config import TrainConfig, train_config
from mnist_sgd.cli.training.recipes import RECIPES, Recipe
from mnist_sgd.training.optimizers import exempt_from_decay

Output = pytest.CaptureFixture[str]

CYCLE = ["--model", "mlp", "--schedule", "one-cycle", "--optimizer", "adam", "--shuffle"]
CYCLE += ["--augment", "--epochs", "2", "--weight-decay", "0.01", "--seed", "3"]


def config(*options: str) -> TrainConfig:
    return train_config(_parser().parse_args(["train", *options]))


def recipe(*options: str) -> Recipe:
    return config(*options).recipe


@pytest.mark.parametrize("model", RECIPES)
def test_without_options_a_model_has_its_own_recipe(model: str) -> None:
    assert recipe("--model", model) == RECIPES[model]


@pytest.mark.parametrize(
    ("options", "preprocessing", "model"),
    [
        ([], "mnist", "linear"),
        (["--data", "photos"], "mnist", "cnn"),
        (["--data", "photos"], "fit", "cnn_histogram"),
        (["--data", "photos"], "stretch", "cnn_histogram"),
        (["--dataset", "FashionMNIST"], "mnist", "cnn"),
        (["--dataset", "FashionMNIST", "--preprocess", "fit"], "fit", "cnn"),
        (["--data", "photos", "--model", "linear"], "fit", "linear"),
    ],
)
def test_characters_are_learned_by_the_cnn_whole_pictures_by_tones_the_sample_as_in_the_chapter(
    options: list[str], preprocessing: str, model: str
) -> None:
    assert config(*options).model_for(preprocessing) == model


def test_the_chapters_models_are_trained_as_in_the_chapter() -> None:
    plain = Recipe(
        epochs=10,
        lr=1.0,
        schedule="flat",
        loss="mnist",
        optimizer="sgd",
        momentum=0.0,
        weight_decay=0.0,
        batch_size=256,
        shuffle=False,
        augment=False,
    )
    assert RECIPES["linear"] == plain
    assert RECIPES["mlp"] == replace(plain, epochs=40, lr=0.1)


OPTIONS: dict[str, tuple[list[str], Any]] = {
    "epochs": (["--epochs", "3"], 3),
    "lr": (["--lr", "0.5"], 0.5),
    "schedule": (["--schedule", "one-cycle"], "one-cycle"),
    "loss": (["--loss", "cross-entropy"], "cross-entropy"),
    "momentum": (["--momentum", "0.5"], 0.5),
    "weight_decay": (["--weight-decay", "0.125"], 0.125),
    "batch_size": (["--batch-size", "32"], 32),
    "shuffle": (["--shuffle"], True),
    "augment": (["--augment"], True),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_changes_its_field_alone(name: str) -> None:
    options, value = OPTIONS[name]
    assert recipe(*options) == replace(RECIPES["linear"], **{name: value})


def test_every_field_has_an_option() -> None:
    assert {field.name for field in fields(Recipe)} == {*OPTIONS, "optimizer"}


def test_a_run_records_every_option() -> None:
    given = vars(_parser().parse_args(["train"])).keys()
    assert config().arguments().keys() == given - {"run", "version"}


def test_another_optimizer_brings_a_rate_and_a_momentum_unless_they_are_given() -> None:
    own = RECIPES["mlp"]
    adam = replace(own, optimizer="adam", lr=0.003, momentum=0.9)
    assert recipe("--model", "mlp", "--optimizer", "adam") == adam
    assert recipe("--model", "mlp", "--optimizer", "sgd") == own
    given = ["--lr", "0.5", "--momentum", "0.25"]
    assert recipe("--model", "mlp", "--optimizer", "adam", *given) == replace(
        adam, lr=0.5, momentum=0.25
    )
    assert recipe("--lr", "find").lr == "find"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lr", "fnd"], "--lr must be a positive number or find, got 'fnd' (did you mean find?)"),
        (["--lr", "1e39"], "must be a number from 1e-38 to 1e38, got '1e39'"),
        (["--lr", "1e-50"], "must be a number from 1e-38 to 1e38, got '1e-50'"),
        (["--momentum", "1"], "must be a number of at least 0 and below 1, got '1'"),
        (["--weight-decay", "-1"], "must be a number of at least 0, got '-1'"),
        (["--early-stopping", "0"], "must be a whole number above 0, got '0'"),
        (["--schedule", "cosine"], "--schedule must be one of flat, one-cycle, got 'cosine'"),
    ],
)
def test_values_that_cannot_be_used_are_said(
    options: list[str], message: str, capsys: Output
) -> None:
    with pytest.raises(SystemExit):
        main(["train", *options])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--early-stopping", "10"],
            "--early-stopping 10 needs more epochs than the training has (10); choose a "
            "smaller number, or more --epochs",
        ),
        (
            ["--model", "cnn", "--epochs", "3", "--early-stopping", "4"],
            "--early-stopping 4 needs more epochs than the training has (3); choose a "
            "smaller number, or more --epochs",
        ),
        (
            ["--weight-decay", "2"],
            "--weight-decay 2 with a learning rate of 1 would multiply weights by -1 in each step; "
            "it must be below 1 here",
        ),
        (
            ["--lr", "0.5", "--weight-decay", "2"],
            "--weight-decay 2 with a learning rate of 0.5 would multiply weights by 0 in each "
            "step; it must be below 2 here",
        ),
        (
            ["--csv", "./model.onnx"],
            "--csv model.onnx is a file that the training itself writes; choose another",
        ),
        (
            ["--run", "a", "--csv", "runs/../runs/a/history.csv"],
            "--csv runs/../runs/a/history.csv is a file that the training itself writes; choose "
            "another",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    options: list[str], message: str, fits: "Fits", capsys: Output
) -> None:
    assert main(["train", *options]) == 2
    assert capsys.readouterr() == ("", f"mnist-sgd: {message}\n")
    assert fits.calls == []


@pytest.mark.parametrize(
    "options",
    [
        ["--early-stopping", "9"],
        ["--weight-decay", "0.9"],
        ["--csv", "history.csv"],
        ["--best", "--epochs", "1"],
    ],
)
def test_settings_that_go_together_are_taken(options: list[str], fits: "Fits") -> None:
    assert main(["train", *options]) == 0
    assert len(fits.calls) == 1


class Fits:
    """What the command gave to a Learner; nothing is trained or exported."""

    def __init__(self) -> None:
        self.learners: list[Learner] = []
        self.calls: list[dict[str, Any]] = []

    def fit(self, learn: Learner, n_epoch: int, lr: float, *args: Any, **kwargs: Any) -> None:
        self.learners.append(learn)
        given = dict(zip(("cbs", "reset_opt", "resume", "schedule"), args, strict=False))
        self.calls.append({"n_epoch": n_epoch, "lr": lr} | given | kwargs)
        learn.n_epoch = 0


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fits:
    fits = Fits()
    monkeypatch.setattr(Learner, "fit", lambda learn, *args, **kw: fits.fit(learn, *args, **kw))
    monkeypatch.setattr(train, "write_files", lambda args, learn, log: None)
    monkeypatch.chdir(tmp_path)
    return fits


def made_by(learn: Learner) -> Any:
    exempt_from_decay(learn.model)  # as its first fit does
    return learn.opt_func(learn.model.parameters(), lr=0.5)


def test_the_optimizer_has_the_recipes_settings(fits: Fits) -> None:
    assert main(["train", "--momentum", "0.5", "--weight-decay", "0.25"]) == 0
    assert main(["train", "--optimizer", "adam", "--weight-decay", "0.25"]) == 0
    sgd, adam = map(made_by, fits.learners)
    assert isinstance(sgd, SGD)
    assert (sgd.param_groups[0]["mom"], sgd.param_groups[0]["wd"]) == (0.5, 0.25)
    assert isinstance(adam, torch.optim.AdamW)
    assert [group["weight_decay"] for group in adam.param_groups] == [0.25, 0.0]
    assert [group["betas"] for group in adam.param_groups] == [(0.9, 0.999)] * 2


def test_the_loss_is_that_of_the_recipe(fits: Fits) -> None:
    assert main(["train"]) == 0
    assert main(["train", "--model", "cnn"]) == 0
    assert main(["train", "--model", "cnn", "--loss", "mnist"]) == 0
    losses = [learn.loss_func for learn in fits.learners]
    assert losses == [mnist_loss, cross_entropy, mnist_loss]


def test_mixed_precision_comes_before_all_others(fits: Fits) -> None:
    assert main(["train", "--mixed-precision", "--best"]) == 0
    (learn,), (call,) = fits.learners, fits.calls
    every = [*learn.cbs, *call["cbs"]]
    assert [type(cb) for cb in every] == [MixedPrecision, SaveBest]
    assert learn.cbs == every[:1]  # of the learner, so that a rate is looked for with it too


def test_the_schedule_is_that_of_the_recipe(fits: Fits) -> None:
    assert main(["train", "--schedule", "one-cycle", "--epochs", "3", "--lr", "0.5"]) == 0
    assert main(["train"]) == 0
    cycle, flat = fits.calls
    assert (cycle["n_epoch"], cycle["lr"], cycle["schedule"]) == (3, 0.5, OneCycle(0.5))
    assert (flat["n_epoch"], flat["lr"], flat.get("schedule")) == (10, 1.0, None)


def test_watchers_come_before_the_checkpoint(fits: Fits) -> None:
    pytest.importorskip("tensorboard", reason="pip install tensorboard")
    logs = ["--csv", "h.csv", "--tensorboard", "events"]
    options = ["--best", "--early-stopping", "4", *logs, "--checkpoint-every", "9"]
    assert main(["train", *options]) == 0
    (call,) = fits.calls
    assert [type(cb).__name__ for cb in call["cbs"]] == [
        "CSVLogger",
        "TensorBoard",
        "EarlyStopping",
        "SaveBest",
        "Checkpoint",
    ]
    assert call["cbs"][2].patience == 4


def test_training_twice_with_one_cycle_adam_and_augmentation_leaves_the_same_bytes(
    tmp_path: Path, capsys: Output
) -> None:
    tables = []
    for name, threads in (("a", "1"), ("b", "2")):
        out = tmp_path / name
        assert main(["train", *CYCLE, "--threads", threads, "--out", str(out)]) == 0
        tables.append([line.split()[:4] for line in capsys.readouterr().out.splitlines()[:3]])
    assert tables[0] == tables[1]
    for file in ("model.onnx", "model.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_cycle_that_was_cut_off_goes_on_to_the_same_bytes(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cut comes in the second epoch, after 70 of 98 batches; the best weights are kept."""

    def stop(learn: Learner) -> None:
        if learn.training and len(learn.recorder.lrs) == 75:
            raise KeyboardInterrupt

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    arguments = ["train", *CYCLE, "--best", "--checkpoint-every", "10", "--resume", "--out"]
    assert main([*arguments, str(whole)]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "before_step", lambda self, learn: stop(learn))
        assert main([*arguments, str(cut)]) == 130
    capsys.readouterr()
    assert main([*arguments, str(cut)]) == 0
    assert "resuming in epoch 1 after 21 batches" in capsys.readouterr().err
    for file in ("model.onnx", "model.safetensors"):
        assert (whole / file).read_bytes() == (cut / file).read_bytes()


def test_a_watched_training_ends_early_and_leaves_the_best_epochs_weights(
    tmp_path: Path, capsys: Output
) -> None:
    """At a rate of 100 the network gets worse soon."""
    history = tmp_path / "history.csv"
    options = ["--model", "mlp", "--lr", "30", "--shuffle", "--early-stopping", "2", "--best"]
    log = ["--csv", str(history), "--out", str(tmp_path), "--json"]
    assert main(["train", *options, *log]) == 0
    out, err = capsys.readouterr()
    epochs = json.loads(out)["epochs"]
    losses = [epoch["valid_loss"] for epoch in epochs]
    best = losses.index(min(losses))
    assert len(losses) == best + 3 < 40
    assert err == (
        f"mnist-sgd: valid_loss stopped improving: ended after {len(losses)} of 40 epochs\n"
        f"mnist-sgd: kept the weights of epoch {best}\n"
    )
    rows = csv.DictReader(history.read_text().splitlines())
    assert [float(row["valid_loss"]) for row in rows] == losses
    assert main(["inspect", str(tmp_path / "model.onnx"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["valid_loss"] == losses[best]


def test_of_a_training_that_diverged_there_is_no_best_epoch(tmp_path: Path, capsys: Output) -> None:
    options = ["--lr", "1e38", "--momentum", "0.99", "--loss", "cross-entropy", "--epochs", "2"]
    options += ["--best"]
    assert main(["train", *options, "--out", str(tmp_path)]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == (
        "mnist-sgd: valid_loss is not a number in any epoch: kept the weights of the last one"
    )
    assert second.startswith(f"mnist-sgd: {tmp_path / 'model.onnx'} was not written: ")


def test_a_rate_is_found_said_and_used(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Learner] = []
    monkeypatch.setattr(train, "write_files", lambda args, learn, log: trained.append(learn))
    options = ["--lr", "find", "--epochs", "1", "--out", str(tmp_path)]
    assert main(["train", *options]) == 0
    dls = DataLoaders(*(DataLoader(images, 256) for images in mnist_sample()))
    found = Learner(dls, create_model("linear", 0)).lr_find().valley
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert err == f"mnist-sgd: found the learning rate {found:.3g}\n"
    assert trained[0].recorder.lrs == [found] * 49
