"""A run's folder holds everything, whole, is silent of its machine, and is never lost by error."""

import csv
import getpass
import json
import os
import re
import shutil
import socket
from dataclasses import replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mnist_sgd import SGD, BasicOptim, Callback, Checkpoint, ExportError, Learner, write_run
from mnist_sgd.cli import main
from mnist_sgd.data import load_idx_set, mnist_sample, write_idx
from mnist_sgd.report import writer
from mnist_sgd.report.folder import RunError, create_run, is_finished, run_path
from mnist_sgd.report.run_config import configuration
from mnist_sgd.report.run_log import RunLog
from mnist_sgd.report.validation_pictures import files_digest, read_pictures
from mnist_sgd.report.writer import finish_run
from mnist_sgd_serve import Predictor
from runs import contents, easy_set, learner

FILES = {
    "MODEL_CARD.md",
    "batches.csv",
    "config.json",
    "environment.json",
    "evaluation.json",
    *(f"examples/{name}-{number}.png" for name in ("left", "right") for number in (1, 2, 3)),
    "history.csv",
    "history.json",
    "mistakes.json",
    "model.onnx",
    "model.safetensors",
    "plots/accuracy.svg",
    "plots/calibration.svg",
    "plots/learning_rate.svg",
    "plots/loss.svg",
    "plots/precision_recall.svg",
    "plots/probabilities.svg",
    "plots/roc.svg",
    "report.html",
}


@pytest.fixture(scope="module")
def learn() -> Learner:
    """A linear model with three mistakes, for the labels of three images are wrong."""
    return learner(valid=easy_set(flipped=3))


@pytest.fixture(scope="module")
def run(learn: Learner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "first"
    assert write_run(learn, folder, {"lr": 0.5}) == folder / "report.html"
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text(), parse_constant=pytest.fail)


def test_a_run_holds_everything(run: Path) -> None:
    assert set(contents(run)) == FILES


def test_the_same_run_gives_the_same_bytes(learn: Learner, run: Path, tmp_path: Path) -> None:
    again = tmp_path / run.name
    write_run(learn, again, {"lr": 0.5})
    assert contents(again) == contents(run)


def test_a_second_training_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    again = tmp_path / run.name
    write_run(learner(valid=easy_set(flipped=3)), again, {"lr": 0.5})
    assert contents(again) == contents(run)


def test_nothing_tells_whose_machine_it_was(learn: Learner, tmp_path: Path) -> None:
    write_run(learn, tmp_path / "run", {"root": str(tmp_path / "data"), "out": tmp_path / "files"})
    arguments = read(tmp_path / "run" / "config.json")["arguments"]
    assert arguments == {"root": "data", "out": "files"}
    private = [os.fspath(tmp_path), os.fspath(Path.cwd()), os.fspath(Path.home()) + "/"]
    private += [name for name in (socket.gethostname(),) if len(name) > 7]
    private += [name for name in (getpass.getuser(),) if name != "root"]
    for name, content in contents(tmp_path / "run").items():
        text = content.decode(errors="replace")
        assert [each for each in private if each in text] == [], name


def test_the_configuration_says_what_the_training_came_to(run: Path) -> None:
    config = read(run / "config.json")
    assert config["run_format"] == 1
    assert config["arguments"] == {"lr": 0.5}
    resolved = config["resolved"]
    assert (resolved["model"], resolved["parameters"]) == ("linear", 785)
    assert (resolved["epochs"], resolved["lr"], resolved["loss"]) == (5, 0.5, "mnist_loss")
    assert resolved["optimizer"] == {"name": "SGD", "momentum": 0.0, "weight_decay": 0.0}
    assert resolved["schedule"] == "flat"
    assert resolved["train"]["batch_size"] == 20
    assert resolved["train"]["shuffle"] is True
    valid = easy_set(flipped=3)
    assert config["data"]["valid"] == {
        "name": "easy",
        "images": 60,
        "classes": {"left": 29, "right": 31},
        "preparation": "mnist",
        "fingerprint": valid.fingerprint(),
    }


