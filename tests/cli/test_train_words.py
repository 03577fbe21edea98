"""`train` says first what it found and does; at the end how good the model is, and what is next."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from guides import ROOT, blocks
from idx_files import write_part
from mnist_sgd.cli import main
from mnist_sgd.cli.program import program
from mnist_sgd.cli.terminal import say
from mnist_sgd.cli.training.validation import Validation
from mnist_sgd.data import ImageSet, load_data
from mnist_sgd_serve import Predictor
from pictures import fill
from runs import easy_set, learner
from trained import TrainedFiles

Output = pytest.CaptureFixture[str]

TRAIN = ["train", "--model", "linear", "--epochs", "1"]


@pytest.fixture
def icons(here: Path) -> Path:
    """A folder of pictures in the current one."""
    fill(here / "icons", {"phone": 30, "umbrella": 31})
    return Path("icons")


def said(arguments: list[str], capsys: Output) -> list[str]:
    assert main([*TRAIN, *arguments]) == 0
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("options", "plan"),
    [
        (
            [],
            "it gives the probability of umbrella (--positive phone for the other). Pictures "
            "preprocessed as drawn characters (--preprocess mnist): 30 of 30 phone "
            "and 31 of 31 umbrella "
            "look like drawn characters; for whole pictures: --preprocess fit.",
        ),
        (
            ["--preprocess", "mnist", "--positive", "phone"],
            "it gives the probability of phone. Pictures preprocessed as drawn characters "
            "(--preprocess mnist).",
        ),
        (
            ["--preprocess", "fit", "--classes", "phone", "umbrella"],
            "it gives the probability of umbrella. Pictures shown whole, in their proportions "
            "(--preprocess fit).",
        ),
        (
            ["--preprocess", "stretch", "--positive", "umbrella"],
            "it gives the probability of umbrella. Pictures shown whole, stretched to a square "
            "(--preprocess stretch).",
        ),
    ],
)
def test_of_a_folder_it_says_first_what_it_found_and_what_it_does(
    options: list[str], plan: str, icons: Path, capsys: Output
) -> None:
    data = load_data(icons)
    counts = "31 umbrella, 30 phone" if "phone." in plan else "30 phone, 31 umbrella"
    found = f"{len(data.train)} to train, {len(data.valid)} to validate."
    assert said(["--data", "icons", *options], capsys) == [
        f"mnist-sgd: icons: 61 pictures, {counts}; {found}",
        f"mnist-sgd: Model: linear, 1 epoch; {plan}",
    ]


def test_it_says_first_what_it_found_in_idx_files_too(here: Path, capsys: Output) -> None:
    for part, count in (("train", 1200), ("t10k", 50)):
        images = easy_set(count)
        write_part(here / "idx", part, images.images, images.labels)
    assert said(["--data", "idx"], capsys) == [
        "mnist-sgd: idx: 1,250 images, 625 0, 625 1; 1,200 to train, 50 to validate.",
        "mnist-sgd: Model: linear, 1 epoch; it gives the probability of 1 (--positive 0 for the "
        "other). These images are used as they are; pictures to predict are preprocessed as drawn "
        "characters (--preprocess mnist); for whole pictures: --preprocess fit.",
    ]


def test_a_program_gets_json_alone_and_the_main_job_says_nothing_more(
    icons: Path, capsys: Output
) -> None:
    assert main([*TRAIN, "--data", "icons", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    facts = json.loads(out)
    assert facts["validation"]["images"] == len(load_data(icons).valid)
    assert said(["--out", "chapter"], capsys) == []


def test_only_the_first_rank_prints_messages(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        say(f"said by {rank}")
    assert capsys.readouterr().err == "mnist-sgd: said by 0\n"


@pytest.mark.parametrize("name", ["RANK", "WORLD_SIZE"])
def test_a_training_alone_checks_and_says_all_whatever_one_variable_says(
    name: str, icons: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchrun sets both variables; one alone is a leftover of something else."""
    for each in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, "3")
    assert main([*TRAIN]) == 0
    before = (tmp_path / "model.onnx").read_bytes()
    capsys.readouterr()
    assert main([*TRAIN, "--data", "icons"]) == 2
    assert capsys.readouterr() == (
        "",
        "mnist-sgd: model.onnx is a model of 7 and 3, and would be replaced by one of phone and "
        "umbrella; keep it with --run NAME or --out DIR, or replace it with --overwrite\n",
    )
    assert (tmp_path / "model.onnx").read_bytes() == before
    assert len(said(["--data", "icons", "--overwrite"], capsys)) == 2


def test_at_the_end_it_says_how_many_the_written_model_gets_right(
    icons: Path, capsys: Output
) -> None:
    assert main([*TRAIN, "--data", "icons", "--run", "icons"]) == 0
    lines = capsys.readouterr().out.splitlines()
    valid = load_data(icons).valid
    predictor = Predictor("runs/icons/model.onnx")
    right = int(np.sum((predictor.probabilities(valid.images) > 0.5) == (valid.labels == 1)))
    shown = r"correct: (\d+) of (\d+) validation pictures \(\d+ %; 95 % interval \d+ to \d+ %\)"
    found = re.fullmatch(shown, lines[-3])
    assert found is not None
    assert [int(number) for number in found.groups()] == [right, len(valid)]
    assert lines[-2:] == [
        f"next: {program()} predict --model runs/icons/model.onnx IMAGE...",
        f"      {program()} serve runs/icons/model.onnx",
    ]


