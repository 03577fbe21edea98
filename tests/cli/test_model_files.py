"""A model is named by its file or the folder of its run; a wrong name is answered by advice."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_sgd.cli import main
from mnist_sgd.cli.options.models import model_file
from mnist_sgd.data import sample_digits
from server import Server
from trained import TrainedFiles

Output = pytest.CaptureFixture[str]


@pytest.fixture
def here(trained: TrainedFiles, here: Path) -> Path:
    """The current folder, with the finished runs `old` and `new` and one that was cut off."""
    for name, written in (("new", 2_000_000_000), ("old", 1_000_000_000)):
        run = here / "runs" / name
        run.mkdir(parents=True)
        for path in (trained.artifact, trained.weights):
            shutil.copy(path, run)
        os.utime(run / "model.onnx", (written, written))
    (here / "runs" / "cut").mkdir()
    (here / "runs" / "cut" / "config.json").write_text('{"run_format": 1}')
    return here


def test_every_command_that_reads_a_model_takes_the_folder_of_a_run(
    here: Path, capsys: Output
) -> None:
    three = str(sample_digits()[-1])
    assert main(["predict", three, "--model", "runs/new", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["label"] == "3"
    assert main(["inspect", "runs/new/", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == "runs/new/model.onnx"
    assert main(["evaluate", "runs/new", "--threshold", "0.7", "--write"]) == 0
    assert capsys.readouterr().out.startswith("runs/new/model.onnx at the threshold 0.7: ")
    assert main(["inspect", "runs/new", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["threshold"] == 0.7
    assert main(["export", "runs/old", "again.onnx"]) == 0
    assert (here / "again.onnx").read_bytes() == (here / "runs/old/model.onnx").read_bytes()


@pytest.mark.parametrize("output", ["runs/new/model.onnx", "link.onnx", "runs/cut/model.onnx"])
@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["export", "runs/old", "--overwrite"], "the output"),
        (["export", "runs/new/other.safetensors"], "the output"),
        (["evaluate", "runs/old", "--threshold", "0.7", "--write"], "--write"),
    ],
)
def test_no_command_puts_a_model_into_another_run(
    arguments: list[str], option: str, output: str, here: Path, capsys: Output
) -> None:
    """Nor into one whose training has not come to its model yet."""
    for name in ("old", "new"):
        shutil.copy(here / "runs/cut/config.json", here / "runs" / name)
    shutil.copy(here / "runs/new/model.safetensors", here / "runs/new/other.safetensors")
    (here / "link.onnx").symlink_to("runs/new/model.onnx")
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    assert main([*arguments, output]) == 2
    folder = Path(output).parent
    text = f"mnist-sgd: {output} belongs to the run {folder}; choose another name for {option}\n"
    assert capsys.readouterr() == ("", text)
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("weights", ["model.safetensors", "model-not-exported.safetensors"])
def test_the_weights_of_a_run_are_exported_into_it(weights: str, here: Path) -> None:
    run = here / "runs" / "old"
    shutil.copy(here / "runs/cut/config.json", run)
    model = (run / "model.onnx").read_bytes()
    if weights != "model.safetensors":
        (run / "model.safetensors").rename(run / weights)
    (run / "model.onnx").unlink()
    assert main(["export", f"runs/old/{weights}", "runs/old/model.onnx"]) == 0
    assert (run / "model.onnx").read_bytes() == model
    written = ["--threshold", "0.7", "--write", "runs/old/model.onnx"]
    assert main(["evaluate", "runs/old", *written]) == 0
    assert (run / "model.onnx").read_bytes() != model


def test_serve_takes_the_folder_of_a_run_and_says_what_is_none(here: Path, capsys: Output) -> None:
    assert main(["serve", "runs/cut"]) == 2
    assert capsys.readouterr().err == (
        "mnist-sgd: runs/cut: the folder holds no model.onnx: the training of this run has not "
        "finished\n"
    )
    line = [sys.executable, "-m", "mnist_sgd", "serve", "runs/new", "--port", "0"]
    with open(here / "log", "w+b") as log:
        process = subprocess.Popen([*line, "--shutdown-delay", "0"], stdout=log, stderr=log)
        try:
            server = Server(process, log)
            server.wait_until_ready()
            assert server.post("/predict", sample_digits()[-1].read_bytes()).json["label"] == "3"
            assert server.stop() == 0
        finally:
            process.kill()
            process.wait()


NEWEST = "runs/new/model.onnx"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["predict", "three.png"],
            f"there is no model.onnx here; the newest run's is {NEWEST} (--model runs/new), or "
            "train one: mnist-sgd train",
        ),
        (
            ["evaluate"],
            f"there is no model.onnx here; the newest run's is {NEWEST} (mnist-sgd evaluate "
            "runs/new), or train one: mnist-sgd train",
        ),
        (
            ["inspect", "nwe.onnx"],
            "nwe.onnx cannot be read: No such file or directory; the newest run's model is "
            f"{NEWEST}",
        ),
        (
            ["serve", "runs"],
            "runs: the folder holds no model.onnx; name one of runs/new/model.onnx, "
            "runs/old/model.onnx",
        ),
        (
            ["inspect", "empty"],
            f"empty: the folder holds no model.onnx; the newest run's is {NEWEST}",
        ),
        (
            ["inspect", "runs/nwe"],
            "runs/nwe cannot be read: No such file or directory (did you mean runs/new?)",
        ),
        (
            ["inspect", "runs/new/model.safetensors"],
            "runs/new/model.safetensors contains only the weights; the model is "
            f"{NEWEST} (mnist-sgd inspect {NEWEST})",
        ),
        (
            ["predict", "three.png", "--model", "a b.safetensors"],
            "a b.safetensors contains only the weights; export the model first: mnist-sgd export "
            "'a b.safetensors' 'a b.onnx'",
        ),
        (["evaluate", "m.pt2"], "m.pt2 is a model for PyTorch; this command takes the .onnx file"),
        (["evaluate", "-"], "a model cannot be read from standard input; name its file"),
        (
            ["export", NEWEST, "m.pt"],
            f"{NEWEST}: not a safetensors file: export takes the weights, "
            "runs/new/model.safetensors",
        ),
        (
            ["export", "runs/cut", "m.pt"],
            "runs/cut: the folder holds no model.safetensors: the training of this run has not "
            "finished",
        ),
        (
            ["predict", NEWEST],
            f"{NEWEST} is a model, not an image; name it as --model {NEWEST}",
        ),
        (
            ["predict", "three.png", "other.onnx", "--model", "runs/new"],
            "other.onnx is a model, not an image; name it as --model other.onnx",
        ),
        (
            ["predict", NEWEST, "--model", "runs/new"],
            f"no image is named: mnist-sgd predict IMAGE... --model {NEWEST}",
        ),
        (
            ["predict", "runs/new"],
            "runs/new: the folder has no pictures; to use its model, give --model runs/new",
        ),
    ],
)
def test_a_wrong_name_is_answered_by_what_to_do(
    arguments: list[str], message: str, here: Path, capsys: Output
) -> None:
    (here / "empty").mkdir()
    for name in ("a b.safetensors", "m.pt2"):
        (here / name).touch()
    assert main(arguments) == 2
    assert capsys.readouterr() == ("", f"mnist-sgd: {message}\n")


def test_the_model_among_the_files_of_a_folder_is_one_that_is_no_image(
    here: Path, capsys: Output
) -> None:
    """As where the shell has made of `*` every file that is there."""
    shutil.copy(here / NEWEST, here / "model.onnx")
    three = shutil.copy(sample_digits()[-1], "three.png")
    assert main(["predict", "model.onnx", str(three)]) == 2
    out, err = capsys.readouterr()
    assert out == "three.png   3  99.9 %\n"
    size = (here / "model.onnx").stat().st_size
    assert err.startswith(f"mnist-sgd: model.onnx: these {size} bytes are not an image: ")
    assert err.count("\n") == 1


def test_a_folder_that_is_named_after_a_file_is_looked_into(tmp_path: Path) -> None:
    folder = tmp_path / "odd.onnx"
    folder.mkdir()
    (folder / "model.onnx").touch()
    assert model_file(folder, "") == folder / "model.onnx"
