"""IDX files are found under the names that every way to download MNIST gives them."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from mnist_sgd.cli import main
from mnist_sgd.data import load_data, write_idx
from mnist_sgd.data.memory_map import underlying_mmap

Output = pytest.CaptureFixture[str]
IMAGES = np.random.default_rng(1).integers(0, 256, (40, 28, 28), np.uint8)
DIGITS = (np.arange(40) % 10).astype(np.uint8)
NAMES = {
    "train-images-idx3-ubyte": IMAGES[:30],
    "train-labels-idx1-ubyte": DIGITS[:30],
    "t10k-images-idx3-ubyte": IMAGES[30:],
    "t10k-labels-idx1-ubyte": DIGITS[30:],
}


def files(folder: Path, labels: np.ndarray = DIGITS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in NAMES.items():
        kept = array if "images" in name else labels[:30] if "train" in name else labels[30:]
        write_idx(folder / name, kept)
    return folder


def dotted(folder: Path, suffix: str) -> Path:
    files(folder)
    for name in NAMES:
        path = folder / name
        content = path.read_bytes()
        path.unlink()
        packed = gzip.compress(content) if suffix else content
        (folder / (name.replace("-idx", ".idx") + suffix)).write_bytes(packed)
    return folder


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_names_with_a_dot_are_read(tmp_path: Path, suffix: str) -> None:
    data = load_data(dotted(tmp_path / "kaggle", suffix), classes=("7", "3"))
    np.testing.assert_array_equal(data.train.images, IMAGES[:30][np.isin(DIGITS[:30], (3, 7))])
    assert (data.train.name, len(data.valid)) == ("kaggle, train", 2)


def test_files_in_folders_of_their_names_are_read(tmp_path: Path) -> None:
    """As in an archive of Kaggle's."""
    files(tmp_path / "plain")
    for name in NAMES:
        (tmp_path / "archive" / name).mkdir(parents=True)
        (tmp_path / "plain" / name).rename(tmp_path / "archive" / name / name)
    assert len(load_data(tmp_path / "archive", classes=("7", "3")).train) == 6


def test_torchvisions_folders_are_read_from_any_of_their_levels(tmp_path: Path) -> None:
    root = tmp_path / "root"
    files(root / "MNIST" / "raw")
    for folder in (root, root / "MNIST", root / "MNIST" / "raw"):
        data = load_data(folder, classes=("7", "3"))
        assert (data.train.name, data.valid.name) == ("MNIST, train", "MNIST, valid")
    files(root / "FashionMNIST" / "raw")
    with pytest.raises(ValueError, match=r".") as caught:
        load_data(root, classes=("7", "3"))
    assert str(caught.value) == (
        f"{root} holds several sets, FashionMNIST, MNIST; give one of them, such as "
        f"{root}/FashionMNIST"
    )


def test_the_positive_class_is_the_last_as_strings_sort_also_of_two_digits(tmp_path: Path) -> None:
    labels = np.where(DIGITS % 2, 10, 9).astype(np.uint8)
    data = load_data(files(tmp_path, labels=labels))
    assert data.train.classes == ("10", "9")
    np.testing.assert_array_equal(data.train.labels, labels[:30] == 9)
    assert load_data(tmp_path, positive="10").train.classes == ("9", "10")
    assert load_data(tmp_path, classes=("9", "10")).train.classes == ("9", "10")


@pytest.mark.parametrize("sort", [False, True])
def test_images_that_need_no_selection_stay_mapped(tmp_path: Path, sort: bool) -> None:
    """Those of a set of two classes, and those of two classes one after the other."""
    labels = np.sort(DIGITS[:30]) if sort else DIGITS[:30] % 2
    every = np.concatenate([labels, DIGITS[30:] if sort else DIGITS[30:] % 2])
    data = load_data(files(tmp_path, labels=every), classes=("3", "4") if sort else None)
    assert underlying_mmap(data.train.images) is not None
    chosen = np.isin(labels, (3, 4)) if sort else labels < 2
    np.testing.assert_array_equal(data.train.images, IMAGES[:30][chosen])
    np.testing.assert_array_equal(data.train.labels, labels[chosen] == (4 if sort else 1))


NEEDED = (
    "nothing to load here: need folders '7' and '3' (in it, or in train and valid), a packed set "
    "(set.json), or IDX files (train-images-idx3-ubyte or .gz, there or in */raw); it holds "
)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["test.csv", "train.csv"], "'test.csv', 'train.csv'; CSV files are not supported"),
        (["mnist.zip"], "'mnist.zip'; unpack the archive first"),
        (["sub/a.txt"], "'sub'"),
        ([], "nothing"),
        ([f"{n}.txt" for n in range(9)], "'0.txt', '1.txt', '2.txt', '3.txt', '4.txt', ..."),
    ],
)
def test_a_folder_that_is_not_understood_is_told_what_was_looked_for(
    tmp_path: Path, capsys: Output, names: list[str], text: str
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    assert main(["train", "--data", str(folder), "--classes", "7", "3"]) == 2
    assert capsys.readouterr() == ("", f"mnist-sgd: {folder}: {NEEDED}{text}\n")


def test_a_file_and_the_folder_of_a_class_are_told_what_is_needed(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        (tmp_path / "pets" / name / "1.jpg").touch()
    with pytest.raises(ValueError, match=f"it holds '1.jpg'; did you mean {tmp_path}/pets[?]$"):
        load_data(tmp_path / "pets" / "cat")
    (tmp_path / "train.csv").touch()
    text = "train.csv: this is a file, need a folder with two class folders [(]in it, or"
    with pytest.raises(ValueError, match=text):
        load_data(tmp_path / "train.csv")


def test_the_folder_that_holds_the_one_folder_of_classes_is_told_so(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "outer" / "pets" / name).mkdir(parents=True)
    text = f"found 1 class folder [(]pets[)], need 2; did you mean {tmp_path}/outer/pets[?]$"
    with pytest.raises(ValueError, match=text):
        load_data(tmp_path / "outer")
