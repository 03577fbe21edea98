"""The folder of pictures may be the current folder: runs and models lie next to the classes."""

import shutil
from pathlib import Path

import pytest

from mnist_sgd.cli import main
from mnist_sgd.data import load_data, pack_folder
from mnist_sgd.data.pictures.outputs import is_output, is_unused
from pictures import fill

Output = pytest.CaptureFixture[str]

TRAIN = ["train", "--data", ".", "--model", "linear", "--epochs", "1"]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "photos"
    fill(folder, {"cat": 30, "dog": 30})
    monkeypatch.chdir(folder)
    return folder


def test_it_can_be_trained_on_measured_and_packed_repeatedly(photos: Path, capsys: Output) -> None:
    pytest.importorskip("tensorboard", reason="pip install tensorboard")
    before = load_data(photos)
    logs = ["--csv", "history.csv", "--tensorboard", "events"]
    for options in (["--run", "a"], ["--run", "b", *logs], [], ["--out", "models"], ["--resume"]):
        assert main([*TRAIN, *options]) == 0
    assert main(["export", "model.safetensors", "other.pt", "--data", "."]) == 0
    assert {path.name for path in photos.iterdir()} == {
        *(".mnist_sgd", "cat", "dog", "runs", "models", "events", "history.csv"),
        *("model.onnx", "model.safetensors", "checkpoint.safetensors", "other.pt"),
    }
    assert main([*TRAIN, "--run", "c"]) == 0
    assert main(["evaluate", "--data", ".", "runs/a", "--all"]) == 0
    assert "all 60 pictures of ." in capsys.readouterr().out
    assert main(["pack", ".", "../packed"]) == 0
    after = load_data(photos)
    assert [after.train.fingerprint(), after.valid.fingerprint()] == [
        before.train.fingerprint(),
        before.valid.fingerprint(),
    ]


def test_train_and_valid_folders_may_have_runs_and_models_in_them_too(here: Path) -> None:
    fill(here / "train", {"cat": 20, "dog": 20})
    fill(here / "valid", {"cat": 5, "dog": 5}, start=100)
    for out in (".", "train", "train/models"):
        assert main([*TRAIN, "--out", out]) == 0
    assert main([*TRAIN, "--run", "a"]) == 0
    assert load_data(here).train.classes == ("cat", "dog")


def test_an_unfinished_run_is_not_taken_for_a_class(photos: Path) -> None:
    (photos / "runs" / "killed" / "plots").mkdir(parents=True)
    (photos / "runs" / "empty").mkdir()
    assert len(load_data(photos).train) > 0


def test_a_folder_with_one_picture_is_a_class_and_other_files_are_named(photos: Path) -> None:
    """Only known outputs are skipped: a user's own files are never ignored silently."""
    assert main([*TRAIN, "--out", "models"]) == 0
    shutil.copy(photos / "cat" / "00000.png", photos / "models")
    said = r"found 3 class folders \(cat, dog, models\), need 2"
    with pytest.raises(ValueError, match=said):
        load_data(photos)
    (photos / "models" / "00000.png").unlink()
    for name, text in (("notes.csv", "epoch,weather\n"), ("model.png", "")):
        (photos / name).write_text(text)
        with pytest.raises(ValueError, match=f"{name}: not in a class folder"):
            pack_folder(photos, photos.parent / "packed")
        (photos / name).unlink()
    (photos / "empty").mkdir()
    with pytest.raises(ValueError, match=r"found 3 class folders \(cat, dog, empty\), need 2"):
        load_data(photos)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--out", "cat"],
            "cat is inside cat, the folder of a class of --data .; choose another folder "
            "with --out DIR",
        ),
        (
            ["--out", "link/models"],
            "link/models is inside cat, the folder of a class of --data .; choose another "
            "folder with --out DIR",
        ),
        (
            ["--csv", "dog/history.csv"],
            "dog/history.csv is inside dog, the folder of a class of --data .; choose "
            "another file with --csv FILE",
        ),
        (
            ["--tensorboard", "dog/events"],
            "dog/events is inside dog, the folder of a class of --data .; choose another "
            "folder with --tensorboard DIR",
        ),
    ],
)
def test_files_among_the_pictures_of_a_class_are_refused_first(
    options: list[str], message: str, photos: Path, capsys: Output
) -> None:
    (photos.parent / "link").symlink_to("photos/cat")
    if "link/models" in options:
        options = ["--out", "../link/models"]
        message = f"../{message}"
    before = sorted(photos.rglob("*"))
    assert main([*TRAIN, *options]) == 2
    assert capsys.readouterr() == ("", f"mnist-sgd: {message}\n")
    assert sorted(photos.rglob("*")) == before


def test_a_run_is_refused_where_runs_is_a_class(here: Path, capsys: Output) -> None:
    fill(here, {"runs": 20, "walks": 20})
    assert main([*TRAIN, "--run", "a"]) == 2
    assert capsys.readouterr().err == (
        "mnist-sgd: runs/a is inside runs, the folder of a class of --data .; start in "
        "another folder, or give --out DIR instead of --run NAME\n"
    )
    assert main([*TRAIN, "--out", "models"]) == 0


def test_a_missing_path_or_a_loop_of_links_is_not_taken_for_an_output(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "again").symlink_to(".")
    for name in ("circle", "models", "none"):
        assert not is_output(tmp_path / name)
    assert not is_unused(tmp_path / "none")
