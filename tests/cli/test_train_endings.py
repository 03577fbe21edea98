"""However the output of a training or its process ends, files are whole, and the exit code true."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mnist_sgd import Checkpoint, Learner
from mnist_sgd._files import atomic_write
from mnist_sgd.cli import main
from mnist_sgd.cli.training.terminal import Table
from mnist_sgd.export import exporter
from mnist_sgd.models.weights import read_weights
from mnist_sgd.report import writer
from mnist_sgd_serve import Predictor
from runs import contents
from trained import TrainedFiles
from waiting import PATIENCE

Output = pytest.CaptureFixture[str]

TRAIN = ["train", "--epochs", "1"]
FILES = ["model.onnx", "model.safetensors"]


def check_files(folder: Path) -> None:
    assert sorted(contents(folder)) == FILES
    assert Predictor(folder / "model.onnx").metadata.metrics["images"] == 2038


def shell(ending: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a shell, with an ending of its line."""
    line = f'"$0" -m mnist_sgd {" ".join(TRAIN)} {ending}'
    return subprocess.run(
        ["bash", "-c", line, sys.executable],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_a_reader_that_leaves_in_the_middle_of_the_table_costs_nothing(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "mnist_sgd", "train", "--epochs", "40"]
    with subprocess.Popen(
        line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("epoch")
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE) == 0
    check_files(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_table_that_is_lost_on_a_full_disk_is_said_and_the_files_are_written(
    tmp_path: Path,
) -> None:
    done = shell("> /dev/full", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "mnist-sgd: all files are written, but not the whole table: [Errno 28] No space left on "
    )
    assert done.stderr.count("\n") == 1
    check_files(tmp_path)


@pytest.mark.parametrize("ending", [">&-", "2>&-", "--json <&- >&- 2>&-"])
def test_closed_streams_cost_nothing(ending: str, tmp_path: Path) -> None:
    done = shell(ending, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) == (ending == "2>&-")
    check_files(tmp_path)


def test_a_name_that_the_encoding_lacks_costs_nothing(tmp_path: Path) -> None:
    done = shell("--out 猫", tmp_path, PYTHONIOENCODING="cp1252", LC_ALL="C.UTF-8")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u732b/model.onnx" in done.stdout
    check_files(tmp_path / "猫")


def test_after_a_line_that_failed_no_other_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a table has no hole in it, should the stream work again."""

    class Stream:
        def __init__(self) -> None:
            self.text = ""
            self.error: OSError | None = OSError(5, "Input/output error")

        def write(self, text: str) -> int:
            if self.error is not None:
                raise self.error
            self.text += text
            return len(text)

        def flush(self) -> None:
            """Nothing is kept back."""

    stream, table = Stream(), Table()
    monkeypatch.setattr(sys, "stdout", stream)
    table("lost")
    stream.error = None
    table("late")
    assert stream.text == ""
    assert (str(table.error), table.exit_code) == ("[Errno 5] Input/output error", 1)


# Signals come when a file is half written. Those of a training that runs are in test_distributed.


def killed_in_the_export(number: int, patch: pytest.MonkeyPatch) -> None:
    def half(*arguments: object) -> None:
        path = arguments[1]
        assert isinstance(path, Path)
        path.write_bytes(b"half a model")
        os.kill(os.getpid(), number)

    patch.setitem(exporter._FORMATS, ".onnx", replace(exporter._FORMATS[".onnx"], write=half))


def killed_in_the_report(number: int, patch: pytest.MonkeyPatch) -> None:
    def half(path: Path, content: bytes) -> None:
        atomic_write(path, content)
        if path.name == "MODEL_CARD.md":
            os.kill(os.getpid(), number)

    patch.setattr(writer, "atomic_write", half)


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGINT, killed_in_the_export),
        (signal.SIGTERM, killed_in_the_export),
        (signal.SIGHUP, killed_in_the_export),
        (signal.SIGTERM, killed_in_the_report),
    ],
)
def test_a_signal_leaves_no_half_written_file_and_is_said(
    number: signal.Signals,
    moment: Callable[[int, pytest.MonkeyPatch], None],
    tmp_path: Path,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    moment(number, monkeypatch)
    before = [signal.getsignal(each) for each in signal.Signals]
    try:
        code = main([*TRAIN, *(["--run", "a"] if moment is killed_in_the_report else [])])
    except SystemExit as stop:
        assert isinstance(stop.code, int)
        code = stop.code
    assert code == 128 + number
    said = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
    assert capsys.readouterr().err == f"mnist-sgd: {said}\n"
    assert [signal.getsignal(each) for each in signal.Signals] == before
    left = contents(tmp_path)
    assert [name for name in left if "/." in f"/{name}"] == []
    assert ("model.safetensors" in left) == (moment is killed_in_the_export)
    assert "model.onnx" not in left
    assert "runs/a/report.html" not in left


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_checkpoint_that_is_there_is_said(
    number: signal.Signals, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    killed_in_the_export(number, monkeypatch)
    try:
        main([*TRAIN, "--checkpoint-every", "100"])
    except SystemExit:
        assert number == signal.SIGTERM
    kept = "checkpoint.safetensors exists: the same command with --resume continues the training"
    assert capsys.readouterr().err == (
        f"mnist-sgd: ended by SIGTERM; {kept}\n"
        if number == signal.SIGTERM
        else f"mnist-sgd: {kept}\nmnist-sgd: interrupted\n"
    )
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert main([*TRAIN, "--checkpoint-every", "100", "--resume"]) == 0
    assert "the training is complete" in capsys.readouterr().err


# A training whose model cannot be exported, and one whose logs cannot be written.


DIVERGES = [
    "train",
    "--loss",
    "cross-entropy",
    "--lr",
    "1e38",
    "--momentum",
    "0.99",
    "--epochs",
    "2",
]


def test_a_training_whose_export_fails_keeps_its_weights_and_leaves_the_older_pair(
    trained: TrainedFiles, tmp_path: Path, capsys: Output
) -> None:
    for path in (trained.artifact, trained.weights):
        shutil.copy(path, tmp_path)
    (tmp_path / "model.safetensors").chmod(0o640)
    before = contents(tmp_path)
    for _ in range(2):
        assert main([*DIVERGES, "--out", str(tmp_path)]) == 1
        assert capsys.readouterr().err == (
            f"mnist-sgd: {tmp_path}/model.onnx was not written: for 2,038 of 2,038 images the "
            "model predicts nan, as after a training that diverged; train with a smaller learning "
            f"rate; the trained weights are in {tmp_path}/model-not-exported.safetensors\n"
        )
    after = contents(tmp_path)
    kept = after.pop("model-not-exported.safetensors")
    assert after == before
    assert kept != before["model.safetensors"]
    assert read_weights(tmp_path / "model-not-exported.safetensors")[1].classes == ("7", "3")

    assert main(["train", "--epochs", "1", "--out", str(tmp_path)]) == 0
    check_files(tmp_path)
    assert contents(tmp_path).keys() == before.keys()
    assert contents(tmp_path)["model.safetensors"] != before["model.safetensors"]
    assert stat.S_IMODE((tmp_path / "model.safetensors").stat().st_mode) == 0o640


def test_where_there_is_no_older_model_the_weights_have_their_own_name(
    tmp_path: Path, capsys: Output
) -> None:
    assert main([*DIVERGES, "--out", str(tmp_path)]) == 1
    end = f"the trained weights are in {tmp_path}/model.safetensors\n"
    assert capsys.readouterr().err.endswith(end)
    assert list(contents(tmp_path)) == ["model.safetensors"]


def test_a_signal_in_the_export_leaves_the_older_pair_and_names_the_new_weights(
    trained: TrainedFiles, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (trained.artifact, trained.weights):
        shutil.copy(path, tmp_path)
    before = contents(tmp_path)
    killed_in_the_export(signal.SIGINT, monkeypatch)
    monkeypatch.chdir(tmp_path)
    assert main(TRAIN) == 130
    assert capsys.readouterr().err == (
        "mnist-sgd: the trained weights are in model-not-exported.safetensors; the earlier model "
        "is unchanged\nmnist-sgd: interrupted\n"
    )
    after = contents(tmp_path)
    assert after.pop("model-not-exported.safetensors") != before["model.safetensors"]
    assert after == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_table_in_a_file_that_is_lost_is_said_and_all_else_is_written(
    tmp_path: Path, capsys: Output
) -> None:
    options = ["--csv", "/dev/full", "--out", str(tmp_path)]
    assert main(["train", "--epochs", "3", *options]) == 2
    out, err = capsys.readouterr()
    assert out.splitlines()[3].startswith("2    ")
    assert err == (
        "mnist-sgd: /dev/full is incomplete: No space left on device; all other files are written\n"
    )
    check_files(tmp_path)


def test_a_table_that_becomes_writable_is_complete_in_the_end(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each epoch writes the whole table again."""
    table = tmp_path / "history.csv"

    def disturb(self: Checkpoint, learn: Learner) -> None:
        if learn.epoch == 0:
            table.mkdir()
        elif table.is_dir():
            table.rmdir()

    monkeypatch.setattr(Checkpoint, "before_epoch", disturb)
    options = ["--epochs", "3", "--csv", str(table), "--checkpoint-every", "99"]
    assert main(["train", *options, "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err == ""
    assert len(table.read_text().splitlines()) == 4


def test_events_that_cannot_be_written_do_not_end_the_training(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="pip install tensorboard")
    line = 'ulimit -f 24; "$0" -m mnist_sgd train --epochs 12 --tensorboard events'
    done = subprocess.run(
        ["bash", "-c", line, sys.executable],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "mnist-sgd: events is incomplete: File too large; all other files are written\n"
    )
    assert done.stdout.splitlines()[12].startswith("11   ")
    (tmp_path / "events").rename(tmp_path.parent / "events")
    check_files(tmp_path)


IN_THE_WAY = """\
from pathlib import Path
from torch import nn

class Linear(nn.Linear):
    def __init__(self) -> None:
        super().__init__(784, 1)

    def forward(self, x):
        if self.training:
            Path("runs/a/history.json").mkdir(parents=True, exist_ok=True)
        return super().forward(x)
"""


def test_the_history_of_a_run_that_cannot_be_written_ends_neither_training_nor_report(
    here: Path, capsys: Output
) -> None:
    (here / "in_the_way.py").write_text(IN_THE_WAY)
    assert main([*TRAIN, "--model", "in_the_way:Linear", "--run", "a"]) == 2
    assert capsys.readouterr().err == (
        "mnist-sgd: [Errno 21] Is a directory: 'runs/a/history.json'\n"
    )
    left = contents(here / "runs" / "a")
    assert {"model.onnx", "model.safetensors", "evaluation.json", "report.html"} <= set(left)


def test_a_training_that_fails_names_the_logs_that_lack_something(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in_the_way_too.py").write_text(IN_THE_WAY)
    monkeypatch.chdir(tmp_path)

    def stop(self: Checkpoint, learn: Learner) -> None:
        raise RuntimeError("the machine is gone")

    monkeypatch.setattr(Checkpoint, "after_epoch", stop)
    options = ["--model", "in_the_way_too:Linear", "--run", "a", "--checkpoint-every", "9"]
    assert main([*TRAIN, *options]) == 1
    assert capsys.readouterr().err.splitlines()[0] == (
        "mnist-sgd: runs/a/history.json is incomplete: Is a directory"
    )


def test_a_hangup_that_is_ignored_stays_so(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under nohup."""
    killed_in_the_report(signal.SIGHUP, monkeypatch)
    monkeypatch.chdir(tmp_path)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert main([*TRAIN, "--run", "a"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (tmp_path / "runs" / "a" / "report.html").is_file()
