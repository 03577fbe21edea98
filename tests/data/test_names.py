"""Names of any bytes are imported, kept, packed and shown, in every locale."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from mnist_sgd._names import is_class_name, is_ignored, printable
from mnist_sgd.cli import main
from mnist_sgd.data import IdxError, UnusableFile, load_data, load_packed, pack_folder, read_idx
from pictures import fill, stroke
from waiting import PATIENCE

Output = pytest.CaptureFixture[str]
ODD = [
    b"gr\xf6\xdfer.png",
    b"new\nline.png",
    b"\x1b[31mred.png",
    "\u202egnp.png".encode(),
    b"a b.png",
]
"""Latin-1, a newline, a colour of the terminal, text that runs backwards, a space."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of 30, with odd names in one, in a folder whose name is odd as well."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/sc\xe4ns"))
    fill(folder, {"seven": 30, "three": 30})
    for number, name in enumerate(ODD):
        stroke(500 + number).save(os.fsdecode(os.fsencode(folder / "three") + b"/" + name), "PNG")
    return folder


@given(st.text())
def test_what_is_shown_can_be_printed_and_plain_text_is_as_it_was(text: str) -> None:
    shown = printable(text)
    shown.encode()
    assert not any(each in shown for each in "\n\r\x1b\x7f\x9b\u2028\u202e")
    assert printable(shown) == shown
    if text.isprintable():
        assert shown == text


def test_bytes_and_controls_are_shown_as_escapes() -> None:
    assert printable(os.fsdecode(b"gr\xf6\xdfer")) == r"gr\xf6\xdfer"
    assert printable("a\x1b[31m\nb\u202ec") == r"a\x1b[31m\nb\u202ec"
    assert printable("\ud800") == r"\ud800"
    assert printable("größer 猫 👩‍👧") == "größer 猫 👩‍👧"


def test_pictures_of_any_name_are_imported_kept_and_packed(folder: Path, tmp_path: Path) -> None:
    data = load_data(folder)
    names = {*data.train.files, *data.valid.files}
    assert len(names) == 65
    assert {os.fsencode(name) for name in names} >= {b"three/" + name for name in ODD}
    assert data.train.name == r"sc\xe4ns, train"
    read: list[int] = []
    again = load_data(folder, on_progress=lambda done, total: read.append(done))
    assert (read, again.train.files) == ([], data.train.files)  # the manifest knows them
    (packed,) = pack_folder(folder, tmp_path / "out")
    assert len(load_packed(tmp_path / "out")) == len(packed) == 65


def test_findings_and_errors_show_names_without_what_a_terminal_obeys(
    folder: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    place = os.fsencode(folder / "three")
    shutil.copy(place + b"/\x1b[31mred.png", place + b"/\x1b[32mgreen.png")
    with open(place + b"/\x1b[33m\nbad\xff.png", "wb") as file:
        file.write(b"nothing")
    skipped: list[UnusableFile] = []
    data = load_data(folder, on_unusable=skipped.append)
    shown = printable(str(folder))
    assert [str(error).split(": ")[0] for error in skipped] == [
        rf"{shown}/three/\x1b[33m\nbad\xff.png"
    ]
    assert data.notes == (
        rf"{shown}: 1 picture there more than once: three/\x1b[31mred.png = "
        r"three/\x1b[32mgreen.png",
    )
    assert main(["train", "--data", str(folder), "--epochs", "1"]) == 2
    printed = capfdbinary.readouterr()
    assert printed.out == b""
    assert rb"/three/\x1b[33m\nbad\xff.png: these 7 bytes are not an image" in printed.err
    assert b"\x1b" not in printed.err
    with pytest.raises(IdxError, match=r"^\\x1b: it cannot be read: No such file or directory$"):
        read_idx("\x1b")


LOCALES = {
    "C": {"LC_ALL": "C"},
    "C without UTF-8": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "strict UTF-8": {"PYTHONIOENCODING": "utf-8:strict"},
}


@pytest.mark.parametrize("locale", LOCALES)
def test_the_command_packs_them_in_every_locale(folder: Path, tmp_path: Path, locale: str) -> None:
    with open(os.fsencode(folder / "three") + b"/bad\xff\x1b.png", "wb") as file:
        file.write(b"nothing")
    out = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xf6ut"))
    line: list[str | Path] = [sys.executable, "-m", "mnist_sgd", "pack", folder, out]
    done = subprocess.run(
        [*line, "--skip-unusable"],
        env=os.environ | LOCALES[locale],
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert rb"/three/bad\xff\x1b.png: these 7 bytes are not an image" in done.stderr
    assert done.stdout.splitlines()[0].endswith(rb"\xf6ut: 65 images, 30 of seven, 35 of three")
    assert len(load_packed(out)) == 65
    manifest = json.loads((folder / ".mnist_sgd" / "mnist" / "manifest.json").read_bytes())
    assert len(manifest["files"]) == 66


def test_a_class_may_be_an_emoji_of_several_signs(tmp_path: Path) -> None:
    names = ("👩‍👧", "🏴󠁧󠁢󠁷󠁬󠁳󠁿")
    fill(tmp_path, dict.fromkeys(names, 20))
    data = load_data(tmp_path)
    assert {*data.train.classes} == {*names}
    (packed,) = pack_folder(tmp_path, tmp_path.with_name("packed"))
    assert {*packed.classes} == {*names}


@pytest.mark.parametrize("name", [b"th\nree", b"\x1b[31m", b"gr\xf6\xdfer", "\u202eabc".encode()])
def test_a_class_that_cannot_be_shown_is_refused_with_its_name_escaped(
    tmp_path: Path, capsys: Output, name: bytes
) -> None:
    text = os.fsdecode(name)
    fill(tmp_path, {text: 5, "three": 5})
    assert main(["pack", str(tmp_path), str(tmp_path.with_name("out"))]) == 2
    assert capsys.readouterr().err == (
        f"mnist-sgd: {tmp_path}: class names must be printable, got {text!r}\n"
    )
    assert not is_class_name(text)


LEFT = ("__MACOSX", "@eaDir", "lost+found", "Thumbs.db", "desktop.ini", ".ipynb_checkpoints")


def test_what_systems_leave_in_folders_is_ignored(tmp_path: Path) -> None:
    fill(tmp_path, {"seven": 20, "three": 20})
    for place in (tmp_path, tmp_path / "three"):
        for name in LEFT:
            (place / name).touch() if "." in name[1:] else (place / name).mkdir()
    (tmp_path / "__MACOSX" / "seven").mkdir()
    data = load_data(tmp_path)
    assert len(data.train) + len(data.valid) == 40
    assert all(map(is_ignored, LEFT))
    assert not is_ignored("Thumbs")


def test_pictures_in_folders_of_a_class_are_of_that_class(tmp_path: Path, capsys: Output) -> None:
    counts = {"seven": 10, "three": 10, "three/more": 4, "three/more/still": 3}
    fill(tmp_path / "scans", counts, side=30)
    assert main(["pack", str(tmp_path / "scans"), str(tmp_path / "out")]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == f"{tmp_path}/out: 27 images, 10 of seven, 17 of three"