def test_the_environment_names_versions_and_processor(run: Path) -> None:
    environment = read(run / "environment.json")
    assert environment["python"].startswith("CPython 3.")
    assert set(environment["versions"]) == {"mnist_sgd", "numpy", "onnx", "onnxruntime", "torch"}
    assert environment["cores"] >= 1
    assert environment["processor"]
    assert "training_seconds" not in environment


def test_the_history_is_the_recorders_as_csv_and_as_json(learn: Learner, run: Path) -> None:
    recorder = learn.recorder
    with (run / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "train_loss", "valid_loss", "batch_accuracy"]
    assert [[float(value) for value in row.values()] for row in rows] == [
        [epoch, *values] for epoch, values in enumerate(recorder.values)
    ]
    with (run / "batches.csv").open(newline="") as file:
        batches = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in batches] == [
        epoch for epoch in range(5) for _ in range(10)
    ]
    assert [float(row["loss"]) for row in batches] == recorder.losses
    assert [float(row["lr"]) for row in batches] == recorder.lrs
    assert [float(row["momentum"]) for row in batches] == recorder.moms
    history = read(run / "history.json")
    assert history["batches"] == {
        "loss": recorder.losses,
        "lr": recorder.lrs,
        "momentum": recorder.moms,
    }
    assert [list(epoch.values()) for epoch in history["epochs"]] == recorder.values
    assert history["ends"] == recorder.iters


def test_the_mistakes_among_pictures_are_named_by_their_files(tmp_path: Path, run: Path) -> None:
    names = [f"{i % 2}/<{i}>.png" for i in range(60)]
    valid = replace(easy_set(flipped=3), files=names)
    write_run(learner(valid=valid), tmp_path / "first", {"lr": 0.5})
    indices = read(run / "evaluation.json")["worst_mistakes"]
    worst = read(tmp_path / "first" / "evaluation.json")["worst_mistakes"]
    assert worst == [names[i] for i in indices]
    page = (tmp_path / "first" / "report.html").read_text()
    wrong = page[page.index('id="first"') : page.index('id="looks"')]
    rows = re.findall(r'class="name">([^<]*)</span>\s*<span>is (\w+)', wrong)
    assert rows == [(escape(names[i]), valid.classes[int(valid.labels[i])]) for i in indices]
    assert "The numbers are indices" not in page


def test_the_mistakes_among_rows_of_a_file_are_numbered_as_there(tmp_path: Path, run: Path) -> None:
    """The file also has a third class, whose images come between."""
    plain = easy_set(flipped=3)
    images, labels = np.zeros((180, 28, 28), np.uint8), np.full(180, 7, np.uint8)
    images[2::3], labels[2::3] = plain.images, plain.labels
    write_idx(tmp_path / "images", images)
    write_idx(tmp_path / "labels", labels)
    files = (tmp_path / "images", tmp_path / "labels")
    of_file = load_idx_set(*files, classes=plain.classes, label_pair=(0, 1), name="easy")
    write_run(learner(valid=of_file), tmp_path / "run", {"lr": 0.5})
    indices = read(run / "evaluation.json")["worst_mistakes"]
    assert sorted(indices) == [0, 1, 2]
    found = read(tmp_path / "run" / "evaluation.json")
    assert found["worst_mistakes"] == [3 * i + 2 for i in indices]
    assert found["worst_mistakes_files"] == ["images"] * 3
    page = (tmp_path / "run" / "report.html").read_text()
    assert "The numbers are indices in images, from 0." in page
    wrong = page[page.index('id="first"') : page.index('id="looks"')]
    assert [int(n) for n in re.findall(r">no\. (\d+)</span>\s*<span>is ", wrong)] == [
        3 * i + 2 for i in indices
    ]
    assert str(tmp_path) not in page
    own = (run / "report.html").read_text()
    assert "The numbers are indices in the validation set, from 0." in own


