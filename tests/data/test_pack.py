"""`mnist-sgd pack` makes a set of two folders of pictures, and names what it cannot use."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnist_sgd import load_packed, pack_folder
from mnist_sgd.cli import main
from mnist_sgd.cli.program import program
from mnist_sgd.data import UnusableFile, load_data, mnist_sample, sample_digits
from mnist_sgd.data.pictures.importer import is_validation
from mnist_sgd_serve import decode, preprocess
from trained import Run
from waiting import PATIENCE, wait_until_ended

Output = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`scans/seven` and `scans/three`, four pictures each: PNG, JPEG, GIF and BMP of many modes."""
    made = tmp_path / "scans"
    for path in sample_digits():
        name, number = path.stem.split("-")
        (made / name).mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            match number:
                case "1":
                    shutil.copy(path, made / name / "1.png")
                case "2":
                    image.convert("P").save(made / name / "2.gif")
                case "3":
                    image.convert("RGB").save(made / name / "3.jpg")
                case "4":
                    image.convert("RGB").save(made / name / "4.data", "BMP")
    return made


def ordered(folder: Path) -> list[Path]:
    """The pictures in the order of the set: those for training first, then by class and name."""
    paths = [path for name in ("seven", "three") for path in sorted((folder / name).iterdir())]
    return sorted(paths, key=is_for_validation)


def is_for_validation(path: Path) -> bool:
    return is_validation(blake2b(path.read_bytes(), digest_size=16).hexdigest())


def expected(folder: Path) -> list[np.ndarray]:
    return [preprocess(decode(path)).image for path in ordered(folder)]


def test_the_set_holds_the_preprocessed_pictures_by_side_class_and_name(
    folder: Path, tmp_path: Path, capsys: Output
) -> None:
    out = tmp_path / "packed"
    assert main(["pack", str(folder), str(out)]) == 0
    assert capsys.readouterr() == (
        f"{out}: 8 images, 4 of seven, 4 of three\n"
        "pictures preprocessed as drawn characters (--preprocess mnist): "
        f"{load_data(folder).choice}; for "
        "whole pictures: --preprocess fit\n"
        "the positive class is three; use --positive seven to swap\n"
        f"next: {program()} train --data {out}\n",
        "",
    )
    assert sorted(path.name for path in out.iterdir()) == [
        "images-idx3-ubyte",
        "labels-idx1-ubyte",
        "set.json",
    ]
    data = load_packed(out)
    assert data.classes == ("seven", "three")
    np.testing.assert_array_equal(data.images, expected(folder))
    assert data.labels.tolist() == [path.parent.name == "three" for path in ordered(folder)]
    facts = json.loads((out / "set.json").read_text())
    assert facts["preparation"] == "mnist"
    assert facts["train"] == 8 - sum(map(is_for_validation, ordered(folder)))


def test_the_positive_class_can_be_named_and_the_order_stays(
    folder: Path, tmp_path: Path, capsys: Output
) -> None:
    arguments = ["pack", str(folder), str(tmp_path / "out"), "--positive", "seven", "--json"]
    assert main(arguments) == 0
    data = load_packed(tmp_path / "out")
    facts = {
        "images": 8,
        "classes": ["three", "seven"],
        "counts": {"three": 4, "seven": 4},
        "preparation": "mnist",
        "fingerprint": data.fingerprint(),
    }
    assert json.loads(capsys.readouterr().out) == {
        "sets": {str(tmp_path / "out"): facts},
        "skipped": 0,
    }
    np.testing.assert_array_equal(data.images, expected(folder))
    assert data.labels.tolist() == [path.parent.name == "seven" for path in ordered(folder)]


def test_the_bytes_are_the_same_for_any_number_of_workers(folder: Path, tmp_path: Path) -> None:
    images = mnist_sample()[1].images
    for number, name in enumerate(["seven", "three"]):
        for index in range(40):
            picture = Image.fromarray(255 - images[80 * number + index])
            picture.save(folder / name / f"more {index}.png")
    shown: list[tuple[int, int]] = []
    for workers in (1, 2, 5):
        pack_folder(
            folder,
            tmp_path / f"{workers}",
            cache=tmp_path / f"cache of {workers}",
            workers=workers,
            on_progress=lambda *at: shown.append(at),
        )
    for name in ("images-idx3-ubyte", "labels-idx1-ubyte", "set.json"):
        contents = {(tmp_path / f"{workers}" / name).read_bytes() for workers in (1, 2, 5)}
        assert len(contents) == 1
    np.testing.assert_array_equal(load_packed(tmp_path / "5").images, expected(folder))
    assert {total for _, total in shown} == {88}
    assert [done for done, _ in shown if done == 88] == 3 * [88]


