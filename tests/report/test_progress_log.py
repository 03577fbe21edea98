"""A run tells its progress while it trains, ends when it is asked to, and says how it ended."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnist_sgd import Callback, Learner
from mnist_sgd.cli import main
from mnist_sgd.data.pictures.outputs import is_unused
from mnist_sgd.report.progress_log import ProgressLog, last_id
from mnist_sgd.report.stop_request import StopOnRequest
from runs import contents, learner

Output = pytest.CaptureFixture[str]

MODEL = ("model.onnx", "model.safetensors")


def events(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "progress.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=pytest.fail) for line in lines]


def ended(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "exit.json").read_text())
    return found


def test_a_run_has_an_event_for_its_start_each_epoch_and_its_end(here: Path) -> None:
    assert main(["train", "--epochs", "3", "--run", "a"]) == 0
    run = here / "runs" / "a"
    found = events(run)
    assert [each["id"] for each in found] == list(range(1, len(found) + 1))
    assert [each["event"] for each in found if each["event"] != "batch"] == [
        "start",
        *["epoch"] * 3,
        "end",
    ]
    first, last = found[0], found[-1]
    assert (first["epoch"], first["batch"], first["epochs"], first["batches"]) == (0, 1, 3, 49)
    rows = json.loads((run / "history.json").read_text())["epochs"]
    names = ("train_loss", "valid_loss", "batch_accuracy")
    told = [each["metrics"] for each in found if each["event"] == "epoch"]
    assert told == [{name: row[name] for name in names} for row in rows]
    assert last["eta"] is None
    times = [each["time"] for each in found]
    assert times == sorted(times)
    assert ended(run) | {"seconds": 0, "time": 0} == {
        "state": "finished",
        "reason": "",
        "seconds": 0,
        "time": 0,
    }


def test_batches_are_told_with_their_loss_their_rate_and_the_time_that_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ProgressLog, "INTERVAL", 0.0)
    learn = learner(epochs=0)
    with learn.no_logging():
        learn.fit(2, lr=0.25, cbs=ProgressLog(tmp_path))
    batches = [each for each in events(tmp_path) if each["event"] == "batch"]
    assert [(each["epoch"], each["batch"]) for each in batches] == [
        *((0, batch) for batch in range(2, 11)),
        *((1, batch) for batch in range(1, 11)),
    ]
    losses = [loss for i, loss in enumerate(learn.recorder.losses) if i]  # the first is the start
    assert [each["loss"] for each in batches] == pytest.approx(losses)
    assert {each["lr"] for each in batches} == {0.25}
    assert all(each["eta"] >= 0 for each in batches)
    assert batches[-1]["eta"] == 0


def test_a_loss_that_is_not_a_number_is_null(tmp_path: Path) -> None:
    class Broken(Callback):
        def after_epoch(self, learn: Learner) -> None:
            learn.recorder.values[-1][0] = math.nan

    learn = learner(epochs=0)
    with learn.no_logging():
        learn.fit(1, lr=0.25, cbs=[Broken(), ProgressLog(tmp_path)])
    (epoch,) = [each for each in events(tmp_path) if each["event"] == "epoch"]
    assert epoch["metrics"]["train_loss"] is None


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        (b"", 0),
        (b'{"id": 7}\n', 7),
        (b'{"id": 7}\n{"id": 8, "event": "epoch"}\n', 8),
        (b'{"id": "8"}\n', 0),
        (b"[1]\n", 0),
        (b"\xff\n", 0),
    ],
)
def test_the_number_of_the_last_whole_line_is_found(lines: bytes, number: int) -> None:
    assert last_id(lines) == number


def test_what_a_killed_process_left_of_a_line_is_removed_and_the_numbers_go_on(
    tmp_path: Path,
) -> None:
    learn = learner(epochs=0)
    with learn.no_logging():
        learn.fit(1, lr=0.5, cbs=ProgressLog(tmp_path))
        path = tmp_path / "progress.jsonl"
        before = path.read_bytes()
        path.write_bytes(before + b'{"id": 99, "ev')
        learn.fit(1, lr=0.5, cbs=ProgressLog(tmp_path))
    assert path.read_bytes().startswith(before)
    assert [each["id"] for each in events(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_a_progress_that_cannot_be_written_does_not_stop_the_training(tmp_path: Path) -> None:
    (tmp_path / "progress.jsonl").mkdir()
    learn, log = learner(epochs=0), ProgressLog(tmp_path)
    with learn.no_logging():
        learn.fit(1, lr=0.5, cbs=log)
    assert len(learn.recorder.values) == 1
    assert isinstance(log.error, IsADirectoryError)


def asked_after(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs be asked to stop in the middle of an epoch."""

    def asked(self: StopOnRequest, learn: Learner) -> bool:
        return (learn.epoch, learn.batch) == (epoch, 20)

    monkeypatch.setattr(StopOnRequest, "_is_asked_for", asked)