@pytest.mark.parametrize(
    ("correct", "images", "shown"),
    [
        (124, 124, "124 of 124 validation pictures (100 %; 95 % interval 97 to 100 %)"),
        (0, 5, "0 of 5 validation pictures (0 %; 95 % interval 0 to 43 %)"),
        (123, 124, "123 of 124 validation pictures (99.2 %; 95 % interval 95.6 to 99.9 %)"),
        (1, 1, "1 of 1 validation pictures (100 %; 95 % interval 21 to 100 %)"),
        (
            1971,
            2038,
            "1,971 of 2,038 validation pictures (96.7 %; 95 % interval 95.8 to 97.4 %)",
        ),
        (
            2037,
            2038,
            "2,037 of 2,038 validation pictures (99.95 %; 95 % interval 99.72 to 99.99 %)",
        ),
    ],
)
def test_only_all_are_100_percent(correct: int, images: int, shown: str) -> None:
    assert Validation(correct, images, "pictures").line() == f"correct: {shown}"


def test_the_models_own_threshold_decides_what_is_correct(tmp_path: Path) -> None:
    learn = learner()
    learn.export(tmp_path / "model.onnx")
    from mnist_sgd.evaluation.set_threshold import write_threshold

    content = (tmp_path / "model.onnx").read_bytes()
    write_threshold(content, 1.0, tmp_path / "strict.onnx")
    images = easy_set(3000)  # several runs of the model
    assert Validation.of(tmp_path / "model.onnx", images) == Validation(3000, 3000)
    assert Validation.of(tmp_path / "strict.onnx", images) == Validation(1500, 3000)


def test_a_class_without_validation_images_is_named_at_the_end(tmp_path: Path) -> None:
    learner().export(tmp_path / "model.onnx")
    both = easy_set(20)
    ones = ImageSet(both.images[1::2].copy(), both.labels[1::2].copy(), both.classes)
    line = Validation.of(tmp_path / "model.onnx", ones).line()
    assert line == (
        "correct: 10 of 10 validation images (100 %; 95 % interval 72 to 100 %); none of them is "
        "of the class 'left'"
    )


def test_the_card_warns_of_a_class_without_validation_images(here: Path, capsys: Output) -> None:
    fill(here / "photos", {"cat": 30, "dog": 30})
    for name in load_data("photos").valid.files:
        if "cat" in name:
            (here / "photos" / name).unlink()
    assert main([*TRAIN, "--data", "photos", "--run", "one"]) == 0
    assert "; none of them is of the class 'cat'\n" in capsys.readouterr().out
    card = (here / "runs" / "one" / "MODEL_CARD.md").read_text()
    assert (
        "- No validation image is of the class 'cat': how well the model recognises this class is "
        "unknown.\n" in card
    )


def test_the_next_commands_are_found_by_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their name in an environment that is activated, else by their path."""
    folder = tmp_path / "a place" / ".venv" / "bin"
    folder.mkdir(parents=True)
    for name in ("python", "mnist-sgd"):
        (folder / name).touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.chdir(tmp_path)
    assert program() == "'a place/.venv/bin/mnist-sgd'"
    monkeypatch.chdir(tmp_path / "a place")
    assert program() == ".venv/bin/mnist-sgd"
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin")
    assert program() == "mnist-sgd"
    (folder / "mnist-sgd").unlink()
    assert program() == "mnist-sgd"


def test_the_readme_shows_what_the_main_job_prints(trained: TrainedFiles) -> None:
    (text,) = [
        block.code for block in blocks(ROOT / "README.md", "text") if "train_loss" in block.code
    ]
    shown, printed = text.splitlines(), trained.stdout.splitlines()
    assert shown[:2] == printed[:2]
    lines = [re.sub(r"(\S*/)?mnist-sgd(?= )", ".venv/bin/mnist-sgd", line) for line in printed]
    assert [re.sub(r"\d", "0", line) for line in shown[: len(lines)]] == [
        re.sub(r"\d", "0", line) for line in lines
    ]
    assert all(line.startswith("mnist_sgd/sample/digits/") for line in shown[len(lines) :])


def on_a_terminal(arguments: list[str], cwd: Path) -> str:
    """What a terminal is sent while the command runs in it."""
    main_end, end = pty.openpty()
    line = [sys.executable, "-m", "mnist_sgd", *arguments]
    process = subprocess.Popen(line, cwd=cwd, stdin=end, stdout=end, stderr=end)
    os.close(end)
    sent = b""
    try:
        while chunk := os.read(main_end, 1 << 16):
            sent += chunk
    except OSError:  # Linux ends a terminal that nobody holds any more with an error
        pass
    finally:
        os.close(main_end)
        process.kill()
    assert process.wait() == 0, sent.decode()
    return sent.decode()


def test_on_a_terminal_the_silent_seconds_say_what_is_done_and_leave_no_trace(
    tmp_path: Path,
) -> None:
    sent = on_a_terminal([*TRAIN, "--run", "a"], tmp_path)
    shown = re.findall(r"\r([a-z ]+) \.\.\.\x1b\[K", sent)
    assert shown == ["loading torch", "checking the export", "writing the report"]
    left = [line.split("\r\x1b[K")[-1] for line in sent.replace("\r\n", "\n").split("\n")]
    assert left[0] == "epoch     train_loss  valid_loss  batch_accuracy  time    "
    assert left[1].startswith("0         0.636846")
    assert left[2] == ""
    assert left[-3].startswith("next: ")
    assert left[-1] == ""
    assert not [line for line in left if "..." in line and not line.startswith("next: ")]