def test_the_pictures_that_were_measured_are_listed_whatever_their_order(
    tmp_path: Path, run: Path
) -> None:
    made = easy_set()
    names = [f'{i % 2}/caf\udce9 "{i}",\n.png' for i in range(60)]
    valid = replace(made, files=names, digests=[f"{i:02x}" * 16 for i in range(60)])
    write_run(learner(valid=valid), tmp_path / "first")
    listed = read_pictures(tmp_path / "first" / "pictures.csv")
    assert listed == [(f"{i:02x}" * 8, made.classes[i % 2], name) for i, name in enumerate(names)]
    digest = read(tmp_path / "first" / "config.json")["data"]["valid"]["files"]
    assert re.fullmatch("[0-9a-f]{16}", digest)
    backwards = np.arange(60)[::-1]
    turned = replace(
        valid,
        images=255 - np.ascontiguousarray(made.images[backwards]),
        labels=np.ascontiguousarray(made.labels[backwards]).astype(np.uint8) ^ np.uint8(1),
        classes=made.classes[::-1],
        files=names[::-1],
        digests=valid.digests[::-1],
        preprocessing="fit",
    )
    assert files_digest(turned) == digest
    assert files_digest(replace(valid, classes=made.classes[::-1])) != digest
    assert not (run / "pictures.csv").exists()

    write_run(learner(), tmp_path / "first", overwrite=True)
    assert not (tmp_path / "first" / "pictures.csv").exists()


def test_the_evaluation_is_that_of_the_artifact(run: Path) -> None:
    evaluation = read(run / "evaluation.json")
    valid = easy_set(flipped=3)
    probabilities = Predictor(run / "model.onnx").probabilities(valid.images)
    wrong = (probabilities > 0.5) != (valid.labels == 1)
    assert evaluation["errors"] == 3
    assert sorted(evaluation["worst_mistakes"]) == np.flatnonzero(wrong).tolist() == [0, 1, 2]
    assert evaluation["accuracy"] == 57 / 60
    assert evaluation["artefact_bytes"] == (run / "model.onnx").stat().st_size
    assert evaluation["classes"] == ["left", "right"]


