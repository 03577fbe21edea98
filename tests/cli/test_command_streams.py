"""A command does its work whatever its streams are, and whatever the files are named."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, cast

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image

from mnist_sgd._names import printable
from mnist_sgd.cli import main
from mnist_sgd.cli.terminal import usable_streams
from mnist_sgd.data import mnist_sample, sample_digits
from trained import TrainedFiles
from waiting import PATIENCE

ODD = os.fsdecode(b"caf\xe9 \x1b[31m\n.png")
"""A name that is not UTF-8 and would turn a terminal red."""

SHOWN = "caf\\xe9 \\x1b[31m\\n.png"


@pytest.fixture(scope="module")
def odd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits to train and to validate with; the first three to validate is a seven, oddly named."""
    folder = tmp_path_factory.mktemp("odd") / "digits"
    images = mnist_sample()[0]
    for label, name in enumerate(images.classes):
        rows = np.flatnonzero(images.labels == label)
        for part, chosen in (("train", rows[:40]), ("valid", rows[40:60])):
            (folder / part / name).mkdir(parents=True)
            for row in chosen.tolist():
                Image.fromarray(images.images[row]).save(folder / part / name / f"{row}.png")
    seven = next((folder / "valid" / "7").iterdir())
    seven.rename(folder / "valid" / "3" / ODD)
    return folder


