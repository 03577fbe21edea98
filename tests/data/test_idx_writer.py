"""An IdxWriter makes of any pieces the file that write_idx makes of the whole, or leaves none."""

import gzip
import resource
import signal
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from memory import traced
from mnist_sgd import IdxError, IdxWriter, read_idx, write_idx
from processes import in_child

IMAGES = np.arange(5 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(5, 28, 28)
HEADER = struct.pack(">BBBB3I", 0, 0, 8, 3, 5, 28, 28)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("writer")


@settings(deadline=None)
@given(
    array=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, max_side=9)),
    cuts=st.lists(st.integers(0, 9), max_size=5),
    name=st.sampled_from(["a.idx", "a.gz"]),
)
def test_any_pieces_of_an_array_make_the_file_of_the_whole(
    folder: Path, array: np.ndarray, cuts: list[int], name: str
) -> None:
    write_idx(folder / f"whole-{name}", array)
    with IdxWriter(folder / name, array.shape[1:]) as out:
        for piece in np.split(array, sorted(min(cut, len(array)) for cut in cuts)):
            out.append(piece)
        assert len(out) == len(array)
    assert (folder / name).read_bytes() == (folder / f"whole-{name}").read_bytes()


def test_one_item_or_many_are_appended(tmp_path: Path) -> None:
    with IdxWriter(tmp_path / "images", (28, 28)) as out:
        out.append(IMAGES[0])
        out.append(IMAGES[1:1])
        out.append(IMAGES[1:])
    assert (tmp_path / "images").read_bytes() == HEADER + IMAGES.tobytes()
    with IdxWriter(tmp_path / "labels") as out:
        out.append(np.array(1, np.uint8))
        out.append(np.array([0, 1], np.uint8))
    assert read_idx(tmp_path / "labels").tolist() == [1, 0, 1]


def test_an_item_of_any_layout_is_written_in_row_major_order(tmp_path: Path) -> None:
    with IdxWriter(tmp_path / "a", (28, 14)) as out:
        out.append(IMAGES[:, :, ::2])
        out.append(IMAGES[0, :14].T)
    expected = [*IMAGES[:, :, ::2], IMAGES[0, :14].T]
    np.testing.assert_array_equal(read_idx(tmp_path / "a"), expected)


def test_a_gzipped_stream_is_one_member_without_name_or_time(tmp_path: Path) -> None:
    with IdxWriter(tmp_path / "a.gz", (28, 28)) as out:
        out.append(IMAGES)
    content = (tmp_path / "a.gz").read_bytes()
    assert content[3:8] == bytes(5)
    assert gzip.decompress(content) == HEADER + IMAGES.tobytes()


@pytest.mark.parametrize("name", ["a", "a.gz"])
def test_the_file_has_no_name_until_it_is_whole(tmp_path: Path, name: str) -> None:
    with IdxWriter(tmp_path / name, (28, 28)) as out:
        out.append(IMAGES)
        assert not (tmp_path / name).exists()
    assert list(tmp_path.iterdir()) == [tmp_path / name]


@pytest.mark.parametrize("name", ["a", "a.gz"])
def test_an_exception_leaves_the_old_file_and_no_other(tmp_path: Path, name: str) -> None:
    write_idx(tmp_path / name, IMAGES)

    def stop_half_way() -> None:
        with IdxWriter(tmp_path / name, (28, 28)) as out:
            out.append(IMAGES[:2])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_half_way()
    np.testing.assert_array_equal(read_idx(tmp_path / name), IMAGES)
    assert list(tmp_path.iterdir()) == [tmp_path / name]


@pytest.mark.parametrize("name", ["a", "a.gz"])
def test_memory_is_flat_whatever_is_written(tmp_path: Path, name: str) -> None:
    many = np.broadcast_to(IMAGES[0], (100_000, 28, 28))  # 78 MB, were it copied
    with traced() as peak:
        with IdxWriter(tmp_path / name, (28, 28)) as out:
            for _ in range(2):
                out.append(many)
        assert peak() < 4 * 2**20
    assert len(out) == 200_000


def test_a_writer_without_items_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with pytest.raises(IdxError) as caught, IdxWriter(path, (28, 28)):
        pass
    assert str(caught.value) == f"{path}: each dimension must be 1 to 2**32 - 1, got [0, 28, 28]"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("items", "text"),
    [
        (IMAGES.astype(np.int64), "int64 [5, 28, 28]"),
        (IMAGES.view(np.int8), "int8 [5, 28, 28]"),
        (IMAGES[:, :27], "uint8 [5, 27, 28]"),
        (IMAGES[0, 0], "uint8 [28]"),
        (IMAGES[:, None], "uint8 [5, 1, 28, 28]"),
        (np.array(7, np.uint8), "uint8 []"),
    ],
)
def test_items_of_another_type_or_shape_are_refused_and_the_rest_goes_on(
    tmp_path: Path, items: np.ndarray, text: str
) -> None:
    path = tmp_path / "a"
    with IdxWriter(path, (28, 28)) as out:
        out.append(IMAGES[:2])
        with pytest.raises(IdxError) as caught:
            out.append(items)
        out.append(IMAGES[2:])
    assert str(caught.value) == (f"{path}: items must be uint8 [28, 28] or [n, 28, 28], got {text}")
    np.testing.assert_array_equal(read_idx(path), IMAGES)


def test_more_items_than_the_header_can_state_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels"
    with IdxWriter(path) as out:
        out.append(np.ones(3, np.uint8))
        with pytest.raises(IdxError) as caught:
            out.append(np.broadcast_to(np.uint8(0), (2**32 - 3,)))
    assert str(caught.value) == f"{path}: each dimension must be 1 to 2**32 - 1, got [4294967296]"
    assert read_idx(path).tolist() == [1, 1, 1]


@pytest.mark.parametrize("shape", [(1, 2, 3, 4), (28, 0), (2**32,), (-1,)])
def test_an_item_shape_that_idx_cannot_hold_is_refused(tmp_path: Path, shape: Any) -> None:
    with pytest.raises(IdxError) as caught:
        IdxWriter(tmp_path / "a", shape)
    assert str(caught.value) == (
        f"{tmp_path / 'a'}: an item must have 0 to 3 dimensions, each 1 to 2**32 - 1, "
        f"got {list(shape)}"
    )


def test_items_outside_the_block_are_refused(tmp_path: Path) -> None:
    out = IdxWriter(tmp_path / "a", (28, 28))
    text = f"{tmp_path / 'a'}: an IdxWriter takes items inside its with block only"
    with pytest.raises(RuntimeError) as caught:
        out.append(IMAGES)
    assert str(caught.value) == text
    with out:
        out.append(IMAGES)
    with pytest.raises(RuntimeError) as caught:
        out.append(IMAGES)
    assert str(caught.value) == text


@pytest.mark.parametrize("name", ["a", "a.gz"])
def test_an_item_that_was_not_written_whole_leaves_no_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name

    def go_on_after_a_full_disk() -> None:
        with IdxWriter(path, (28, 28)) as out:
            out.append(IMAGES)
            with pytest.raises(OSError, match="File too large"):
                out.append(np.zeros((1000, 28, 28), np.uint8))

    def with_a_small_disk() -> str:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        with pytest.raises(IdxError) as caught:
            go_on_after_a_full_disk()
        return str(caught.value)

    text = f"{path}: an item was not written whole, so the file is not kept"
    assert in_child(with_a_small_disk) == text
    assert list(tmp_path.iterdir()) == []
