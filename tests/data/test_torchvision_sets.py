"""Any two classes of torchvision's 28 x 28 sets become a training and a test ImageSet."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idx_files import write_part
from mnist_sgd.data import torchvision_set, write_idx

MNIST = Path(__file__).parents[3] / "shared" / "mnist"
PARTS = ("train", "t10k")


def fake_labels(count: int) -> np.ndarray:
    """Three images of each class, the classes in turn."""
    return np.tile(np.arange(count, dtype=np.uint8), 3)


def fake_images(labels: np.ndarray) -> np.ndarray:
    """Images that no transposition leaves as they are, one unlike another."""
    noise = np.random.default_rng(0).integers(0, 256, (len(labels), 28, 28), np.uint8)
    noise[:, 0, 1], noise[:, 1, 0] = labels, 255
    return noise


def write_set(root: Path, name: str, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Write a set of torchvision's MNIST family, with the same images for both parts."""
    labels = fake_labels(classes)
    images = fake_images(labels)
    for part in PARTS:
        write_part(root / name / "raw", part, images, labels)
    return images, labels


@pytest.mark.parametrize(
    ("name", "given", "pair", "classes"),
    [
        ("MNIST", ("7", "3"), (7, 3), ("7", "3")),
        ("MNIST", (7, 3), (7, 3), ("7", "3")),
        ("MNIST", ("7 - seven", "Three"), (7, 3), ("7", "3")),
        ("FashionMNIST", ("sneaker", "Ankle Boot"), (7, 9), ("Sneaker", "Ankle boot")),
        ("FashionMNIST", ("T-shirt/top", "6"), (0, 6), ("T-shirt/top", "Shirt")),
        ("KMNIST", ("WO", "o"), (9, 0), ("wo", "o")),
    ],
)
def test_two_classes_by_name_or_label(
    tmp_path: Path,
    name: str,
    given: tuple[str | int, str | int],
    pair: tuple[int, int],
    classes: tuple[str, str],
) -> None:
    images, labels = write_set(tmp_path, name)
    train, test = torchvision_set(name, given, root=tmp_path)
    kept = np.isin(labels, pair)
    for data, part in ((train, "train"), (test, "test")):
        assert (data.classes, data.name) == (classes, f"{name}, {part}")
        np.testing.assert_array_equal(data.images, images[kept])
        np.testing.assert_array_equal(data.labels, labels[kept] == pair[1])


def test_qmnist_takes_the_digit_from_the_first_column(tmp_path: Path) -> None:
    folder = tmp_path / "QMNIST" / "raw"
    folder.mkdir(parents=True)
    labels = fake_labels(10)
    images = fake_images(labels)
    columns = np.full((len(labels), 8), 3, ">i4")
    columns[:, 0] = labels
    for part in ("train", "test"):
        write_idx(folder / f"qmnist-{part}-images-idx3-ubyte", images)
        content = struct.pack(">BBBBII", 0, 0, 0x0C, 2, *columns.shape) + columns.tobytes()
        (folder / f"qmnist-{part}-labels-idx2-int").write_bytes(content)
    for data in torchvision_set("QMNIST", ("1", "8"), root=tmp_path):
        np.testing.assert_array_equal(data.images, images[np.isin(labels, (1, 8))])
        assert data.labels.tolist() == [0, 1] * 3


@pytest.mark.parametrize(
    ("split", "classes", "given", "pair"),
    [
        ("balanced", 47, ("A", "a"), (10, 36)),
        ("balanced", 47, ("3", "z"), (3, 35)),
        ("letters", 27, ("C", 5), (3, 5)),
        ("letters", 27, ("y", "z"), (25, 26)),
    ],
)
def test_emnist_is_upright_and_told_by_case(
    tmp_path: Path,
    split: str,
    classes: int,
    given: tuple[str | int, str | int],
    pair: tuple[int, int],
) -> None:
    labels = fake_labels(classes)
    upright = fake_images(labels)
    for part in ("train", "test"):
        turned = upright.transpose(0, 2, 1)
        write_part(tmp_path / "EMNIST" / "raw", f"emnist-{split}-{part}", turned, labels)
    train, test = torchvision_set("EMNIST", given, root=tmp_path, split=split)
    assert (train.name, test.name) == (f"EMNIST {split}, train", f"EMNIST {split}, test")
    np.testing.assert_array_equal(train.images, upright[np.isin(labels, pair)])
    np.testing.assert_array_equal(test.images, upright[np.isin(labels, pair)])