def test_every_metric_is_the_one_that_evaluate_prints(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For many images the exported model gives exactly 0, where torch does not."""
    line = "--optimizer adam --loss cross-entropy --lr 0.1 --epochs 2 --run sure"
    assert main(["train", "--model", "linear", *line.split()]) == 0
    capsys.readouterr()
    assert main(["evaluate", "runs/sure", "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    probabilities = Predictor("runs/sure/model.onnx").probabilities(mnist_sample()[1].images)
    assert np.sum(probabilities == 0) > 100
    written = read(Path("runs/sure/evaluation.json"))
    figures = set(evaluated) - {"roc", "precision_recall", "confusion", "model_threshold"}
    assert {"auc", "average_precision", "calibration", "brier_score", "counts"} <= figures
    for name in figures:
        assert written[name] == evaluated[name], name
    assert written["errors"] == evaluated["confusion"][0][1] + evaluated["confusion"][1][0]
    assert main(["compare", "runs/sure", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["runs"][0]
    assert (row["AUC"], row["accuracy"]) == (evaluated["auc"], evaluated["accuracy"])
    auc, average = f"{evaluated['auc']:.4f}", f"{evaluated['average_precision']:.4f}"
    card = Path("runs/sure/MODEL_CARD.md").read_text()
    assert f"- area under the ROC curve: {auc}\n- average precision: {average}\n" in card
    page = Path("runs/sure/report.html").read_text()
    assert f"The area under the curve is {auc};" in page
    assert f"average precision is {average};" in page


def test_figures_that_are_no_numbers_are_null(tmp_path: Path) -> None:
    learn = learner(epochs=1)
    learn.recorder.values[0][0] = float("nan")
    learn.recorder.losses[3] = float("inf")
    write_run(learn, tmp_path / "run")
    history = read(tmp_path / "run" / "history.json")
    assert history["epochs"][0]["train_loss"] is None
    assert history["batches"]["loss"][3] is None


def test_a_model_that_was_never_trained_has_a_run_too(tmp_path: Path) -> None:
    write_run(learner(epochs=0), tmp_path / "run")
    assert {"loss.svg", "learning_rate.svg"}.isdisjoint(os.listdir(tmp_path / "run" / "plots"))
    assert (
        "The model was not trained in this run." in (tmp_path / "run" / "report.html").read_text()
    )


# Which folders may be taken.


def test_a_folder_that_exists_is_refused(run: Path, learn: Learner, tmp_path: Path) -> None:
    before = contents(run)
    said = f"{run} exists; replace it (--overwrite), or choose another name"
    with pytest.raises(RunError, match=f"^{re.escape(said)}$"):
        write_run(learn, run)
    assert contents(run) == before
    folder = tmp_path / "copy"
    shutil.copytree(run, folder)
    (folder / "checkpoint.safetensors").touch()
    with pytest.raises(RunError, match="exists; resume it") as refused:
        create_run(folder)
    assert str(refused.value) == (
        f"{folder} exists; resume it (--resume), replace it (--overwrite), or choose another name"
    )
    assert create_run(folder, resume=True) == folder


@pytest.mark.parametrize("option", [None, "resume", "overwrite"])
@pytest.mark.parametrize("config", [None, "[]", "{}", '{"run_format": 2}', "no json"])
def test_a_folder_that_is_no_run_is_never_taken(
    option: str | None, config: str | None, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    before = contents(tmp_path)
    said = f"{tmp_path} exists and is not a run's folder; choose another name"
    with pytest.raises(RunError, match=f"^{re.escape(said)}$"):
        create_run(tmp_path, **({option: True} if option else {}))
    assert contents(tmp_path) == before


def test_overwriting_replaces_a_runs_files_and_leaves_others(
    learn: Learner, run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / run.name
    write_run(learner("mlp"), folder)
    (folder / "notes.txt").write_text("mine")
    (folder / "checkpoint.safetensors").write_bytes(b"old")
    write_run(learn, folder, {"lr": 0.5}, overwrite=True)
    assert contents(folder) == contents(run) | {"notes.txt": b"mine"}


def test_an_overwritten_run_is_unchanged_until_the_new_model_is_verified(
    run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / run.name
    shutil.copytree(run, folder)
    diverged = learner()
    for parameter in diverged.model.parameters():
        parameter.data.fill_(float("nan"))
    with pytest.raises(ExportError, match=r"; the trained weights are in .*not-exported\.\w+$"):
        write_run(diverged, folder, overwrite=True)
    after = contents(folder)
    assert after.pop("model-not-exported.safetensors")
    assert after == contents(run)
    write_run(learner(valid=easy_set(flipped=3)), folder, overwrite=True)
    assert set(contents(folder)) == FILES


def test_a_new_run_whose_export_fails_can_be_written_again(tmp_path: Path) -> None:
    diverged = learner()
    for parameter in diverged.model.parameters():
        parameter.data.fill_(float("nan"))
    with pytest.raises(ExportError):
        write_run(diverged, tmp_path / "run")
    write_run(learner(valid=easy_set(flipped=3)), tmp_path / "run", overwrite=True)
    assert set(contents(tmp_path / "run")) == FILES


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/tmp", "-x", "_x", "a b", "a\n", "..x"])
def test_a_name_that_is_no_folders_is_refused(name: str) -> None:
    with pytest.raises(RunError, match=r"a run's name is letters, digits, '\.', '-' and '_'"):
        run_path(name)
    assert run_path("mlp-0.1_über") == Path("runs/mlp-0.1_über")


# Crashes.


@pytest.mark.parametrize("stage", ["gather", "report_page"])
def test_a_crash_while_writing_leaves_whole_files_alone(
    stage: str, learn: Learner, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*arguments: object) -> None:
        raise RuntimeError("the power is gone")

    monkeypatch.setattr(writer, stage, crash)
    folder, whole = tmp_path / run.name, contents(run)
    with pytest.raises(RuntimeError, match="the power is gone"):
        write_run(learn, folder, {"lr": 0.5})
    left = contents(folder)
    assert {"config.json", "environment.json", "model.onnx", "model.safetensors"} <= set(left)
    assert "report.html" not in left
    assert {name: content for name, content in left.items() if whole[name] != content} == {}


def test_a_training_that_dies_leaves_its_history(tmp_path: Path, learn: Learner) -> None:
    class Dies(RunLog):
        INTERVAL = 0.0

        def after_epoch(self, learn: Learner) -> None:
            super().after_epoch(learn)
            if learn.epoch == 2:
                raise OSError("the disk is gone")

    other = learner(valid=easy_set(flipped=3), epochs=0)
    with other.no_logging(), pytest.raises(OSError, match="the disk is gone"):
        other.fit(5, lr=0.5, cbs=Dies(tmp_path, {}))
    assert sorted(contents(tmp_path)) == [
        "batches.csv",
        "config.json",
        "environment.json",
        "history.csv",
        "history.json",
    ]
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 1 + 3
    assert len(read(tmp_path / "history.json")["batches"]["loss"]) == 30


def test_a_finished_run_that_is_resumed_is_unfinished_until_its_new_end(tmp_path: Path) -> None:
    learn, folder = learner(epochs=1), tmp_path / "run"
    write_run(learn, folder)
    assert is_finished(folder)
    artifact = (folder / "model.onnx").read_bytes()

    class Looks(Callback):
        def after_batch(self, learn: Learner) -> None:
            names = set(contents(folder))
            assert names.isdisjoint({"report.html", "MODEL_CARD.md", "evaluation.json"})
            assert (folder / "model.onnx").read_bytes() == artifact
            assert not is_finished(folder)

    with learn.no_logging():
        learn.fit(1, 0.1, cbs=[RunLog(folder, {}), Looks()])
    finish_run(learn, folder, {})
    assert is_finished(folder)


def test_the_configuration_is_the_same_before_and_after_a_cycle(tmp_path: Path) -> None:
    """The cycle changes the momentum, from 0.95 to 0.85 and back."""
    learn, seen = learner(epochs=0), []
    learn.opt_func = partial(SGD, mom=0.9)

    class Looks(Callback):
        def after_batch(self, learn: Learner) -> None:
            seen.append(read(tmp_path / "config.json"))

    checkpoint = tmp_path / "c.safetensors"
    cbs = [RunLog(tmp_path, {}), Looks(), Checkpoint(checkpoint, every=4)]
    with learn.no_logging():
        learn.fit_one_cycle(1, 0.1, reset_opt=True, cbs=cbs)
    seen.append(configuration(learn, {}))
    resumed = learner(epochs=0)
    resumed.opt_func = partial(SGD, mom=0.9)
    with resumed.no_logging():
        resumed.fit_one_cycle(1, 0.1, reset_opt=True, cbs=cbs, resume=checkpoint)
    seen.append(configuration(resumed, {}))
    assert seen[0]["resolved"]["optimizer"]["momentum"] == 0.9
    assert all(json.loads(json.dumps(each)) == seen[0] for each in seen)


def test_settings_of_other_optimizers_are_told_by_the_same_names() -> None:
    learn = learner(epochs=0)
    for opt_func, expected in (
        (partial(SGD, mom=0.9, wd=0.1), {"name": "SGD", "momentum": 0.9, "weight_decay": 0.1}),
        (
            partial(torch.optim.SGD, momentum=0.5, nesterov=True),
            {"name": "SGD", "momentum": 0.5, "weight_decay": 0, "nesterov": True},
        ),
        (
            partial(torch.optim.AdamW, betas=(0.8, 0.99)),
            {"name": "AdamW", "momentum": 0.8, "weight_decay": 0.01},
        ),
        (BasicOptim, {"name": "BasicOptim", "momentum": 0.0, "weight_decay": 0.0}),
    ):
        learn.opt_func = opt_func
        with learn.no_logging():
            learn.fit(1, 0.1, reset_opt=True)
        assert configuration(learn, {})["resolved"]["optimizer"] == expected
