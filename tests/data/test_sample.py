"""The sample in the package is the chapter's data, in the chapter's order."""

import subprocess
import sys
from hashlib import md5
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnist_sgd.data import ImageSet, mnist_sample, read_idx, sample_digits

ROOT = Path(__file__).parents[2]
MNIST = ROOT.parent / "shared" / "mnist"
needs_mnist = pytest.mark.skipif(not MNIST.is_dir(), reason="the full MNIST is not here")

TRAIN, VALID = mnist_sample()


def test_the_counts_are_the_chapters() -> None:
    assert (len(TRAIN), len(VALID)) == (12_396, 2_038)
    assert TRAIN.labels.tolist() == [1] * 6_131 + [0] * 6_265
    assert VALID.labels.tolist() == [1] * 1_010 + [0] * 1_028


def test_label_1_is_the_three() -> None:
    assert TRAIN.classes == VALID.classes == ("7", "3")
    assert (TRAIN.name, VALID.name) == ("MNIST sample, train", "MNIST sample, valid")


def test_the_pixels_and_labels_never_change() -> None:
    def digest(data: ImageSet) -> str:
        return md5(data.images.tobytes() + data.labels.tobytes(), usedforsecurity=False).hexdigest()

    assert digest(TRAIN) == "fc73024f11666b4c711a1a310a4383b8"
    assert digest(VALID) == "78e553b782ef8733b562fe6f92581874"
    assert (TRAIN.fingerprint(), VALID.fingerprint()) == ("200cd2762f378b07", "1a004a593db2c07e")


@needs_mnist
@pytest.mark.parametrize(("data", "part"), [(TRAIN, "train"), (VALID, "t10k")])
def test_the_order_is_that_of_mnist_samples_file_names(data: ImageSet, part: str) -> None:
    images = read_idx(MNIST / f"{part}-images-idx3-ubyte.gz")
    labels = read_idx(MNIST / f"{part}-labels-idx1-ubyte.gz")
    for label, digit in ((1, 3), (0, 7)):
        names = sorted(f"{i}.png" for i, known in enumerate(labels) if known == digit)
        rows = [int(name.removesuffix(".png")) for name in names]
        np.testing.assert_array_equal(data.images[data.labels == label], images[rows])


@needs_mnist
def test_the_script_makes_the_files_of_the_package(tmp_path: Path) -> None:
    command = [sys.executable, "tools/make_sample.py", str(MNIST), "--out", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True)
    package = sample_digits()[0].parents[1]
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.*"))
    assert len(made) == 4 + 8
    for path in made:
        if path.suffix == ".gz":  # the envelope may differ with zlib's version
            np.testing.assert_array_equal(read_idx(tmp_path / path), read_idx(package / path))
        else:
            with Image.open(tmp_path / path) as new, Image.open(package / path) as old:
                assert new.tobytes() == old.tobytes()


def test_the_script_refuses_files_that_are_not_mnist(tmp_path: Path) -> None:
    for part in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            (tmp_path / f"{part}-{kind}-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x01\x03")
    command = [sys.executable, "tools/make_sample.py", str(tmp_path), "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        f"{tmp_path / 'train-images-idx3-ubyte'}: the md5 of its unpacked bytes is "
        "5c9b4c0ff76bed8e5cdaee69f05abf97, MNIST's is 6bbc9ace898e44ae57da46a324031adb\n"
    )


def test_the_digits_are_validation_images_and_scans_of_some() -> None:
    paths = sample_digits()
    assert [path.stem for path in paths] == [
        f"{n}-{i}" for n in ("seven", "three") for i in range(1, 5)
    ]
    for path in paths:
        with Image.open(path) as image:
            assert image.mode == "L"
            pixels = np.asarray(image)
        if path.stem[-1] in "12":
            (row,) = np.flatnonzero((VALID.images == pixels).all(axis=(1, 2)))
            assert VALID.labels[row] == path.stem.startswith("three")
        else:
            assert min(pixels.shape) >= 200
            assert np.median(pixels) > 200
            assert pixels.min() < 70