@pytest.mark.skipif(not MNIST.is_dir(), reason="the full MNIST is not here")
def test_the_full_mnist_has_the_samples_threes_and_sevens(tmp_path: Path) -> None:
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for path in MNIST.glob("*.gz"):
        (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    train, test = torchvision_set("MNIST", ("7", "3"), root=tmp_path)
    assert repr(train) == "ImageSet('MNIST, train': 12,396 images, 6,265 of '7', 6,131 of '3')"
    assert repr(test) == "ImageSet('MNIST, test': 2,038 images, 1,028 of '7', 1,010 of '3')"


@pytest.mark.parametrize(
    ("name", "given", "text"),
    [
        (
            "FashionMNIST",
            ("Boot", "Bag"),
            "FashionMNIST has no class 'Boot'; its classes are T-shirt",
        ),
        ("MNIST", ("10", "3"), "MNIST has no class '10'; its classes are 0 - zero, 1 - one, "),
        ("MNIST", (3, -1), "MNIST has no class -1; its classes are 0 - zero, 1 - one, "),
        ("KMNIST", ("o", "O"), "two different labels are needed, got 0 twice"),
    ],
)
def test_an_unknown_class_is_refused_with_the_choices(
    tmp_path: Path, name: str, given: tuple[str | int, str | int], text: str
) -> None:
    write_set(tmp_path, name)
    with pytest.raises(ValueError, match=r".") as caught:
        torchvision_set(name, given, root=tmp_path)
    assert str(caught.value).startswith(text)


def test_an_unknown_set_or_split_is_refused_with_the_choices(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        torchvision_set("CIFAR10", ("cat", "dog"), root=tmp_path)
    choices = "MNIST, FashionMNIST, KMNIST, QMNIST, EMNIST"
    assert str(caught.value) == f"unknown set 'CIFAR10'; the sets are {choices}"
    with pytest.raises(ValueError, match=r".") as caught:
        torchvision_set("EMNIST", ("a", "b"), root=tmp_path, split="all")
    splits = "balanced, byclass, bymerge, digits, letters, mnist"
    assert str(caught.value) == f"EMNIST has no split 'all'; it has {splits}"


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "KMNIST", "QMNIST", "EMNIST"])
def test_missing_files_are_refused_with_the_folder_and_what_to_do(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        torchvision_set(name, (0, 1), root=tmp_path)
    text = str(caught.value)
    assert text.startswith(f"{name} cannot be loaded from {tmp_path / name / 'raw'} (torchvision: ")
    assert text.endswith("); put its files there, or set download=True (--download)")


@pytest.mark.parametrize("content", [b"", b"\0\0\x08", b"\0\0\x0a\x03" + bytes(12), b"garbage" * 9])
def test_damaged_files_are_refused_with_the_folder(tmp_path: Path, content: bytes) -> None:
    write_set(tmp_path, "MNIST")
    (tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"^MNIST cannot be loaded from .* \(torchvision: .+\); put"
    ):
        torchvision_set("MNIST", ("7", "3"), root=tmp_path)


def test_a_download_is_asked_of_torchvision_only_when_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchvision.datasets

    asked: list[Any] = []

    def download(self: Any) -> None:
        asked.append(self)
        raise OSError("no network\nhere")

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", download)
    with pytest.raises(ValueError, match="Dataset not found"):
        torchvision_set("MNIST", ("7", "3"), root=tmp_path)
    assert not asked
    with pytest.raises(
        ValueError,
        match=r"^MNIST could not be downloaded to .*/raw: no network here; put its files there$",
    ):
        torchvision_set("MNIST", ("7", "3"), root=tmp_path, download=True)
    assert len(asked) == 1