def refused(folder: Path, out: Path, capsys: Output, *arguments: str) -> str:
    """The one line of a command that ends with 2 and leaves no set beside what is in the cache."""
    assert main(["pack", str(folder), str(out), *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert not (out / "set.json").exists()
    return printed.err.removeprefix("mnist-sgd: ").rstrip("\n")


def unusable(path: Path) -> str:
    """Put something at `path` that is no picture; why it is none."""
    match path.name:
        case "empty.png":
            path.touch()
            return "the image is empty: it has 0 bytes"
        case "notes.txt":
            path.write_text("Thursday")
            return "these 8 bytes are not an image: PNG, JPEG, BMP, GIF, WebP and TIFF are read"
        case "cut.png":
            path.write_bytes(sample_digits()[0].read_bytes()[:100])
            return "the PNG image is damaged or cut short"
        case "scan.psd":
            path.write_bytes(b"8BPS and more")
            return "a PSD image cannot be read: save it as PNG, JPEG, BMP, GIF, WebP or TIFF"
        case "blank.png":
            Image.new("L", (50, 50), 255).save(path)
            return "nothing is drawn on the image: it is blank"
        case "failing":  # a file whose reading fails, for root too
            path.symlink_to("/proc/self/mem")
            return "cannot be read: Input/output error"
        case "loop":
            path.symlink_to(path)
            return "cannot be read: Too many levels of symbolic links"
        case "broken":
            path.symlink_to("nowhere")
            return "cannot be read: No such file or directory"
        case "pipe":
            os.mkfifo(path)
            return "a special file, not a picture"
    raise ValueError(path)


UNUSABLE = (
    "blank.png",
    "broken",
    "cut.png",
    "empty.png",
    "failing",
    "loop",
    "notes.txt",
    "pipe",
    "scan.psd",
)


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_file_that_is_no_picture_ends_the_command_with_its_name(
    folder: Path, tmp_path: Path, capsys: Output, name: str
) -> None:
    path = folder / "three" / name
    why = unusable(path)
    text = refused(folder, tmp_path / "out", capsys)
    assert text == f"{path}: {why}; --skip-unusable leaves such files out"


@pytest.mark.parametrize("workers", [1, 2])
def test_skip_leaves_out_every_such_file_and_names_it(
    folder: Path, tmp_path: Path, capsys: Output, workers: int
) -> None:
    images = expected(folder)
    lines = [
        f"mnist-sgd: skipped {folder / 'three' / name}: {unusable(folder / 'three' / name)}\n"
        for name in UNUSABLE
    ]
    (folder / "readme.md").touch()
    lines = [
        f"mnist-sgd: skipped {folder / 'readme.md'}: not in a class folder\n",
        *lines,
    ]
    out = tmp_path / "out"
    for _ in range(2):  # also what the cache knows of them
        arguments = ["pack", str(folder), str(out), "--skip-unusable", "--workers", str(workers)]
        assert main(arguments) == 0
        printed = capsys.readouterr()
        assert printed.err == "".join(lines)
        assert printed.out.splitlines()[:2] == [
            f"{out}: 8 images, 4 of seven, 4 of three",
            "files left out: 10",
        ]
        np.testing.assert_array_equal(load_packed(out).images, images)


def test_the_first_of_several_is_named_and_the_rest_are_counted(
    folder: Path, tmp_path: Path, capsys: Output
) -> None:
    for name in ("cut.png", "empty.png", "notes.txt"):
        unusable(folder / "seven" / name)
    assert refused(folder, tmp_path / "out", capsys) == (
        f"{folder / 'seven' / 'cut.png'}: the PNG image is damaged or cut short "
        "(and 2 more files are not usable); --skip-unusable leaves such files out"
    )


def test_the_files_of_a_folder_in_a_class_are_counted_one_by_one(
    folder: Path, tmp_path: Path, capsys: Output
) -> None:
    (folder / "seven" / "inner").mkdir()
    for name in "abc":
        (folder / "seven" / "inner" / f"{name}.png").write_bytes(b"")
    (folder / "three" / "link.png").symlink_to("nowhere.png")
    assert main(["pack", str(folder), str(tmp_path / "out"), "--skip-unusable"]) == 0
    printed = capsys.readouterr()
    empty, gone = (
        "the image is empty: it has 0 bytes",
        "cannot be read: No such file or directory",
    )
    lines = [f"{folder}/seven/inner/{name}.png: {empty}" for name in "abc"]
    lines.append(f"{folder}/three/link.png: {gone}")
    assert printed.err.splitlines() == [f"mnist-sgd: skipped {line}" for line in lines]
    assert printed.out.splitlines()[1] == "files left out: 4"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_an_unreadable_file_and_folder_are_named(
    folder: Path, tmp_path: Path, capsys: Output
) -> None:
    path = folder / "seven" / "1.png"
    path.chmod(0)
    text = refused(folder, tmp_path / "out", capsys)
    why = "cannot be read: Permission denied"
    assert text == f"{path}: {why}; --skip-unusable leaves such files out"
    path.parent.chmod(0)
    text = refused(folder, tmp_path / "out", capsys)
    path.parent.chmod(0o700)
    assert text == f"{path.parent}: cannot be read: Permission denied"


def test_a_file_beside_the_classes_is_named(folder: Path, tmp_path: Path, capsys: Output) -> None:
    (folder / "readme.md").touch()
    assert refused(folder, tmp_path / "out", capsys) == (
        f"{folder / 'readme.md'}: not in a class folder; --skip-unusable leaves such files out"
    )


def test_hidden_names_are_passed_over(folder: Path, tmp_path: Path) -> None:
    for path in (folder / ".git", folder / ".DS_Store", folder / "three" / ".DS_Store"):
        path.touch()
    (packed,) = pack_folder(folder, tmp_path / "out")
    assert len(packed) == 8


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], "found no class folders, need 2"),
        (["one"], "found 1 class folder (one), need 2"),
        (["a", "b", "c"], "found 3 class folders (a, b, c), need 2: choose with --classes a b"),
        (
            [f"{n:02}" for n in range(12)],
            "found 12 class folders (00, 01, 02, 03, 04, 05, 06, 07, 08, 09, ...), need 2: choose "
            "with --classes 00 01",
        ),
    ],
)
def test_other_than_two_classes_are_refused(
    tmp_path: Path, capsys: Output, names: list[str], text: str
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in names:
        (folder / name).mkdir()
    assert refused(folder, tmp_path / "out", capsys, "--skip-unusable") == (f"{folder}: {text}")


def test_a_class_without_usable_pictures_is_refused_by_name(
    folder: Path, tmp_path: Path, capsys: Output
) -> None:
    for path in (folder / "three").iterdir():
        path.write_bytes(b"")
    assert main(["pack", str(folder), str(tmp_path / "out"), "--skip-unusable"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"mnist-sgd: {folder / 'three'}: none of its 4 files is usable"
    )
    assert not (tmp_path / "out").exists()
    shutil.rmtree(folder / "three")
    (folder / "three").mkdir()
    text = refused(folder, tmp_path / "other", capsys)
    assert text == f"{folder / 'three'}: this class is empty"


def test_an_unknown_positive_class_is_refused(folder: Path, tmp_path: Path, capsys: Output) -> None:
    assert refused(folder, tmp_path / "out", capsys, "--positive", "four") == (
        "there is no class 'four'; the classes are 'seven' and 'three'"
    )


def test_a_class_name_that_cannot_be_printed_is_refused(
    folder: Path, tmp_path: Path, capsys: Output
) -> None:
    (folder / "three").rename(folder / "th\nree")
    assert refused(folder, tmp_path / "out", capsys) == (
        f"{folder}: class names must be printable, got 'th\\nree'"
    )


def test_a_missing_folder_and_one_that_holds_the_set_are_refused(
    folder: Path, tmp_path: Path, capsys: Output
) -> None:
    missing = tmp_path / "none"
    text = refused(missing, tmp_path / "out", capsys)
    assert text == f"{missing}: there is no such folder"
    for out in (folder, folder / "out", folder / "three" / "out"):
        assert refused(folder, out, capsys) == f"{out} lies inside {folder}, which is to be packed"


def test_a_folder_with_other_files_gets_no_set(
    folder: Path, tmp_path: Path, capsys: Output
) -> None:
    other = tmp_path / "runs" / "a"
    other.mkdir(parents=True)
    out = other.parent
    text = refused(folder, out, capsys)
    assert text == (
        f"{out} already holds a, which is not part of a packed set; give a new or empty folder"
    )
    file = tmp_path / "file"
    file.touch()
    assert refused(folder, file, capsys) == f"{file} is a file; give a folder for the set"
    assert [*out.iterdir()] == [other]


def test_what_a_killed_pack_left_is_replaced(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    expected = pack_folder(folder, out)[0].images.tobytes()
    (out / "set.json").unlink()
    (out / ".images-idx3-ubyte.0123abcd").touch()
    assert pack_folder(folder, out)[0].images.tobytes() == expected


def test_a_failure_leaves_the_old_set(folder: Path, tmp_path: Path) -> None:
    before = pack_folder(folder, tmp_path / "out")[0].images.tobytes()
    (folder / "three" / "zero.png").touch()
    with pytest.raises(UnusableFile):
        pack_folder(folder, tmp_path / "out", workers=2)
    assert load_packed(tmp_path / "out").images.tobytes() == before
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_packing_imports_no_torch(folder: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from mnist_sgd.cli import main\n"
        "if __name__ == '__main__':\n"
        "    assert main(['pack', *sys.argv[1:]]) == 0; assert 'torch' not in sys.modules"
    )
    line = [sys.executable, "-c", script, str(folder), str(tmp_path / "out")]
    subprocess.run(line, check=True, capture_output=True)


def test_the_command_decodes_in_processes_of_its_own(
    folder: Path, tmp_path: Path, command: Run
) -> None:
    for index in range(140):
        shutil.copy(folder / "three" / "1.png", folder / "three" / f"copy-{index}.png")
    done = command("pack", folder, tmp_path / "out", "--workers", 3)
    assert (done.returncode, done.stderr) == (0, "")
    assert load_packed(tmp_path / "out").images.shape == (148, 28, 28)


def test_the_progress_is_a_line_of_a_terminal_that_is_erased(folder: Path, tmp_path: Path) -> None:
    terminal, end = os.openpty()
    line = [sys.executable, "-m", "mnist_sgd", "pack", str(folder), str(tmp_path / "out")]
    done = subprocess.run(line, stderr=end, stdout=subprocess.PIPE, text=True, check=True)
    os.close(end)
    shown = read_to_the_end(terminal)
    assert shown.decode().startswith(f"\r|{40 * '█'}| 8 of 8 files\r")
    assert shown.endswith(b"\r\x1b[K")
    assert b"\n" not in shown
    os.close(terminal)
    assert done.stdout.startswith(f"{tmp_path / 'out'}: 8 images, ")


def read_to_the_end(terminal: int) -> bytes:
    """All that was written to a terminal: Linux passes it on bit by bit, and then has an error."""
    parts = []
    with suppress(OSError):
        while part := os.read(terminal, 1000):
            parts.append(part)
    return b"".join(parts)


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_command(
    folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """It is told to end when it has read some of 10,000 photographs, and is reading others."""
    photograph = folder / "seven" / "photograph.jpg"
    Image.effect_noise((1600, 1200), 60).save(photograph)
    for index in range(1, 10_000):
        photograph.with_stem(f"photograph {index}").hardlink_to(photograph)
    journal = folder / ".mnist_sgd" / "mnist" / "journal"
    line = [sys.executable, "-m", "mnist_sgd", "pack", str(folder), str(tmp_path / "out")]
    with subprocess.Popen([*line, "--workers", "2"], stderr=subprocess.PIPE, text=True) as packing:
        while not (journal.is_file() and journal.stat().st_size and children(packing.pid)):
            assert packing.poll() is None
            time.sleep(0.01)
        workers = children(packing.pid)
        packing.send_signal(number)
        _, printed = packing.communicate(timeout=PATIENCE)
    if number == signal.SIGINT:
        assert (packing.returncode, printed) == (130, "mnist-sgd: interrupted\n")
    for pid in workers:
        wait_until_ended(pid)
    assert not (tmp_path / "out").exists()
