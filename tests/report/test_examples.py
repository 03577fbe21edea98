"""A run has a few validation pictures of each class, which the server's page offers."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnist_sgd import ImageSet
from mnist_sgd.report.examples import PER_CLASS, SIDE, write_examples
from mnist_sgd.report.folder import EXAMPLES, clear_run
from mnist_sgd_serve.model.examples import FOLDER, MAX_BYTES

COUNTS = (10, 2)


@pytest.fixture
def dataset(tmp_path: Path) -> ImageSet:
    """Ten phones and two umbrellas: photographs whose files are in `photos`."""
    random = np.random.default_rng(2)
    labels = np.repeat([0, 1], COUNTS)
    files = [f"{('phone', 'umbrella')[label]}/{row}.tif" for row, label in enumerate(labels)]
    for row, file in enumerate(files):
        path = tmp_path / "photos" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[0x010E] = "at home"
        noise = random.integers(0, 256, (300 + row, 400, 3), np.uint8)
        Image.fromarray(noise).save(path, exif=exif)
    images = random.integers(0, 256, (12, 28, 28), np.uint8)
    return ImageSet(images, labels, ("phone", "umbrella"), preprocessing="fit", files=files)


def sizes(folder: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for path in sorted((folder / "examples").iterdir()):
        with Image.open(path) as image:
            assert (image.format, image.mode, image.info) == ("PNG", "L", {})
            found[path.name] = image.size
    return found


def test_originals_are_written_small_and_without_metadata(
    dataset: ImageSet, tmp_path: Path
) -> None:
    write_examples(tmp_path, dataset, tmp_path / "photos")
    found = sizes(tmp_path)
    assert list(found) == [
        *(f"phone-{number}.png" for number in range(1, PER_CLASS + 1)),
        *(f"umbrella-{number}.png" for number in range(1, COUNTS[1] + 1)),
    ]
    assert {max(size) for size in found.values()} == {SIDE}
    for path in (tmp_path / "examples").iterdir():
        assert path.stat().st_size <= MAX_BYTES
        assert b"home" not in path.read_bytes()


def test_without_the_originals_the_preprocessed_images_are_written(
    dataset: ImageSet, tmp_path: Path
) -> None:
    for data in (None, tmp_path / "moved"):
        write_examples(tmp_path, dataset, data)
        assert set(sizes(tmp_path).values()) == {(28, 28)}
    with Image.open(BytesIO((tmp_path / "examples" / "umbrella-2.png").read_bytes())) as image:
        np.testing.assert_array_equal(np.asarray(image), dataset.images[-1])


def test_those_of_an_older_run_disappear_and_other_files_stay(
    dataset: ImageSet, tmp_path: Path
) -> None:
    write_examples(tmp_path, dataset)
    (tmp_path / "examples" / "notes.txt").write_text("mine")
    cats = ImageSet(dataset.images, dataset.labels, ("cat", "dog"))
    write_examples(tmp_path, cats)
    names = {path.name for path in (tmp_path / "examples").iterdir()}
    assert names == {"notes.txt", "cat-1.png", "cat-2.png", "cat-3.png", "dog-1.png", "dog-2.png"}
    clear_run(tmp_path)
    assert [path.name for path in (tmp_path / "examples").iterdir()] == ["notes.txt"]
    (tmp_path / "examples" / "notes.txt").unlink()
    clear_run(tmp_path)
    assert not (tmp_path / "examples").exists()


def test_a_class_without_validation_pictures_has_no_examples(
    dataset: ImageSet, tmp_path: Path
) -> None:
    umbrellas = ImageSet(dataset.images, np.ones(12, np.uint8), dataset.classes)
    write_examples(tmp_path, umbrellas)
    assert list(sizes(tmp_path)) == [f"umbrella-{number}.png" for number in (1, 2, 3)]


def test_the_server_looks_where_the_run_puts_them() -> None:
    assert EXAMPLES == FOLDER


def test_the_samples_images_are_not_copied(dataset: ImageSet, tmp_path: Path) -> None:
    sample = ImageSet(dataset.images, dataset.labels, ("7", "3"), name="MNIST sample, valid")
    write_examples(tmp_path, sample)
    assert not (tmp_path / "examples").exists()