def test_a_stopped_run_keeps_its_weights_and_resuming_it_gives_those_of_an_undisturbed_one(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    train = ["train", "--epochs", "4", "--model", "mlp", "--checkpoint-every", "15"]
    assert main([*train, "--run", "whole"]) == 0
    with monkeypatch.context() as patched:
        asked_after(2, patched)
        assert main([*train, "--run", "a"]) == 0
    run = here / "runs" / "a"
    assert "mnist-sgd: stopped on request in epoch 3 of 4\n" in capsys.readouterr().err
    assert ended(run)["state"] == "stopped"
    rows = json.loads((run / "history.json").read_text())["epochs"]
    assert len(rows) == 3
    assert main(["evaluate", "runs/a", "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)["accuracy"]
    assert measured == pytest.approx(rows[-1]["batch_accuracy"])  # of the weights that are kept
    assert main([*train, "--run", "a", "--resume"]) == 0
    assert ended(run)["state"] == "finished"
    for name in MODEL:
        assert (run / name).read_bytes() == (here / "runs" / "whole" / name).read_bytes()
    assert [each["event"] for each in events(run)].count("start") == 2


def test_the_file_stop_ends_a_training_and_is_gone_afterwards(here: Path) -> None:
    run = here / "runs" / "a"
    run.mkdir(parents=True)
    (run / "stop").touch()
    assert is_unused(run)
    assert main(["train", "--epochs", "50", "--run", "a"]) == 0
    assert ended(run)["state"] == "stopped"
    assert not (run / "stop").exists()
    assert len(json.loads((run / "history.json").read_text())["epochs"]) == 1


def test_a_run_that_fails_says_why(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("the disk is full\nof it")

    monkeypatch.setattr("mnist_sgd.cli.train.write_files", fail)
    assert main(["train", "--epochs", "1", "--run", "a"]) == 2
    found = ended(here / "runs" / "a")
    assert (found["state"], found["reason"]) == ("failed", "the disk is full of it")


@pytest.mark.parametrize("how", [KeyboardInterrupt, lambda: SystemExit(143)])
def test_an_interrupted_run_has_not_ended(
    how: Callable[[], BaseException], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise how()

    with monkeypatch.context() as patched:
        patched.setattr("mnist_sgd.cli.train.write_files", interrupt)
        with pytest.raises(SystemExit) if how is not KeyboardInterrupt else _nothing():
            assert main(["train", "--epochs", "1", "--run", "a", "--resume"]) == 130
    assert not (here / "runs" / "a" / "exit.json").exists()
    assert main(["train", "--epochs", "1", "--run", "a", "--resume"]) == 0
    assert ended(here / "runs" / "a")["state"] == "finished"


def _nothing() -> Any:
    from contextlib import nullcontext

    return nullcontext()


def test_a_run_that_is_refused_before_its_first_batch_leaves_an_older_one_as_it_was(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["train", "--epochs", "1", "--run", "a"]) == 0
    before = contents(here / "runs" / "a")
    monkeypatch.setattr("mnist_sgd.cli.train._fit", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["train", "--epochs", "1", "--run", "a", "--overwrite"])
    assert contents(here / "runs" / "a") == before
    shutil.rmtree(here / "runs" / "a")
    with pytest.raises(ZeroDivisionError):
        main(["train", "--epochs", "1", "--run", "a"])
    assert contents(here / "runs" / "a") == {}
