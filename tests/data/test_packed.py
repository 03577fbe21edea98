"""A packed set is whole or is none, and what it holds is what was appended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnist_sgd import PackedWriter, load_packed
from mnist_sgd.data import IdxError, load_data, write_idx
from mnist_sgd.data.memory_map import underlying_mmap

CLASSES = ("7", "3")
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 28, 28), np.uint8)
LABELS = np.array([0, 1, 1, 0, 0, 1], np.uint8)


def pack(folder: Path) -> Path:
    with PackedWriter(folder, CLASSES, preprocessing="mnist") as out:
        out.append(IMAGES[:4], LABELS[:4])
        out.append(IMAGES[4:], LABELS[4:])
        assert len(out) == 6
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_set_comes_back_as_it_was_appended(tmp_path: Path) -> None:
    data = load_packed(pack(tmp_path / "new" / "digits"))
    np.testing.assert_array_equal(data.images, IMAGES)
    np.testing.assert_array_equal(data.labels, LABELS)
    assert (data.classes, data.name) == (CLASSES, "digits")
    assert load_packed(tmp_path / "new" / "digits", name="sevens").name == "sevens"


def test_the_three_files_are_the_documented_ones_and_the_same_each_time(tmp_path: Path) -> None:
    files = contents(pack(tmp_path / "a"))
    assert set(files) == {"images-idx3-ubyte", "labels-idx1-ubyte", "set.json"}
    assert files["set.json"].decode() == (
        '{\n  "format": "mnist_sgd packed set",\n  "version": 1,\n  "classes": [\n    "7",\n'
        '    "3"\n  ],\n  "images": 6,\n  "preparation": "mnist"\n}\n'
    )
    assert contents(pack(tmp_path / "b")) == files


def test_a_set_says_how_many_images_are_for_training(tmp_path: Path) -> None:
    with PackedWriter(tmp_path, CLASSES, train=4) as out:
        out.append(IMAGES, LABELS)
    assert '"train": 4' in (tmp_path / "set.json").read_text()
    data = load_data(tmp_path)
    np.testing.assert_array_equal(data.train.images, IMAGES[:4])
    np.testing.assert_array_equal(data.valid.labels, LABELS[4:])
    for one in (data.train, data.valid):
        assert underlying_mmap(one.images) is not None
    np.testing.assert_array_equal(load_packed(tmp_path).images, IMAGES)


def test_more_training_images_than_there_are_leave_the_old_set(tmp_path: Path) -> None:
    before = contents(pack(tmp_path))
    text = f"^{tmp_path}: train is 7, but only 6 images were appended$"
    with pytest.raises(ValueError, match=text), PackedWriter(tmp_path, CLASSES, train=7) as out:
        out.append(IMAGES, LABELS)
    assert contents(tmp_path) == before
    with pytest.raises(ValueError, match=r"^train must be at least 0, got -1$"):
        PackedWriter(tmp_path, CLASSES, train=-1)


def test_an_exception_leaves_the_old_set(tmp_path: Path) -> None:
    before = contents(pack(tmp_path))

    def stop_half_way() -> None:
        with PackedWriter(tmp_path, ("no", "yes")) as out:
            out.append(IMAGES[:1], LABELS[:1])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_half_way()
    assert contents(tmp_path) == before


def test_a_writer_without_images_leaves_the_old_set(tmp_path: Path) -> None:
    before = contents(pack(tmp_path))
    with (
        pytest.raises(IdxError, match="each dimension must be 1 to"),
        PackedWriter(tmp_path, CLASSES),
    ):
        pass
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("images", "labels", "text"),
    [
        (IMAGES, LABELS[:5], "got uint8 [6, 28, 28] and uint8 [5]"),
        (IMAGES[0], LABELS[0], "got uint8 [28, 28] and uint8 []"),
        (IMAGES.astype(float), LABELS, "got float64 [6, 28, 28] and uint8 [6]"),
        (IMAGES, LABELS.astype(int), "got uint8 [6, 28, 28] and int64 [6]"),
    ],
)
def test_what_is_no_batch_is_refused_and_not_written(
    tmp_path: Path, images: np.ndarray, labels: Any, text: str
) -> None:
    with PackedWriter(tmp_path, CLASSES) as out:
        with pytest.raises(ValueError, match=r"^images must be uint8 \[n, 28, 28\] and") as caught:
            out.append(images, np.asarray(labels))
        with pytest.raises(ValueError, match="labels must be 0 or 1, got 2 at index 1; "):
            out.append(IMAGES[:2], np.array([0, 2], np.uint8))
        out.append(IMAGES[:0], LABELS[:0])
        out.append(IMAGES, LABELS)
    assert str(caught.value).endswith(text)
    np.testing.assert_array_equal(load_packed(tmp_path).images, IMAGES)


def test_classes_other_than_two_names_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="classes must be a tuple of two different names, got"):
        PackedWriter(tmp_path / "new", ("3", "3"))
    assert list(tmp_path.iterdir()) == []


def refusal(folder: Path) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        load_packed(folder)
    return str(caught.value)


def test_a_folder_without_a_description_is_no_packed_set(tmp_path: Path) -> None:
    (pack(tmp_path) / "set.json").unlink()
    assert refusal(tmp_path) == (
        f"{tmp_path / 'set.json'} cannot be read: No such file or directory; the folder is not a "
        "packed set, or packing was interrupted"
    )


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (
            '"version": 1',
            '"version": 2',
            " has the format {'format': 'mnist_sgd packed set', 'versi",
        ),
        ('"images": 6', '"images": 7', ": it says 7 images, but images-idx3-ubyte holds 6"),
        ('"images": 6', '"images": "6"', " does not describe a packed set: TypeError("),
        ('"images"', '"pictures"', " does not describe a packed set: KeyError('images')"),
        ('"3"', '"7"', " does not describe a packed set: ValueError("),
        ('"3"', '"3", "4"', " does not describe a packed set: ValueError("),
        (
            '"images": 6',
            '"images": 6, "train": 7',
            " does not describe a packed set: ValueError(",
        ),
        ('"images": 6', '"images": 6, "train": "4"', " does not describe a packed set: TypeErr"),
        ("{", "[", " does not describe a packed set: JSONDecodeError("),
        ("{", "[" * 100_000, " does not describe a packed set: RecursionError("),
    ],
)
def test_another_description_is_refused_by_name(
    tmp_path: Path, old: str, new: str, text: str
) -> None:
    path = pack(tmp_path) / "set.json"
    path.write_text(path.read_text().replace(old, new, 1))
    assert refusal(tmp_path).startswith(f"{path}{text}")


def test_files_that_do_not_belong_together_are_refused_by_name(tmp_path: Path) -> None:
    write_idx(pack(tmp_path) / "labels-idx1-ubyte", LABELS[:5])
    assert refusal(tmp_path) == (
        f"{tmp_path / 'images-idx3-ubyte'} with {tmp_path / 'labels-idx1-ubyte'}: "
        "every image needs one label, got 6 images and 5 labels"
    )


WRITER = """
import sys
import numpy as np
from mnist_sgd import PackedWriter

number = 0
while True:
    number = 1 - number
    with PackedWriter(sys.argv[1], (f"{number} no", f"{number} yes")) as out:
        out.append(np.full((999, 28, 28), number, np.uint8), np.full(999, number, np.uint8))
    print(flush=True)
"""


@pytest.mark.parametrize("moment", [0.0, 0.0002, 0.0005, 0.001, 0.002, 0.003, 0.004, 0.006])
def test_kill_9_while_writing_leaves_the_parts_of_one_set_or_no_set(
    tmp_path: Path, moment: float
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        for _ in range(3):
            writer.stdout.readline()
        time.sleep(moment)
        os.kill(writer.pid, signal.SIGKILL)
    if (tmp_path / "set.json").exists():
        data = load_packed(tmp_path)
        numbers = {int(data.classes[0][0]), *data.images[:, 0, 0].tolist(), *data.labels.tolist()}
        assert numbers in ({0}, {1})
    else:
        assert "packing was interrupted" in refusal(tmp_path)
