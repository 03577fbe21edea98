"""Every command of docs/own_images.md does what the guide says, in its order."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from idx_files import write_part
from mnist_sgd.cli import main
from mnist_sgd.cli.training import recipes
from pictures import fill, stroke
from waiting import PATIENCE

GUIDE = Path(__file__).parents[2] / "docs" / "own_images.md"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def preprocessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the guide takes for granted: folders, two new pictures, and IDX files."""
    fill(tmp_path / "photos", {"cat": 40, "dog": 40})
    fill(tmp_path / "unseen", {"cat": 2, "dog": 2}, start=800)
    for number in (1, 2):
        stroke(900 + number).save(tmp_path / f"new-{number}.jpg")
    random = np.random.default_rng(3)
    for part, count in (("train", 60), ("t10k", 20)):
        images = random.integers(0, 256, (count, 28, 28), np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        write_part(tmp_path / "idx", part, images, labels, ".gz")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_every_command_of_the_guide_runs(
    preprocessed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fewer steps than a user's small folder gets: what they achieve is tested elsewhere."""
    monkeypatch.setattr(recipes, "LEAST_STEPS", 1)
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines]
    assert len(commands) == 10
    assert {words[0] for words in commands} == {"mnist-sgd"}
    for words in commands:
        if words[1] != "serve":  # it would not end; test_cli starts it
            assert main([str(Path(word).expanduser()) for word in words[1:]]) == 0, words
            said = capsys.readouterr().err.splitlines()
            assert len(said) == (2 if words[1] == "train" else 0)  # what it found, and its plan
    assert (preprocessed / "packed" / "set.json").is_file()
    assert (preprocessed / ".cache" / "mnist_sgd").is_dir()


def test_the_python_of_the_guide_runs(preprocessed: Path) -> None:
    (text,) = blocks("python")
    names: dict[str, object] = {}
    exec(text, names)
    assert "dls" in names


@pytest.mark.parametrize("way", ["a file", "standard input", "-c"])
def test_the_python_of_the_guide_runs_as_a_program_of_its_own(preprocessed: Path, way: str) -> None:
    """Its 80 pictures are more than one process takes at once, so that others help."""
    (text,) = blocks("python")
    (preprocessed / "program.py").write_text(text)
    line = [sys.executable, *{"a file": ["program.py"], "-c": ["-c", text]}.get(way, ["-"])]
    done = subprocess.run(
        line, input=text, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "40 of 40 cat and 40 of 40 dog look like drawn characters\n\n"
    manifest = preprocessed / "photos" / ".mnist_sgd" / "mnist" / "manifest.json"
    assert manifest.read_text().count(".png") == 80


LOADING = {
    "load_all": "assert len(load_all('photos', workers=3)) == 80",
    "pack_folder": "assert len(pack_folder('photos', 'packed', workers=3)[0]) == 80",
}


@pytest.mark.parametrize("name", LOADING)
def test_other_functions_that_read_pictures_need_no_guard_either(
    preprocessed: Path, name: str
) -> None:
    (preprocessed / "program.py").write_text(
        f"from mnist_sgd.data import {name}\n{LOADING[name]}\n"
    )
    line = [sys.executable, "program.py"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
