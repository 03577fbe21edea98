"""The kernel gets the advice that fits how a mapped file will be read, and other arrays none."""

import errno
import gc
import mmap
import os
from pathlib import Path

import numpy as np
import pytest

from mnist_sgd import DataLoader
from mnist_sgd.data import ImageSet, advise, memory_map, read_idx, write_idx
from mnist_sgd.data.memory_map import underlying_mmap
from residency import mapping

IMAGES = np.arange(64 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(64, 28, 28)
SIZE = 16 + IMAGES.size
FLAGS = {"rr", "sr", "hg", "nh"}
"""Of a mapping: random, sequential, huge pages, no huge pages."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_idx(tmp_path / "images", IMAGES)
    return tmp_path / "images"


@pytest.mark.parametrize(
    ("shuffled", "memory", "advice", "flags"),
    [
        (True, 2 * SIZE - 1, "random", {"rr", "nh"}),
        (True, 2 * SIZE, "huge", {"hg"}),
        (False, 2 * SIZE - 1, "huge", {"hg"}),
    ],
)
def test_the_advice_follows_the_order_and_the_memory(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shuffled: bool,
    memory: int,
    advice: str,
    flags: set[str],
) -> None:
    monkeypatch.setattr(memory_map, "_memory", lambda: memory)
    images = read_idx(path)
    assert advise(images, shuffled=shuffled) == advice
    assert mapping(path).flags & FLAGS == flags
    np.testing.assert_array_equal(images, IMAGES)


def test_the_last_advice_holds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = read_idx(path)
    monkeypatch.setattr(memory_map, "_memory", lambda: 1)
    for shuffled, flags in ((True, {"rr", "nh"}), (False, {"hg"}), (True, {"rr", "nh"})):
        advise(images, shuffled=shuffled)
        assert mapping(path).flags & FLAGS == flags


def test_a_loader_in_order_leaves_the_advice_for_a_shuffled_one_on_the_same_map(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the training and the validation part of one file, opened in this order."""
    monkeypatch.setattr(memory_map, "_memory", lambda: 1)
    images = read_idx(path)
    train, valid = (
        ImageSet(images[rows], np.zeros(32, np.uint8), ("a", "b"))
        for rows in (slice(32), slice(32, None))
    )
    alone = DataLoader(valid, 8)
    assert mapping(path).flags & FLAGS == {"hg"}
    shuffled = DataLoader(train, 8, shuffle=True)
    assert mapping(path).flags & FLAGS == {"rr", "nh"}
    both = DataLoader(valid, 8)
    assert mapping(path).flags & FLAGS == {"rr", "nh"}
    assert len(list(shuffled)) == len(list(both)) == len(list(alone)) == 4
    del shuffled
    gc.collect()
    DataLoader(valid, 8)
    assert mapping(path).flags & FLAGS == {"hg"}


class Pages:
    """A map on a system that refuses huge pages with an error."""

    def __init__(self, error: int) -> None:
        self.error, self.given = error, list[int]()

    def __len__(self) -> int:
        return SIZE

    def madvise(self, advice: int) -> None:
        if advice in (mmap.MADV_HUGEPAGE, mmap.MADV_NOHUGEPAGE):
            raise OSError(self.error, os.strerror(self.error))
        self.given.append(advice)


def test_a_system_without_huge_pages_gets_the_rest_of_the_advice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pages = Pages(errno.EINVAL)
    monkeypatch.setattr(memory_map, "underlying_mmap", lambda images: pages)
    assert advise(IMAGES, shuffled=False) == "normal"
    monkeypatch.setattr(memory_map, "_memory", lambda: 1)
    assert advise(IMAGES, shuffled=True) == "random"
    assert pages.given == [mmap.MADV_NORMAL, mmap.MADV_RANDOM]


def test_another_error_of_the_system_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_map, "underlying_mmap", lambda images: Pages(errno.ENOMEM))
    with pytest.raises(OSError, match="Cannot allocate memory"):
        advise(IMAGES, shuffled=False)


def test_a_system_that_has_no_such_advice_gets_the_rest_of_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE")
    images = read_idx(path)
    assert advise(images, shuffled=False) == "normal"
    assert not mapping(path).flags & FLAGS


def test_a_view_and_a_numpy_memmap_have_the_map_behind_them(path: Path) -> None:
    images = read_idx(path)
    pages = underlying_mmap(images)
    assert pages is not None
    assert len(pages) == SIZE
    assert underlying_mmap(images[3:9].reshape(-1).view(np.int8)) is pages
    other = np.memmap(path, np.uint8, "r", offset=16)
    behind = underlying_mmap(other[2:])
    assert behind is not None
    assert len(behind) == SIZE


def test_arrays_in_memory_get_no_advice(tmp_path: Path) -> None:
    write_idx(tmp_path / "a.gz", IMAGES)
    for array in (
        IMAGES,
        IMAGES[::2],
        read_idx(tmp_path / "a.gz"),
        np.frombuffer(b"abc", np.uint8),
    ):
        assert underlying_mmap(array) is None
        assert advise(array, shuffled=True) is None


def test_the_memory_is_that_of_the_machine_or_less_in_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory_map, "_MEMORY_LIMITS", (tmp_path / "none", limit))
    machine = memory_map._memory()
    meminfo = Path("/proc/meminfo").read_text().split()
    assert machine == 1024 * int(meminfo[meminfo.index("MemTotal:") + 1])
    for text, expected in (("max\n", machine), ("1048576\n", 2**20), (f"{2**63}\n", machine)):
        limit.write_text(text)
        assert memory_map._memory() == expected
