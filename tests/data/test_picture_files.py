"""The same files of a folder count for `predict`, `train`, `evaluate` and `pack`."""

import json
import os
import shutil
from pathlib import Path

import pytest

from mnist_sgd.cli import main
from mnist_sgd.data import load_all, sample_digits
from mnist_sgd.data.pictures.file_entries import find_pictures
from pictures import fill, stroke
from trained import TrainedFiles

Output = pytest.CaptureFixture[str]

COUNTED = [
    "IMG_0001.HEIC",
    "a.png",
    "b.jfif",
    "burst/c.JPEG",
    "burst/deep/d.mpo",
    "linked/e.png",
    "no suffix",
    "notes.txt",
    "shared.png",
]
PASSED_OVER = [
    "._a.png",
    ".hidden/x.png",
    ".ipynb_checkpoints/a-checkpoint.png",
    "@eaDir/a.png",
    "Thumbs.db",
    "__MACOSX/._a.png",
    "burst/desktop.ini",
    "lost+found/x.png",
    "model.onnx",
    "runs/first/config.json",
    "runs/first/plots/loss.png",
]


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A folder as cameras, systems and people leave it; both kinds of links lead out of it."""
    folder = tmp_path / "scans"
    for number, name in enumerate([*COUNTED, *PASSED_OVER]):
        if name in ("linked/e.png", "shared.png"):
            continue
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        stroke(number).save(path, "JPEG" if path.suffix.lower() in (".jfif", ".jpeg") else "PNG")
    (folder / "notes.txt").write_text("Thursday")
    (folder / "IMG_0001.HEIC").write_bytes(b"\0\0\0\x14ftypheic\0\0\0\0mif1" + bytes(40))
    (folder / "runs/first/config.json").write_text('{"run_format": 1}')
    (tmp_path / "elsewhere").mkdir()
    stroke(90).save(tmp_path / "elsewhere" / "e.png")
    stroke(91).save(tmp_path / "shared.png")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "shared.png").symlink_to("../shared.png")
    return folder


def test_every_file_counts_but_those_that_no_user_put_there(scans: Path) -> None:
    found = find_pictures(str(scans))
    assert [each.name for each in found] == COUNTED
    assert {each.problem for each in found} == {""}


def test_predict_and_train_see_the_same_files(
    scans: Path, tmp_path: Path, trained: TrainedFiles, capsys: Output
) -> None:
    unusable = {
        "IMG_0001.HEIC": (
            "a HEIC image cannot be read: save it as PNG, JPEG, BMP, GIF, WebP or TIFF"
        ),
        "notes.txt": "these 8 bytes are not an image: PNG, JPEG, BMP, GIF, WebP and TIFF are read",
    }
    model = ["--model", str(trained.artifact), "--json"]
    assert main(["predict", str(scans), *model]) == 2
    out, err = capsys.readouterr()
    answered = [json.loads(line)["file"] for line in out.splitlines()]
    assert answered == [str(scans / name) for name in COUNTED if name not in unusable]
    assert err.splitlines() == [
        f"mnist-sgd: {scans / name}: {why}" for name, why in unusable.items()
    ]
    classes = tmp_path / "classes"
    fill(classes, {"other": 3}, start=400)
    shutil.move(scans, classes / "scans")
    (classes / "scans" / "shared.png").unlink()
    (classes / "scans" / "shared.png").symlink_to(tmp_path / "shared.png")
    skipped: list[str] = []
    data = load_all(classes, on_unusable=lambda error: skipped.append(str(error)))
    files = [name for name in data.files if name.startswith("scans/")]
    assert files == [f"scans/{name}" for name in sorted(COUNTED) if name not in unusable]
    assert skipped == [f"{classes}/scans/{name}: {why}" for name, why in unusable.items()]


def test_links_are_followed_and_lead_round_in_no_circle(tmp_path: Path) -> None:
    fill(tmp_path, {"3": 2, "7": 2, "7/more": 1})
    inside = tmp_path / "7"
    (inside / "up").symlink_to("..")
    (inside / "here").symlink_to(".")
    (inside / "a twin").symlink_to("more")
    (inside / "more" / "back").symlink_to("../more")
    (inside / "more" / "over").symlink_to("../../3")
    names = [each.name for each in find_pictures(str(tmp_path), "7")]
    assert names == [
        "7/00002.png",
        "7/00003.png",
        "7/more/00004.png",
        "7/more/over/00000.png",
        "7/more/over/00001.png",
    ]
    assert len(find_pictures(str(tmp_path))) == 5
    assert sum(load_all(tmp_path, classes=("3", "7")).labels) == 5


def test_what_can_be_no_picture_is_said_and_never_opened(
    tmp_path: Path, trained: TrainedFiles, capsys: Output
) -> None:
    """A pipe would wait for a writer, for ever."""
    shutil.copy(sample_digits()[0], tmp_path / "digit.png")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "round.png").symlink_to("round.png")
    os.mkfifo(tmp_path / "pipe")
    assert main(["predict", str(tmp_path), "--model", str(trained.artifact)]) == 2
    out, err = capsys.readouterr()
    assert out.startswith(f"{tmp_path}/digit.png  7  ")
    assert err.splitlines() == [
        f"mnist-sgd: {tmp_path}/gone.png: cannot be read: No such file or directory",
        f"mnist-sgd: {tmp_path}/pipe: a special file, not a picture",
        f"mnist-sgd: {tmp_path}/round.png: cannot be read: Too many levels of symbolic links",
    ]


def test_a_folder_that_cannot_be_read_is_said(
    tmp_path: Path, trained: TrainedFiles, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "locked").mkdir()
    shutil.copy(sample_digits()[0], tmp_path / "digit.png")
    before = os.scandir

    def scandir(path: str) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", path)
        return before(path)

    monkeypatch.setattr(os, "scandir", scandir)  # root reads every folder
    model = ["--model", str(trained.artifact)]
    assert main(["predict", str(tmp_path), *model]) == 2
    out, err = capsys.readouterr()
    assert out.startswith(f"{tmp_path}/digit.png  7  ")
    assert err == f"mnist-sgd: {tmp_path}/locked: cannot be read: Permission denied\n"
    assert main(["predict", str(tmp_path / "locked"), *model]) == 2
    assert capsys.readouterr().err == (
        f"mnist-sgd: {tmp_path}/locked cannot be read: Permission denied\n"
    )


def test_folders_of_folders_of_classes_are_not_mixed(tmp_path: Path) -> None:
    for place, start in (("first", 0), ("second", 50)):
        fill(tmp_path / place, {"seven": 3, "three": 3}, start=start)
    with pytest.raises(ValueError, match="hold the same folders") as refused:
        load_all(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path}: 'first' and 'second' hold the same folders, 'seven', 'three', and no "
        f"pictures of their own; if those are the classes, give {tmp_path}/first, else confirm "
        "with --classes first second"
    )
    assert len(load_all(tmp_path, classes=("first", "second"))) == 12
