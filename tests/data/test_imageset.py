"""An ImageSet holds good data in the memory it came in, or is not made."""

import pickle
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from mnist_sgd.data import IdxError, ImageSet, Rows, load_idx_set, select_classes, write_idx

CLASSES = ("7", "3")


def random_images(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 28, 28), np.uint8)


IMAGES = random_images(4)
LABELS = np.array([1, 0, 0, 1], np.uint8)


def test_it_keeps_the_very_arrays_it_is_given() -> None:
    data = ImageSet(IMAGES, LABELS, CLASSES, "four")
    assert data.images is IMAGES
    assert data.labels is LABELS
    assert len(data) == 4
    assert repr(data) == "ImageSet('four': 4 images, 2 of '7', 2 of '3')"


def test_labels_may_be_int64() -> None:
    assert ImageSet(IMAGES, LABELS.astype(np.int64), CLASSES).labels.dtype == np.int64


def test_a_memory_map_is_taken_as_it_is(tmp_path: Path) -> None:
    IMAGES.tofile(tmp_path / "pixels")
    mapped = np.memmap(tmp_path / "pixels", np.uint8, "r", shape=IMAGES.shape)
    assert ImageSet(mapped, LABELS, CLASSES).images is mapped


@pytest.mark.parametrize(
    ("images", "text"),
    [
        (IMAGES.astype(np.float32), "images must be uint8, got float32"),
        (IMAGES.view(np.int8), "images must be uint8, got int8"),
        (IMAGES.reshape(4, 784), "images must be [N, 28, 28], got [4, 784]"),
        (IMAGES[:, None], "images must be [N, 28, 28], got [4, 1, 28, 28]"),
        (IMAGES[:, :27], "images must be [N, 28, 28], got [4, 27, 28]"),
        (np.zeros((), np.uint8), "images must be [N, 28, 28], got []"),
        (IMAGES[:0], "the set holds no images; at least 1 is needed"),
        (IMAGES[:3], "every image needs one label, got 3 images and 4 labels"),
        (
            IMAGES.transpose(0, 2, 1),
            "images must be C-contiguous, got strides [784, 1, 28] for [4, 28, 28]; "
            "numpy.ascontiguousarray makes a contiguous copy",
        ),
        (
            np.repeat(IMAGES, 2, axis=0)[::2],
            "images must be C-contiguous, got strides [1568, 28, 1] for [4, 28, 28]; "
            "numpy.ascontiguousarray makes a contiguous copy",
        ),
    ],
)
def test_wrong_images_are_refused(images: np.ndarray, text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        ImageSet(images, LABELS, CLASSES)
    assert str(caught.value) == text


ONLY_0_AND_1 = "; select_classes picks two classes of a larger set"


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (LABELS.astype(np.int32), "labels must be uint8 or int64, got int32"),
        (LABELS.astype(bool), "labels must be uint8 or int64, got bool"),
        (LABELS.astype(">i8"), "labels must be uint8 or int64, got >i8"),
        (LABELS[:, None], "labels must be [N], got [4, 1]"),
        (LABELS[:2], "every image needs one label, got 4 images and 2 labels"),
        (np.repeat(LABELS, 2)[::2], "labels must be C-contiguous, got strides [2] for [4]; "),
        (
            np.array([0, 1, 3, 7], np.uint8),
            f"labels must be 0 or 1, got 3 at index 2{ONLY_0_AND_1}",
        ),
        (np.array([0, -1, 0, 0]), f"labels must be 0 or 1, got -1 at index 1{ONLY_0_AND_1}"),
        (np.array([256, 0, 1, 0]), f"labels must be 0 or 1, got 256 at index 0{ONLY_0_AND_1}"),
    ],
)
def test_wrong_labels_are_refused(labels: np.ndarray, text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        ImageSet(IMAGES, labels, CLASSES)
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    "classes", [("3", "3"), ("3",), ("1", "2", "3"), ("", "3"), (7, 3), "73", ["7", "3"]]
)
def test_classes_other_than_two_different_names_are_refused(classes: Any) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        ImageSet(IMAGES, LABELS, classes)
    assert str(caught.value) == f"classes must be a tuple of two different names, got {classes!r}"


