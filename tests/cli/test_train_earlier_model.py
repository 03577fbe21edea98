"""A training replaces the model of another task only if it is told to."""

import shutil
from pathlib import Path

import pytest

from idx_files import write_part
from mnist_sgd import Checkpoint, write_run
from mnist_sgd._state_file import dump
from mnist_sgd.cli import main
from mnist_sgd_serve import Predictor
from runs import contents, easy_set, learner
from trained import TrainedFiles

Output = pytest.CaptureFixture[str]

ADVICE = "keep it with --run NAME or --out DIR, or replace it with --overwrite\n"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a model of other classes."""
    folder = tmp_path_factory.mktemp("other")
    learn = learner()
    learn.save(folder / "model.safetensors")
    learn.export(folder / "model.onnx")
    return folder


def classes(folder: Path) -> tuple[str, ...]:
    return Predictor(folder / "model.onnx").metadata.classes


@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors"])
def test_the_model_of_other_classes_is_refused_before_the_training(
    name: str, other: Path, tmp_path: Path, capsys: Output
) -> None:
    shutil.copy(other / name, tmp_path)
    before = contents(tmp_path)
    assert main(["train", "--epochs", "1", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr() == (
        "",
        f"mnist-sgd: {tmp_path}/{name} is a model of left and right, and would be replaced by one "
        f"of 7 and 3; {ADVICE}",
    )
    assert contents(tmp_path) == before


def test_the_advised_options_keep_or_replace_the_earlier_model(
    other: Path, here: Path, capsys: Output
) -> None:
    shutil.copytree(other, here, dirs_exist_ok=True)
    for advice in (["--run", "a"], ["--out", "b"]):
        assert main(["train", "--epochs", "1", *advice]) == 0
    assert classes(here) == ("left", "right")
    assert classes(here / "runs" / "a") == classes(here / "b") == ("7", "3")
    assert main(["train", "--epochs", "1", "--overwrite"]) == 0
    assert classes(here) == ("7", "3")


def test_the_same_task_is_trained_again_whichever_class_is_positive(
    tmp_path: Path, capsys: Output
) -> None:
    images = easy_set(200)
    for part in ("train", "t10k"):
        write_part(tmp_path, part, images.images, images.labels)
    arguments = ["train", "--data", str(tmp_path), "--model", "linear", "--epochs", "1"]
    for positive in ("1", "0", "1"):
        out = ["--positive", positive, "--out", str(tmp_path / "out")]
        assert main([*arguments, *out]) == 0
        assert classes(tmp_path / "out")[1] == positive


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("model.onnx", b"notes", " is not a usable artifact: "),
        ("model.onnx", b"", " is not a usable artifact: it is empty"),
        ("model.safetensors", b"of another program", ": not a safetensors file: "),
    ],
)
def test_a_file_that_is_no_model_of_ours_is_kept(
    name: str, content: bytes, reason: str, tmp_path: Path, capsys: Output
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert main(["train", "--epochs", "1", "--out", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"mnist-sgd: {path}{reason}")
    assert err.endswith(f"; the training does not replace what it cannot read: {ADVICE}")
    assert contents(tmp_path) == {name: content}


def test_weights_of_another_program_are_kept(tmp_path: Path, capsys: Output) -> None:
    """Many programs call their weights model.safetensors."""
    import torch
    from safetensors.torch import save_file

    save_file({"embedding": torch.zeros(3, 4)}, tmp_path / "model.safetensors")
    before = contents(tmp_path)
    assert main(["train", "--epochs", "1", "--out", str(tmp_path)]) == 2
    assert "not weights of mnist_sgd" in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_the_checkpoint_of_another_task_is_kept(
    other: Path, tmp_path: Path, capsys: Output
) -> None:
    """It may be all that is left of an interrupted training."""
    checkpoint = tmp_path / "checkpoint.safetensors"
    learn = learner(epochs=0)
    with learn.no_logging():
        learn.fit(1, 0.1, cbs=Checkpoint(checkpoint))
    before = contents(tmp_path)
    line = ["train", "--epochs", "1", "--checkpoint-every", "50", "--out", str(tmp_path)]
    assert main(line) == 2
    assert capsys.readouterr() == (
        "",
        f"mnist-sgd: {checkpoint} is a checkpoint of left and right, and would be replaced by one "
        f"of 7 and 3; {ADVICE}",
    )
    assert main([*line, "--resume"]) == 2
    assert capsys.readouterr().err == (
        f"mnist-sgd: {checkpoint}: the state is of another dataset: for training the checkpoint "
        "has 200 images of left and right ('easy'), this fit has 12,396 images of 7 and 3 "
        "('MNIST sample, train'); resume with the data of the checkpoint, or begin anew without "
        "it\n"
    )
    assert contents(tmp_path) == before
    assert main([*line, "--overwrite"]) == 0
    assert main(line) == 0  # a checkpoint of the same task is replaced
    checkpoint.write_bytes(b"of another program")
    assert main(line) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"mnist-sgd: {checkpoint}: not a checkpoint: not a safetensors file: ")
    assert said.endswith(f"; the training does not replace what it cannot read: {ADVICE}")
    assert main(["train", "--epochs", "1", "--out", str(tmp_path)]) == 0  # it writes none
    assert checkpoint.read_bytes() == b"of another program"


def test_a_checkpoint_that_does_not_say_its_classes_is_kept(tmp_path: Path, capsys: Output) -> None:
    """Earlier versions wrote such checkpoints."""
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(dump({"checkpoint": 2}))
    line = ["train", "--epochs", "1", "--checkpoint-every", "50", "--out", str(tmp_path)]
    assert main(line) == 2
    assert capsys.readouterr().err == (
        f"mnist-sgd: {checkpoint} is a checkpoint that does not say what its classes are; the "
        f"training does not replace what it cannot read: {ADVICE}"
    )


def test_a_model_is_never_written_into_the_folder_of_another_run(
    tmp_path: Path, capsys: Output
) -> None:
    """Its report would describe a model that is gone."""
    write_run(learner(valid=easy_set(classes=("7", "3"))), tmp_path / "first")
    before = contents(tmp_path)
    for option in ([], ["--overwrite"], ["--resume"]):
        assert main(["train", "--out", str(tmp_path / "first"), *option]) == 2
        assert capsys.readouterr().err == (
            f"mnist-sgd: {tmp_path}/first is a run's folder, and its report would not describe the "
            "new model; choose another folder with --out DIR, or train a run with --run NAME\n"
        )
    assert contents(tmp_path) == before


@pytest.mark.parametrize("suffix", [".onnx", ".pt", ".pt2"])
def test_export_replaces_another_tasks_model_only_if_it_is_told_to(
    suffix: str, trained: TrainedFiles, tmp_path: Path, capsys: Output
) -> None:
    output, first = tmp_path / f"model{suffix}", tmp_path / "first.onnx"
    learner().export(output)
    before = contents(tmp_path)
    line = ["export", str(trained.weights), str(first), str(output)]
    assert main(line) == 2
    assert capsys.readouterr() == (
        "",
        f"mnist-sgd: {output} is a model of left and right, and would be replaced by one of 7 and "
        "3; choose another name, or replace it with --overwrite\n",
    )
    assert contents(tmp_path) == before
    assert main([*line, "--overwrite"]) == 0
    assert main(line) == 0  # now it is of the same task
    for content in (b"notes", b""):
        output.write_bytes(content)
        assert main(line) == 2
        assert "; the export does not replace what it cannot read: " in capsys.readouterr().err
        assert output.read_bytes() == content


def test_a_resumed_run_does_not_become_one_of_another_task(
    other: Path, here: Path, capsys: Output
) -> None:
    shutil.copytree(other, here / "runs" / "a")
    assert main(["train", "--run", "a", "--resume"]) == 2
    assert capsys.readouterr().err == (
        "mnist-sgd: runs/a/model.onnx is a model of left and right, and would be replaced by one "
        "of 7 and 3; choose another --run NAME, or start again with --overwrite instead "
        "of --resume\n"
    )


def test_a_model_is_replaced_by_one_of_the_same_task_as_before(
    trained: TrainedFiles, tmp_path: Path, capsys: Output
) -> None:
    for path in (trained.artifact, trained.weights):
        shutil.copy(path, tmp_path)
    assert main(["train", "--epochs", "1", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "model.onnx").read_bytes() != trained.artifact.read_bytes()
