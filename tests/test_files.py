"""A file is either the old one or the new one, whole, at any moment."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mnist_sgd._files import atomic_path, atomic_write

WRITER = """\
import sys
from mnist_sgd._files import atomic_write
number = 0
while True:
    number = (number + 1) % 256
    atomic_write(sys.argv[1], bytes([number]) * 3_000_000)
    print(flush=True)
"""


def test_a_new_file_takes_the_place_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    atomic_write(path, b"old")
    atomic_write(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_exception_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")

    def stop_half_way() -> None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"ne")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        stop_half_way()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_name_has_the_suffix_and_the_folder_of_the_final_one(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "model.pt2") as temporary:
        assert temporary.suffix == ".pt2"
        assert temporary.parent == tmp_path
        temporary.touch()


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "none" / "model.onnx", b"")


@pytest.mark.parametrize("moment", [0.0, 0.0003, 0.001, 0.002, 0.005])
def test_kill_9_while_writing_leaves_a_whole_file(tmp_path: Path, moment: float) -> None:
    path = tmp_path / "model.onnx"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        for _ in range(3):
            writer.stdout.readline()
        time.sleep(moment)
        os.kill(writer.pid, signal.SIGKILL)
    content = path.read_bytes()
    assert len(content) == 3_000_000
    assert len(set(content)) == 1