def test_another_number_of_files_than_images_is_refused() -> None:
    images, labels = np.zeros((2, 28, 28), np.uint8), np.array([0, 1], np.uint8)
    assert ImageSet(images, labels, ("a", "b"), files=["a/1", "b/1"]).files == ["a/1", "b/1"]
    assert ImageSet(images, labels, ("a", "b")).files == ()
    text = "^files must be empty or as many as the images, got 2 images and 1 files$"
    with pytest.raises(ValueError, match=text):
        ImageSet(images, labels, ("a", "b"), files=["a/1"])


def test_another_number_of_digests_than_images_is_refused() -> None:
    images, labels = np.zeros((2, 28, 28), np.uint8), np.array([0, 1], np.uint8)
    assert ImageSet(images, labels, ("a", "b"), digests=["0a", "0b"]).digests == ["0a", "0b"]
    text = "^digests must be empty or as many as the images, got 2 images and 1 digests$"
    with pytest.raises(ValueError, match=text):
        ImageSet(images, labels, ("a", "b"), digests=["0a"])


def test_what_is_not_an_array_is_refused() -> None:
    images: Any = IMAGES.tolist()
    with pytest.raises(TypeError, match=r"^images must be a NumPy array, got list$"):
        ImageSet(images, LABELS, CLASSES)


def test_the_fingerprint_is_the_documented_digest() -> None:
    content = b'[4, "7", "3"]' + IMAGES.tobytes() + LABELS.tobytes()
    expected = blake2b(content, digest_size=8).hexdigest()
    assert ImageSet(IMAGES, LABELS, CLASSES).fingerprint() == expected


@pytest.mark.parametrize(
    "other",
    [
        ImageSet(IMAGES ^ np.uint8(1), LABELS, CLASSES),
        ImageSet(IMAGES, LABELS ^ np.uint8(1), CLASSES),
        ImageSet(IMAGES, LABELS, ("3", "7")),
        ImageSet(IMAGES[:3], LABELS[:3], CLASSES),
        ImageSet(IMAGES[::-1].copy(), LABELS, CLASSES),
    ],
)
def test_the_fingerprint_tells_sets_apart(other: ImageSet) -> None:
    assert other.fingerprint() != ImageSet(IMAGES, LABELS, CLASSES).fingerprint()


