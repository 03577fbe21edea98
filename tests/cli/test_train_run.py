"""`mnist-sgd train --run NAME`: a run is named, refused, begun anew, killed and gone on with."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from mnist_sgd import Checkpoint, DistributedContext, Learner
from mnist_sgd.cli import _parser, main
from mnist_sgd.cli.program import program
from mnist_sgd.cli.training.checks import first_refusal, refuse_together
from mnist_sgd.cli.training.config import train_config
from mnist_sgd.cli.training.run_folder import create_output_folder
from mnist_sgd.report.folder import RunError
from runs import contents
from waiting import PATIENCE

Output = pytest.CaptureFixture[str]

OF_THE_PROCESS = {
    "environment.json",
    "report.html",
    "checkpoint.safetensors",
    "exit.json",
    "progress.jsonl",
}
"""The files that tell how long a training took, or the random numbers that it was started with."""


def rows(folder: Path) -> list[list[str]]:
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.reader(file))


def test_a_run_gathers_all_files_in_its_folder(here: Path, capsys: Output) -> None:
    assert main(["train", "--epochs", "2", "--run", "first"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [path.name for path in here.iterdir()] == ["runs"]
    assert [line.split()[0] for line in lines[4:]] == [
        "runs/first/model.safetensors",
        "runs/first/model.onnx",
        "runs/first/report.html",
        "correct:",
        "next:",
        program().split()[0],
    ]
    assert lines[6].endswith("B  charts, mistakes, settings: open it in a browser")
    folder = here / "runs" / "first"
    config = json.loads((folder / "config.json").read_text())
    assert config["arguments"]["name"] == "first"
    assert config["arguments"]["epochs"] == 2
    assert config["data"]["valid"]["classes"] == {"7": 1028, "3": 1010}
    assert json.loads((folder / "environment.json").read_text())["training_seconds"] > 0
    assert len(rows(folder)) == 3
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert evaluation["accuracy"] == pytest.approx(float(lines[2].split()[3]), abs=2e-6)
    assert "2,038 validation images" in (folder / "MODEL_CARD.md").read_text()

    before = contents(folder)
    assert main(["train", "--run", "first"]) == 2
    assert capsys.readouterr() == (
        "",
        "mnist-sgd: runs/first exists; replace it (--overwrite), or choose another name\n",
    )
    assert contents(folder) == before

    assert main(["train", "--epochs", "1", "--run", "first", "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["report"] == "runs/first/report.html"
    assert len(rows(folder)) == 2


FAULTY = """\
from torch import nn

class Faulty(nn.Linear):
    def __init__(self) -> None:
        super().__init__(784, 1)

    def forward(self, x):
        if self.training:
            raise {error}
        return super().forward(x)
"""
"""A model that can be exported, and fails in its first training batch."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the finished run `a`."""
    folder = tmp_path_factory.mktemp("finished")
    line = [sys.executable, "-m", "mnist_sgd", "train", "--epochs", "1", "--run", "a"]
    subprocess.run(line, cwd=folder, timeout=PATIENCE, capture_output=True, check=True)
    return folder


