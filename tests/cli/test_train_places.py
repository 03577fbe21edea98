"""A place that cannot be written to is found before the first batch, and the file is named."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_sgd import Learner
from mnist_sgd.cli import _parser, main
from mnist_sgd.cli.training.checks import check_places
from mnist_sgd.cli.training.config import train_config
from waiting import PATIENCE

Output = pytest.CaptureFixture[str]


@pytest.fixture
def here(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder; a training that began in it would fail the test."""

    def begun(*arguments: object, **options: object) -> None:
        pytest.fail("the training has begun")

    monkeypatch.setattr(Learner, "fit", begun)
    return here


def unprivileged(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command, as somebody whom permissions stop; root is passed over otherwise."""
    line = [sys.executable, "-m", "mnist_sgd", *arguments]
    if os.geteuid() == 0:
        rights = "-dac_override,-dac_read_search"
        line = ["setpriv", "--bounding-set", rights, "--inh-caps", rights, *line]
        if shutil.which("setpriv") is None:
            pytest.skip("root may write everywhere, and there is no setpriv")
    return subprocess.run(
        line, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--out", "ro"],
            "ro/model.onnx cannot be written: Permission denied; choose another folder with "
            "--out DIR",
        ),
        (
            ["--out", "ro/new/folder"],
            "ro/new/folder/model.onnx cannot be written: ro: Permission denied; choose another "
            "folder with --out DIR",
        ),
        (
            ["--csv", "ro/h.csv"],
            "ro/h.csv cannot be written: Permission denied; choose another file with --csv FILE",
        ),
        (
            ["--tensorboard", "ro/events"],
            "ro/events cannot be written: ro: Permission denied; choose another folder with "
            "--tensorboard DIR",
        ),
    ],
)
def test_a_folder_that_is_read_only_is_found_first(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "ro").mkdir(mode=0o555)
    done = unprivileged("train", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"mnist-sgd: {message}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [],
            "model.onnx cannot be written: Permission denied; choose another folder with --out DIR",
        ),
        (
            ["--run", "first"],
            "runs/first cannot be written: .: Permission denied; start in another folder, or give "
            "--out DIR instead of --run NAME",
        ),
    ],
)
def test_a_current_folder_that_is_read_only_is_found_first(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "ro"
    folder.mkdir(mode=0o555)
    done = unprivileged("train", *arguments, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"mnist-sgd: {message}\n"


LONG = "x" * 250
"""A name that the system allows; that of the temporary file would be too long."""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "pipe"], "pipe/model.onnx cannot be written: it is a pipe or a device, not "),
        (["--out", "out"], "out/model.safetensors cannot be written: it is a pipe or a device, "),
        (["--run", "p", "--resume"], "runs/p/report.html cannot be written: it is a pipe or a "),
        (["--out", "folders"], "folders/model.onnx cannot be written: it is a folder; "),
        (["--out", "folders/b"], "folders/b/model.safetensors cannot be written: it is a folder; "),
        (
            ["--out", "folders/c", "--resume"],
            "folders/c/checkpoint.safetensors cannot be written: it is a folder; ",
        ),
        (["--out", "file"], "file/model.onnx cannot be written: file: it is not a folder; "),
        (["--out", "gone"], "gone/model.onnx cannot be written: gone: it is not a folder; "),
        (["--csv", "folders"], "folders cannot be written: it is a folder; "),
        (["--csv", LONG], f"{LONG} cannot be written: File name too long; "),
        (["--csv", "lost"], "lost cannot be written: "),
        (["--csv", "runs/c/history.csv"], "runs/c/history.csv belongs to the run runs/c; choose "),
        (
            ["--csv", "words"],
            "words exists and is not the table of an earlier training; choose ",
        ),
        (["--csv", "file/h.csv"], "file/h.csv cannot be written: file: it is not a folder; "),
        (["--tensorboard", "file"], "file cannot be written: it is not a folder; "),
        (
            ["--run", "a", "--resume"],
            "runs/a/plots cannot be written: it is not a folder; ",
        ),
        (
            ["--run", "b", "--resume"],
            "runs/b/report.html cannot be written: it is a folder; ",
        ),
    ],
)
def test_what_is_in_the_way_of_a_file_is_found_first(
    arguments: list[str], message: str, here: Path, capsys: Output
) -> None:
    """So is a pipe: reading the earlier file, or verifying the new one, would never end."""
    for folder in ("model.onnx", "b/model.safetensors", "c/checkpoint.safetensors"):
        (here / "folders" / folder).mkdir(parents=True)
    (here / "runs/a").mkdir(parents=True)
    (here / "runs/a/plots").touch()
    (here / "runs/b/report.html").mkdir(parents=True)
    for folder, pipe in (("pipe", "model.onnx"), ("runs/p", "report.html")):
        (here / folder).mkdir()
        os.mkfifo(here / folder / pipe)
    (here / "runs" / "c").mkdir()
    (here / "runs" / "c" / "config.json").write_text('{"run_format": 1}')
    (here / "out").mkdir()
    (here / "out" / "model.safetensors").symlink_to("/dev/stdout")
    (here / "file").touch()
    (here / "words").write_text("precious")
    (here / "gone").symlink_to(here / "nowhere")
    (here / "lost").symlink_to(here / "file" / "h.csv")
    before = sorted(here.rglob("*"))
    assert main(["train", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"mnist-sgd: {message}")
    assert err.count("\n") == 1
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize("file", ["/dev/null", "pipe", "link", "replaced"])
def test_a_place_that_can_be_written_to_is_accepted_and_left_alone(file: str, here: Path) -> None:
    os.mkfifo("pipe")
    (here / "far").mkdir()
    (here / "link").symlink_to("far/history.csv")
    (here / "replaced").touch(mode=0o444)
    before = sorted(here.rglob("*"))
    check_places(train_config(_parser().parse_args(["train", "--csv", file])))
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize("arguments", [["--out", "new/folder"], ["--run", "new"]])
def test_a_place_that_is_checked_is_left_as_it_was(
    arguments: list[str], here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong with the data comes after it, and must find nothing made yet."""
    assert main(["train", *arguments, "--csv", "logs/h.csv", "--data", "none"]) == 2
    assert "none" in capsys.readouterr().err
    assert list(here.iterdir()) == []