@given(row=st.integers(0, 4095), bit=st.integers(0, 8 * 784 - 1))
@settings(deadline=None, max_examples=20)
def test_the_fingerprint_of_up_to_4096_images_sees_every_bit(row: int, bit: int) -> None:
    images = np.zeros((4096, 28, 28), np.uint8)
    labels = np.zeros(4096, np.uint8)
    before = ImageSet(images, labels, CLASSES).fingerprint()
    images.reshape(4096, -1)[row, bit // 8] ^= np.uint8(1 << bit % 8)
    assert ImageSet(images, labels, CLASSES).fingerprint() != before


def test_the_fingerprint_of_a_large_set_reads_4096_evenly_spaced_rows() -> None:
    images = np.zeros((3 * 4096, 28, 28), np.uint8)
    labels = np.zeros(len(images), np.uint8)
    before = ImageSet(images, labels, CLASSES).fingerprint()
    images[1::3] = images[2::3] = 255
    assert ImageSet(images, labels, CLASSES).fingerprint() == before
    images[3 * 4095] = 255
    assert ImageSet(images, labels, CLASSES).fingerprint() != before


def test_the_fingerprint_depends_on_neither_the_name_nor_the_label_type_nor_pickling() -> None:
    data = ImageSet(IMAGES, LABELS, CLASSES, "one")
    other = ImageSet(IMAGES, LABELS.astype(np.int64), CLASSES, "two")
    assert data.fingerprint() == other.fingerprint()
    assert pickle.loads(pickle.dumps(data)).fingerprint() == data.fingerprint()


@settings(deadline=None)
@given(
    labels=st.lists(st.integers(0, 4), min_size=2, max_size=30),
    dtype=st.sampled_from([np.uint8, np.int32, np.int64]),
    data=st.data(),
)
def test_select_classes_keeps_the_two_classes_in_their_order(
    labels: list[int], dtype: type[np.integer], data: st.DataObject
) -> None:
    labels += [0, 1]
    pair = data.draw(st.permutations(sorted(set(labels))))[:2]
    images = random_images(len(labels))
    chosen = select_classes(images, np.array(labels, dtype), (pair[0], pair[1]), CLASSES, name="n")
    kept = [i for i, label in enumerate(labels) if label in pair]
    np.testing.assert_array_equal(chosen.images, images[kept])
    assert chosen.labels.tolist() == [pair.index(labels[i]) for i in kept]
    assert (chosen.classes, chosen.name) == (CLASSES, "n")


@given(st.lists(st.integers(0, 3), min_size=4, max_size=40), st.permutations(range(4)))
def test_a_selected_image_is_found_again_by_its_row(labels: list[int], pair: list[int]) -> None:
    labels += range(4)
    images = random_images(len(labels))
    chosen = select_classes(images, np.array(labels), (pair[0], pair[1]), CLASSES)
    for index, image in enumerate(chosen.images):
        file, row = chosen.row_of(index)
        assert file == ""
        np.testing.assert_array_equal(image, images[row])


def test_another_number_of_rows_than_images_is_refused() -> None:
    rows = [Rows(range(7, 9), "a"), Rows(np.array([5, 3]), "b")]
    data = ImageSet(IMAGES, LABELS, CLASSES, rows=rows)
    assert [data.row_of(i) for i in range(4)] == [("a", 7), ("a", 8), ("b", 5), ("b", 3)]
    assert ImageSet(IMAGES, LABELS, CLASSES).row_of(2) == ("", 2)
    with pytest.raises(
        ValueError, match=r"^rows must be empty or as many as the images, got 4 images and 2 rows$"
    ):
        ImageSet(IMAGES, LABELS, CLASSES, rows=rows[:1])


def test_select_classes_makes_the_images_of_any_layout_contiguous() -> None:
    upright = select_classes(IMAGES.transpose(0, 2, 1), LABELS, (0, 1), CLASSES)
    np.testing.assert_array_equal(upright.images, IMAGES.transpose(0, 2, 1))


@pytest.mark.parametrize(
    ("labels", "pair", "text"),
    [
        ([5, 2, 2, 9], (2, 3), "no image has the label 3; the labels are 2, 5, 9"),
        ([5, 2, 2, 9], (2, 2), "two different labels are needed, got 2 twice"),
        ([5, 2], (2, 5), "every image needs one label, got images [4, 28, 28] and labels [2]"),
    ],
)
def test_select_classes_refuses_what_cannot_be_selected(
    labels: list[int], pair: tuple[int, int], text: str
) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        select_classes(IMAGES, np.array(labels), pair, CLASSES)
    assert str(caught.value) == text


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_two_idx_files_make_a_set(tmp_path: Path, suffix: str) -> None:
    images, labels = tmp_path / f"images{suffix}", tmp_path / f"labels{suffix}"
    write_idx(images, IMAGES)
    write_idx(labels, LABELS)
    data = load_idx_set(images, labels, CLASSES, name="four")
    np.testing.assert_array_equal(data.images, IMAGES)
    np.testing.assert_array_equal(data.labels, LABELS)
    assert (data.classes, data.name) == (CLASSES, "four")


def test_two_classes_of_many_are_loaded_from_idx_files(tmp_path: Path) -> None:
    write_idx(tmp_path / "images", IMAGES)
    write_idx(tmp_path / "labels", np.array([3, 5, 7, 3], np.uint8))
    data = load_idx_set(tmp_path / "images", tmp_path / "labels", CLASSES, label_pair=(7, 3))
    np.testing.assert_array_equal(data.images, IMAGES[[0, 2, 3]])
    assert data.labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("images", "labels", "pair", "text"),
    [
        (IMAGES, LABELS[:3], None, "every image needs one label, got 4 images and 3 labels"),
        (LABELS, IMAGES, None, "images must be [N, 28, 28], got [4]"),
        (IMAGES, np.array([0, 1, 2, 0], np.uint8), None, "labels must be 0 or 1, got 2 at index 2"),
        (IMAGES, LABELS, (1, 2), "no image has the label 2; the labels are 0, 1"),
    ],
)
def test_two_idx_files_that_make_no_set_are_refused_by_name(
    tmp_path: Path,
    images: np.ndarray,
    labels: np.ndarray,
    pair: tuple[int, int] | None,
    text: str,
) -> None:
    write_idx(tmp_path / "i", images)
    write_idx(tmp_path / "l", labels)
    with pytest.raises(IdxError) as caught:
        load_idx_set(tmp_path / "i", tmp_path / "l", CLASSES, label_pair=pair)
    assert str(caught.value).startswith(f"{tmp_path / 'i'} with {tmp_path / 'l'}: {text}")