@pytest.fixture
def there(finished: Path, here: Path) -> Path:
    """The folder of a finished run `a`, for the current folder's `--run a`."""
    shutil.copytree(finished, here, dirs_exist_ok=True)
    return here / "runs" / "a"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--model", "out_of_memory:Faulty"], 1, "no memory left"),
        (["--model", "out_of_memory:Faulty", "--lr", "find"], 1, "no memory left"),
        (["--tensorboard", "events"], 2, "pip install tensorboard"),
        (["--drop-last", "--batch-size", "99999"], 2, "--drop-last leaves no batch: "),
    ],
)
def test_what_fails_before_the_first_batch_is_done_leaves_the_run_that_is_overwritten(
    options: list[str],
    code: int,
    message: str,
    there: Path,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("out_of_memory.py").write_text(FAULTY.format(error='RuntimeError("no memory left")'))
    monkeypatch.setattr("mnist_sgd.training.callbacks.loggers.find_spec", lambda name: None)
    before = contents(there)
    assert main(["train", "--run", "a", "--overwrite", *options]) == code
    assert message in capsys.readouterr().err
    assert contents(there) == before


def test_ctrl_c_in_the_first_batch_leaves_the_run_and_does_not_mention_its_checkpoint(
    there: Path, capsys: Output
) -> None:
    """The existing checkpoint does not belong to the interrupted training."""
    (there / "checkpoint.safetensors").write_bytes(b"of the old run")
    Path("interrupted_soon.py").write_text(FAULTY.format(error="KeyboardInterrupt"))
    before = contents(there)
    options = ["--overwrite", "--model", "interrupted_soon:Faulty", "--checkpoint-every", "5"]
    assert main(["train", "--run", "a", *options]) == 130
    assert capsys.readouterr().err == "mnist-sgd: interrupted\n"
    assert contents(there) == before


def test_a_run_that_is_overwritten_and_interrupted_says_how_to_resume_and_is_resumed(
    there: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Checkpoint, learn: Learner) -> None:
        if len(learn.recorder.lrs) == 10:
            raise KeyboardInterrupt

    line = ["train", "--epochs", "1", "--run", "a", "--checkpoint-every", "5"]
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "before_step", stop)
        assert main([*line, "--overwrite"]) == 130
    assert capsys.readouterr().err == (
        "mnist-sgd: runs/a/checkpoint.safetensors exists: the same command with --resume "
        "instead of --overwrite continues the training\nmnist-sgd: interrupted\n"
    )
    assert sorted(contents(there)) == [
        "batches.csv",
        "checkpoint.safetensors",
        "config.json",
        "environment.json",
        "history.csv",
        "history.json",
        "progress.jsonl",
    ]
    assert main([*line, "--resume"]) == 0
    assert (there / "report.html").is_file()


def test_a_finished_run_without_a_checkpoint_is_not_trained_anew_by_resume(
    there: Path, capsys: Output
) -> None:
    """Nor is one that was killed before its report was written: it has its model."""
    for gone in ("none", "report.html", "model.onnx"):
        (there / gone).unlink(missing_ok=True)
        before = contents(there)
        assert main(["train", "--epochs", "1", "--run", "a", "--resume"]) == 2
        assert capsys.readouterr() == (
            "",
            "mnist-sgd: runs/a has finished without a checkpoint, so there is nothing to resume; "
            "replace it (--overwrite), or choose another name\n",
        )
        assert contents(there) == before


def test_a_run_that_was_interrupted_before_its_first_checkpoint_begins(
    there: Path, capsys: Output
) -> None:
    for name in ("report.html", "model.onnx", "model.safetensors"):
        (there / name).unlink()
    assert main(["train", "--epochs", "1", "--run", "a", "--resume"]) == 0
    assert capsys.readouterr().err == ("mnist-sgd: no checkpoint yet; starting the training\n")
    assert (there / "report.html").is_file()