@contextmanager
def streams(stdout: object, stderr: object) -> Iterator[None]:
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = cast(TextIO, stdout), cast(TextIO, stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class WriteOnly:
    """A stream as a program that embeds Python may have it: no isatty, no flush, no encoding."""

    def __init__(self, encoding: str = "ascii") -> None:
        self.codec = encoding
        self.text = ""

    def write(self, text: str) -> None:
        text.encode(self.codec)
        self.text += text


def shell(redirection: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command with some of its streams closed or full."""
    script = f'exec "$@" {redirection}'
    line = ["bash", "-c", script, "bash", sys.executable, "-m", "mnist_sgd", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.mark.parametrize(
    ("redirection", "stdout", "stderr"),
    [
        (">&-", False, True),
        ("2>&-", True, False),
        ("<&- >&- 2>&-", False, False),
        ("2>/dev/full", True, False),
    ],
)
def test_a_closed_stream_changes_nothing_but_what_is_seen(
    redirection: str, stdout: bool, stderr: bool, trained: TrainedFiles
) -> None:
    three = sample_digits()[-1]
    model = ("--model", trained.artifact)
    done = shell(redirection, "predict", "none.png", three, *model)
    assert done.returncode == 2
    assert done.stdout == (f"{three}  3  99.9 %\n" if stdout else "")
    assert done.stderr == ("mnist-sgd: none.png: No such file or directory\n" if stderr else "")


def test_a_training_that_nobody_can_hear_leaves_its_files(odd_folder: Path, tmp_path: Path) -> None:
    train = ("train", "--data", odd_folder, "--model", "linear", "--epochs", "1")
    done = shell("<&- >&- 2>&-", *train, "--out", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "model.safetensors"}


def test_a_full_disk_is_said_in_one_line(trained: TrainedFiles) -> None:
    done = shell(">/dev/full", "inspect", trained.artifact)
    message = "mnist-sgd: [Errno 28] No space left on device: 'standard output'\n"
    assert (done.returncode, done.stderr) == (2, message)


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["train", "--help"]])
def test_the_help_and_the_version_are_output_like_any(arguments: list[str]) -> None:
    line = [sys.executable, "-m", "mnist_sgd", *arguments]
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as unread:
        done = subprocess.run(line, stdout=unread, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")  # as after `| head`
    done = shell(">/dev/full", *arguments)
    message = "mnist-sgd: [Errno 28] No space left on device: 'standard output'\n"
    assert (done.returncode, done.stderr) == (2, message)
    done = shell(">&-", *arguments)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("make", [lambda: None, WriteOnly], ids=["none", "write only"])
def test_streams_that_are_missing_or_bare_will_do(make: type, trained: TrainedFiles) -> None:
    out, err = make(), make()
    with streams(out, err):
        assert main(["evaluate", str(trained.artifact)]) == 0
        assert main(["inspect", "größer.onnx"]) == 2
        assert (sys.stdout, sys.stderr) == (out, err)
    if out is not None:
        assert "1,971 of 2,038 correct" in out.text
        assert (
            err.text == "mnist-sgd: gr\\xf6\\xdfer.onnx cannot be read: No such file or directory\n"
        )


def test_a_stream_that_was_closed_in_python_will_do(trained: TrainedFiles) -> None:
    closed = io.StringIO()
    closed.close()
    with streams(closed, closed):
        assert main(["inspect", str(trained.artifact)]) == 0


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252", "cp437"])
@given(text=st.text())
def test_any_text_is_written_to_any_encoding(encoding: str, text: str) -> None:
    raw = io.BytesIO()
    out, bare = io.TextIOWrapper(raw, encoding=encoding, newline=""), WriteOnly(encoding)
    with streams(out, bare), usable_streams():
        print(text, end="", flush=True)
        print(text, end="", file=sys.stderr, flush=True)
    expected = text.encode(encoding, "backslashreplace")
    assert raw.getvalue() == expected


@given(st.text())
def test_a_name_on_a_line_gives_a_terminal_no_orders(text: str) -> None:
    shown = printable(text)
    shown.encode()
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in shown)
    assert len(shown.splitlines()) <= 1
    assert printable(shown) == shown
    assert shown == text or shown.encode("ascii", "ignore").count(b"\\") > 0


def test_names_of_every_language_are_shown_as_they_are() -> None:
    for name in ("größer.png", "猫.png", "שלום", "👩‍👧.png", "می‌خواهم", "a  b\\n.png"):
        assert printable(name) == name
    assert printable("a\u202egnp.exe") == "a\\u202egnp.exe"


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii"])
def test_predict_names_every_file_of_a_folder(
    encoding: str,
    odd_folder: Path,
    trained: TrainedFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    (odd_folder.parent / "猫.png").write_bytes(b"no picture")
    model = ("--model", trained.artifact)
    done = shell("", "predict", odd_folder.parent, *model)
    assert done.returncode == 2
    lines = done.stdout.splitlines()
    assert len(lines) == 120
    assert sum(f"3/{SHOWN}" in line for line in lines) == 1
    cat = "猫" if encoding == "utf-8:strict" else "\\u732b"
    assert done.stderr.startswith(f"mnist-sgd: {odd_folder.parent}/{cat}.png: these 10 bytes are ")

    done = shell("", "predict", odd_folder, *model, "--json")
    names = {json.loads(line)["file"] for line in done.stdout.splitlines()}
    assert done.returncode == 0
    assert str(odd_folder / "valid" / "3" / ODD) in names
    assert len(names) == 120


def test_an_error_shows_what_the_name_has_without_obeying_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["inspect", "\x1b]0;title\x07.onnx"]) == 2
    assert capsys.readouterr() == (
        "",
        "mnist-sgd: \\x1b]0;title\\x07.onnx cannot be read: No such file or directory\n",
    )
    with pytest.raises(SystemExit):
        main(["\x1b[31m"])
    assert "\x1b" not in capsys.readouterr().err


def test_a_run_with_such_a_file_among_its_mistakes_is_whole(
    odd_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    data = ["--data", str(odd_folder)]
    assert main(["train", *data, "--model", "linear", "--epochs", "2", "--run", "odd"]) == 0
    run = tmp_path / "runs" / "odd"
    evaluation = json.loads((run / "evaluation.json").read_bytes())
    assert f"valid/3/{ODD}" in evaluation["worst_mistakes"]
    page = (run / "report.html").read_bytes().decode()
    assert "caf\ufffd \ufffd[31m\n.png" in page
    rows = (run / "pictures.csv").read_bytes().decode(errors="surrogateescape")
    assert f"valid/3/{ODD}" in [row["file"] for row in csv.DictReader(io.StringIO(rows))]

    capsys.readouterr()
    other = tmp_path / os.fsdecode(b"runs/\xe9\x1b[0m")
    run.rename(other)
    path, name = printable(str(other)), "\\xe9\\x1b[0m"
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii", newline="")
    with streams(out, sys.stderr):
        assert main(["evaluate", str(other), *data, "--mistakes"]) == 0
        assert main(["pack", str(odd_folder), str(tmp_path / "\x1bpacked")]) == 0
        assert main(["compare", str(other), "--html", str(tmp_path / "c\x1b.html")]) == 0
        assert main(["inspect", str(other)]) == 0
    text = raw.getvalue().decode("ascii")
    assert "\x1b" not in text
    assert f"  {odd_folder}/valid/3/{SHOWN}\n" in text
    assert f"{path}/model.onnx: " in text
    assert f"\n{name}  linear " in text
    assert "\\x1bpacked/valid: 40 images" in text
    assert "\ufffd\ufffd[0m</th>" in (tmp_path / "c\x1b.html").read_bytes().decode()


@pytest.mark.parametrize(("encoding", "block"), [("utf-8", "█"), ("ascii", "#")])
def test_the_progress_is_drawn_with_what_the_terminal_can_show(
    encoding: str, block: str, odd_folder: Path, tmp_path: Path
) -> None:
    terminal, end = os.openpty()
    line = [sys.executable, "-m", "mnist_sgd", "pack", str(odd_folder), str(tmp_path / "packed")]
    line += ["--cache", str(tmp_path / "cache")]  # so that they are read
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    subprocess.run(line, env=environment, stderr=end, stdout=subprocess.DEVNULL, check=True)
    os.close(end)
    shown = os.read(terminal, 10_000).decode()
    os.close(terminal)
    assert re.search(rf"\|{block}+-*\| \d+ of 120 files\r", shown)
