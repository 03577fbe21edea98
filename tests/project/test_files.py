"""A file is either the old one or the new one, whole, at any moment."""

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from mnist_sgd._files import atomic_path, atomic_write, move_over, remove_leftovers

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


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path, there: bool) -> None:
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far" / "real.csv", tmp_path / "link.csv"
    if there:
        target.write_bytes(b"old")
    (tmp_path / "middle.csv").symlink_to("far/real.csv")
    link.symlink_to("middle.csv")
    atomic_write(link, b"new")
    assert link.is_symlink()
    assert (target.is_symlink(), target.read_bytes()) == (False, b"new")
    assert [path.name for path in target.parent.iterdir()] == ["real.csv"]


def test_leftovers_are_removed_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to("far/real")
    (tmp_path / "far" / ".real.0123abcd").touch()
    remove_leftovers(tmp_path / "link")
    assert list((tmp_path / "far").iterdir()) == []


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755, 0o444])
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"old")
    path.chmod(mode)
    with atomic_path(path) as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) & 0o077 & ~mode == 0
        temporary.write_bytes(b"new")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", mode)


def test_a_new_file_has_the_mode_of_any_other(tmp_path: Path) -> None:
    atomic_write(tmp_path / "one", b"")
    (tmp_path / "two").write_bytes(b"")
    assert (tmp_path / "one").stat().st_mode == (tmp_path / "two").stat().st_mode


def test_a_pipe_stays_a_pipe_and_gets_the_content(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with atomic_path(pipe) as temporary:
        assert temporary.suffix == ".csv"
        temporary.write_bytes(b"rows")
    assert os.read(reader, 100) == b"rows"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_pipe_without_a_reader_is_an_error_and_not_an_endless_wait(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match=r"nobody reads this pipe: '.*/pipe\.csv'$"):
        atomic_write(pipe, b"rows")
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_standard_output_is_a_file_to_write_to() -> None:
    script = "from mnist_sgd._files import atomic_write; atomic_write('/dev/stdout', b'rows')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == b"rows"
    assert Path("/dev/stdout").is_symlink()
    atomic_write("/dev/null", b"nothing")
    assert Path("/dev/null").is_char_device()


def test_a_link_to_standard_output_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    """Even if standard output is a file, what was printed stays."""
    script = """if True:
        import sys
        from pathlib import Path
        from mnist_sgd._files import atomic_write
        print("printed", flush=True)
        Path("second").symlink_to("/dev/stdout")
        Path("first").symlink_to("second")
        atomic_write("first", b"rows")
        """
    with (tmp_path / "output").open("ab") as output:
        subprocess.run([sys.executable, "-c", script], cwd=tmp_path, stdout=output, check=True)
    assert (tmp_path / "output").read_bytes() == b"printed\nrows"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "output", "second"]


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="there is no /dev/shm")
def test_a_file_in_memory_is_replaced_like_any_other() -> None:
    with TemporaryDirectory(dir="/dev/shm") as folder:
        for content in (b"old", b"new"):
            atomic_write(Path(folder) / "model.onnx", content)
        assert (Path(folder) / "model.onnx").read_bytes() == b"new"


@pytest.mark.parametrize("link", [False, True])
def test_a_file_that_is_moved_over_another_keeps_the_others_mode_and_link(
    tmp_path: Path, link: bool
) -> None:
    source, path, real = tmp_path / "new", tmp_path / "model", tmp_path / "far" / "real"
    real.parent.mkdir()
    old = real if link else path
    old.write_bytes(b"old")
    old.chmod(0o640)
    if link:
        path.symlink_to("far/real")
    source.write_bytes(b"new")
    move_over(source, path)
    assert (path.is_symlink(), source.exists()) == (link, False)
    assert (old.read_bytes(), stat.S_IMODE(old.stat().st_mode)) == (b"new", 0o640)
    (tmp_path / "another").write_bytes(b"first")
    move_over(tmp_path / "another", tmp_path / "none yet")
    assert (tmp_path / "none yet").read_bytes() == b"first"


def test_errors_name_the_file_that_was_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "model.onnx"
    folder.mkdir()
    with pytest.raises(IsADirectoryError) as is_folder, atomic_path(folder):
        pytest.fail("a folder is refused before anything is written")
    assert str(is_folder.value) == f"[Errno 21] Is a directory: '{folder}'"
    missing = tmp_path / "none" / "model.onnx"
    with pytest.raises(FileNotFoundError) as not_found:
        atomic_write(missing, b"")
    assert str(not_found.value) == f"[Errno 2] No such file or directory: '{missing}'"

    def fill_the_disk() -> None:
        with atomic_path(tmp_path / "full"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=r"^\[Errno 28\] No space left on device: ") as full:
        fill_the_disk()
    assert full.value.filename == str(tmp_path / "full")


def test_errors_of_other_files_are_left_as_they_are(tmp_path: Path) -> None:
    def read_another() -> None:
        with atomic_path(tmp_path / "new"):
            (tmp_path / "other").read_bytes()

    with pytest.raises(FileNotFoundError, match=r"other'$"):
        read_another()
    assert list(tmp_path.iterdir()) == []


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