def test_a_folder_with_empty_plots_alone_is_taken_as_an_empty_one(here: Path) -> None:
    (here / "runs" / "a" / "plots").mkdir(parents=True)
    assert main(["train", "--epochs", "1", "--run", "a"]) == 0
    assert (here / "runs" / "a" / "report.html").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--overwrite", "--resume"], "--overwrite starts again and --resume continues; "),
        (
            ["--run", "a/b"],
            "--run: a run's name is letters, digits, '.', '-' and '_', a letter or digit ",
        ),
        (["--run", "a", "--out", "b"], "--run NAME puts all files into runs/NAME; leave out --out"),
        (
            ["--run", "a", "--overwrite", "--resume"],
            "--overwrite starts again and --resume continues; ",
        ),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    options: list[str], message: str, here: Path, capsys: Output
) -> None:
    assert main(["train", *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"mnist-sgd: {message}")
    assert list(here.iterdir()) == []


@dataclass(frozen=True)
class SecondRank(DistributedContext):
    """A rank that is told what the first one said."""

    said: bytes = b""

    def broadcast_bytes(self, content: bytes) -> bytes:
        assert content == b""
        return self.said


def test_every_rank_is_refused_what_the_first_is(here: Path) -> None:
    config = train_config(_parser().parse_args(["train", "--run", "a"]))
    with pytest.raises(RunError, match=r"^it exists$"):
        create_output_folder(config, SecondRank(1, 2, said=b"it exists"))
    assert create_output_folder(config, SecondRank(1, 2)) is not None
    assert list(here.iterdir()) == []


def test_what_the_first_rank_is_refused_ends_all_and_is_said_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def check() -> None:
        raise ValueError("no room in \udcff")

    with pytest.raises(ValueError, match="no room in \udcff"):
        first_refusal(check)  # alone, it need not wait
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert first_refusal(lambda: None, check) == "no room in \udcff"
    monkeypatch.setenv("RANK", "1")
    assert first_refusal(check) == ""
    with pytest.raises(SystemExit) as stop:
        refuse_together("", SecondRank(1, 2, said=b"no room in \xff"))
    assert stop.value.code == 2
    with pytest.raises(ValueError, match="no room in \udcff"):
        refuse_together("no room in \udcff", DistributedContext())
    refuse_together("", SecondRank(1, 2))


def test_two_processes_leave_one_run(here: Path) -> None:
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    # Without the "--" torchrun takes --run for one of its own options, cut short.
    line += ["-m", "--", "mnist_sgd", "train", "--epochs", "1", "--run", "both"]
    done = subprocess.run(line, timeout=PATIENCE, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    folder = here / "runs" / "both"
    assert json.loads((folder / "config.json").read_text())["resolved"]["processes"] == 2
    assert (folder / "report.html").stat().st_size > 50_000
    assert len(rows(folder)) == 2
    assert [name for name in contents(folder) if "/." in f"/{name}"] == []


KILLED = """
import os, signal, sys
from mnist_sgd.training import checkpoint
from mnist_sgd.cli import main

def write_and_die(path, content, write=checkpoint.atomic_write):
    write(path, content)
    checkpoints.append(path)
    if len(checkpoints) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

checkpoints = []
checkpoint.atomic_write = write_and_die
sys.exit(main(sys.argv[1:]))
"""
"""The command, killed when it has written its third checkpoint."""


def test_a_killed_run_goes_on_to_the_undisturbed_runs_files(here: Path, capsys: Output) -> None:
    arguments = ["train", "--epochs", "5", "--checkpoint-every", "60", "--run"]
    assert main([*arguments, "undisturbed"]) == 0
    line = [sys.executable, "-c", KILLED, *arguments, "killed"]
    folder = here / "runs" / "killed"
    done = subprocess.run(line, timeout=PATIENCE, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    left = contents(folder)
    assert {"config.json", "environment.json", "history.json", "history.csv"} <= set(left)
    assert "report.html" not in left
    assert json.loads(left["history.json"])["batches"].keys() == {"loss", "lr", "momentum"}

    capsys.readouterr()
    assert main([*arguments, "killed", "--resume"]) == 0
    assert "resuming in epoch" in capsys.readouterr().err
    expected, given = contents(here / "runs" / "undisturbed"), contents(folder)
    assert set(given) == set(expected)
    different = {name for name in given if given[name] != expected[name]} - OF_THE_PROCESS
    assert different == {"config.json", "MODEL_CARD.md"}  # they have the name and the arguments
    for name in different:
        text = re.sub(rb"killed|undisturbed", b"", given[name]).replace(b"true", b"false")
        assert text == re.sub(rb"killed|undisturbed", b"", expected[name]).replace(
            b"true", b"false"
        )
