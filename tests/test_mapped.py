"""The kernel gets the advice that fits how a mapped file will be read, and other arrays none."""

from pathlib import Path

import numpy as np
import pytest

from mnist_sgd.data import advise, mapped, read_idx, write_idx
from mnist_sgd.data.mapped import map_behind
from residency import mapping

IMAGES = np.arange(64 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(64, 28, 28)
SIZE = 16 + IMAGES.size


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_idx(tmp_path / "images", IMAGES)
    return tmp_path / "images"


@pytest.mark.parametrize(
    ("shuffled", "memory", "advice", "flags"),
    [
        (True, 2 * SIZE - 1, "random", {"rr"}),
        (True, 2 * SIZE, "normal", set()),
        (False, 2 * SIZE - 1, "normal", set()),
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
    monkeypatch.setattr(mapped, "_memory", lambda: memory)
    images = read_idx(path)
    assert advise(images, shuffled=shuffled) == advice
    assert mapping(path).flags & {"rr", "sr"} == flags
    np.testing.assert_array_equal(images, IMAGES)


def test_the_last_advice_holds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = read_idx(path)
    monkeypatch.setattr(mapped, "_memory", lambda: 1)
    advise(images, shuffled=True)
    assert "rr" in mapping(path).flags
    advise(images, shuffled=False)
    assert not mapping(path).flags & {"rr", "sr"}


def test_a_view_and_a_numpy_memmap_have_the_map_behind_them(path: Path) -> None:
    images = read_idx(path)
    pages = map_behind(images)
    assert pages is not None
    assert len(pages) == SIZE
    assert map_behind(images[3:9].reshape(-1).view(np.int8)) is pages
    other = np.memmap(path, np.uint8, "r", offset=16)
    behind = map_behind(other[2:])
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
        assert map_behind(array) is None
        assert advise(array, shuffled=True) is None


def test_the_memory_is_that_of_the_machine_or_less_in_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(mapped, "_MEMORY_LIMITS", (tmp_path / "none", limit))
    machine = mapped._memory()
    meminfo = Path("/proc/meminfo").read_text().split()
    assert machine == 1024 * int(meminfo[meminfo.index("MemTotal:") + 1])
    for text, expected in (("max\n", machine), ("1048576\n", 2**20), (f"{2**63}\n", machine)):
        limit.write_text(text)
        assert mapped._memory() == expected
