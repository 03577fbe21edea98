"""One training at a time writes into a folder: a second one is refused, the first unharmed."""

import errno
import fcntl
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from pathlib import Path

import pytest

from killing import batches_done, kill, start, wait_for_batches
from mnist_sgd import Callback, Checkpoint, CheckpointError, write_run
from mnist_sgd._files import hidden
from mnist_sgd._lock import FolderInUseError, holding, one_writer
from mnist_sgd.cli import main
from runs import contents, learner
from waiting import PATIENCE

Output = pytest.CaptureFixture[str]

ENDLESS = ["train", "--epochs", "99999", "--checkpoint-every", "5"]


@pytest.mark.parametrize(
    ("where", "second", "named"),
    [
        (["--out", "two"], [], "two"),
        (["--out", "two"], ["--resume"], "two"),
        (["--run", "two"], ["--resume"], "runs/two"),
        (["--run", "two"], ["--overwrite"], "runs/two"),
        ([], [], None),
    ],
    ids=["begun", "resumed", "run-resumed", "run-overwritten", "current-folder"],
)
def test_a_second_training_is_refused_and_the_first_goes_on(
    where: list[str],
    second: list[str],
    named: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / (named or "")
    checkpoint = folder / "checkpoint.safetensors"
    output = tmp_path.parent / f"{tmp_path.name}.txt"
    first = start([*ENDLESS, *where], output, tmp_path)
    try:
        wait_for_batches(first, checkpoint, 10)
        assert main(["train", "--epochs", "1", *where, *second]) == 2
        assert capsys.readouterr() == (
            "",
            f"mnist-sgd: {named or tmp_path}: another training is writing into this folder; "
            "wait for it, or choose another folder\n",
        )
        wait_for_batches(first, checkpoint, 10)
    finally:
        assert kill(first)
    assert not any("lock" in name for name in contents(folder))
    # What was killed holds nothing.
    assert main(["train", "--epochs", "1", *where, *(["--overwrite"] * ("--run" in where))]) == 0


def test_another_name_of_the_folder_is_the_same_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "other").symlink_to("real")
    with one_writer(tmp_path / "real", pytest.fail):
        with pytest.raises(FolderInUseError), one_writer(tmp_path / "other", pytest.fail):
            pass
        with one_writer(tmp_path / "a" / "third", pytest.fail):
            assert (tmp_path / "a" / "third").is_dir()
    with one_writer(tmp_path / "other", pytest.fail):
        pass


def sleep() -> None:
    time.sleep(PATIENCE)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_processes_that_it_started_hold_nothing_when_it_has_ended(tmp_path: Path) -> None:
    with ExitStack() as children:
        with one_writer(tmp_path, pytest.fail):
            forked = get_context("fork").Process(target=sleep)
            forked.start()
            children.callback(forked.join, PATIENCE)
            children.callback(forked.kill)
            executed = subprocess.Popen(
                [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False
            )
            children.enter_context(executed)
            # A forked child lets go as soon as it runs; its parent still holds the lock.
            with pytest.raises(FolderInUseError), one_writer(tmp_path, pytest.fail):
                pass
        end = time.monotonic() + PATIENCE
        while forked.is_alive() and executed.poll() is None:
            try:
                with one_writer(tmp_path, pytest.fail):
                    break
            except FolderInUseError:
                assert time.monotonic() < end, "a child holds the lock"
                time.sleep(0.01)
        assert forked.is_alive()
        assert executed.poll() is None


def test_a_run_is_not_written_while_another_process_writes_it(tmp_path: Path) -> None:
    learn = learner(epochs=1)
    with one_writer(tmp_path / "run", pytest.fail), pytest.raises(FolderInUseError):
        write_run(learn, tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []
    write_run(learn, tmp_path / "run")
    assert (tmp_path / "run" / "report.html").is_file()


def no_locks(descriptor: int, operation: int) -> None:
    """As NFS answers for a folder, which cannot be opened for writing."""
    raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def test_where_folders_cannot_be_locked_a_sentence_says_so_and_the_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr(fcntl, "flock", no_locks)
    folder = tmp_path / "out"
    assert main(["train", "--epochs", "1", "--out", str(folder)]) == 0
    assert capsys.readouterr().err == (
        f"mnist-sgd: {folder}: this folder cannot be locked (Bad file descriptor): make sure "
        "that no other training writes here\n"
    )
    assert sorted(contents(folder)) == ["model.onnx", "model.safetensors"]


def test_a_training_that_dies_before_its_first_file_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: Checkpoint, learn: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Checkpoint, "before_fit", interrupt)
    assert main(["train", "--checkpoint-every", "1", "--out", "out"]) == 130
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()
    assert main(["train", "--checkpoint-every", "1", "--out", "out"]) == 130
    assert list((tmp_path / "out").iterdir()) == []


def test_a_lock_of_a_file_waits_for_its_holder(tmp_path: Path) -> None:
    """As a second import of the same pictures does."""
    asked: list[str] = []
    with holding(tmp_path / "lock"):
        with pytest.raises(InterruptedError), holding(tmp_path / "lock", on_busy=raises(asked)):
            pass
        assert asked == ["busy"]
    with holding(tmp_path / "lock", on_busy=raises(asked)):
        assert asked == ["busy"]


def raises(asked: list[str]) -> Callable[[], None]:
    def busy() -> None:
        asked.append("busy")
        raise InterruptedError

    return busy


# A checkpoint, which is replaced again and again.


WRITER = """
import sys
from pathlib import Path
from mnist_sgd import *
from runs import learner
path = Path(sys.argv[1])
class Waits(Callback):
    def before_epoch(self, learn):
        print("begun", flush=True)
        if not sys.stdin.readline():
            raise KeyboardInterrupt
learn = learner(epochs=0)
with learn.no_logging():
    learn.fit(2, 0.1, cbs=[Checkpoint(path, every=1), Waits()])
"""


@contextmanager
def another_program(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A program that writes checkpoints of two epochs, and waits for a line before each."""
    support = Path(__file__).parents[1] / "support"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(support)},
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        yield process


def refused(path: Path) -> str:
    learn = learner(epochs=0)
    with pytest.raises(CheckpointError) as error:
        learn.fit(1, 0.1, cbs=Checkpoint(path))
    assert learn.recorder.lrs == []
    return str(error.value)


def test_two_programs_never_write_one_checkpoint(tmp_path: Path) -> None:
    path, link = tmp_path / "c.safetensors", tmp_path / "link"
    link.symlink_to(path)
    with another_program(path) as first:
        leftover = tmp_path / ".c.01234567.safetensors"  # as if it were being written
        leftover.touch()
        for named in (path, link):
            assert refused(named) == (
                f"{named}: another training is writing this file; wait for it, or choose another "
                "file"
            )
        assert leftover.exists()
        learner(epochs=0).fit(1, 0.1, cbs=Checkpoint(tmp_path / "other"))
        first.communicate("go on\n" * 2, timeout=PATIENCE)
    assert first.returncode == 0
    assert batches_done(path) == 2 * batches_done(tmp_path / "other")
    learner(epochs=0).fit(1, 0.1, cbs=Checkpoint(path))
    assert sorted(contents(tmp_path)) == ["c.safetensors", "link", "other"]


def test_what_a_killed_program_held_is_taken_over_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    with another_program(path) as killed:
        killed.kill()
        killed.wait(PATIENCE)
    assert any(tmp_path.iterdir())
    learner(epochs=0).fit(1, 0.1, cbs=Checkpoint(path))
    assert contents(tmp_path).keys() == {"c.safetensors"}


def test_fits_of_one_process_may_write_one_file_also_after_an_error(tmp_path: Path) -> None:
    class Fails(Callback):
        def after_batch(self, learn: object) -> None:
            raise ArithmeticError

    path = tmp_path / "c.safetensors"
    with pytest.raises(ArithmeticError):
        learner(epochs=0).fit(1, 0.1, cbs=[Checkpoint(path), Fails()])
    assert list(tmp_path.iterdir()) == []
    learner(epochs=0).fit(1, 0.1, cbs=[Checkpoint(path), Checkpoint(path, every=5)])
    assert contents(tmp_path).keys() == {"c.safetensors"}
    with another_program(path) as other:
        other.communicate("go on\n" * 2, timeout=PATIENCE)
    assert other.returncode == 0


def test_a_checkpoint_that_a_callback_switches_off_is_let_go_of_when_the_fit_ends(
    tmp_path: Path,
) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint = Checkpoint(path)

    class SwitchesOff(Callback):
        def after_epoch(self, learn: object) -> None:
            checkpoint.run = False

    learner(epochs=0).fit(2, 0.1, cbs=[checkpoint, SwitchesOff()])
    assert contents(tmp_path).keys() <= {"c.safetensors"}
    with another_program(path) as other:
        other.communicate("go on\n" * 2, timeout=PATIENCE)
    assert other.returncode == 0


@pytest.mark.parametrize(
    "name",
    ["c" * 245 + ".st", "é" * 126 + ".st", "c." + "s" * 253],
    ids=["248", "letters of two bytes", "suffix"],
)
def test_a_checkpoint_may_have_any_name_that_a_file_can_have(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    learner(epochs=0).fit(1, 0.1, cbs=Checkpoint(path))
    leftover = hidden(path, "01234567")
    leftover.touch()
    with another_program(path) as first:
        assert not leftover.exists()
        assert refused(path).startswith(f"{path}: another training is writing this file; ")
        first.communicate("go on\n" * 2, timeout=PATIENCE)
    assert first.returncode == 0
    assert contents(tmp_path).keys() == {name}


def test_a_name_that_no_file_can_have_is_named(tmp_path: Path) -> None:
    path = tmp_path / ("c" * 256)
    with pytest.raises(OSError, match="File name too long") as error:
        learner(epochs=0).fit(1, 0.1, cbs=Checkpoint(path))
    assert error.value.filename == str(path)


def test_a_fit_within_a_fit_does_not_let_go_of_the_others_file(tmp_path: Path) -> None:
    """Also if both have the same callback; each fit is of another learner."""
    path = tmp_path / "c.safetensors"
    checkpoint = Checkpoint(path)
    hidden = []

    class FitsAnother(Callback):
        order = Checkpoint.order + 1

        def after_epoch(self, learn: object) -> None:
            learner(epochs=0).fit(1, 0.1, cbs=checkpoint)
            hidden.append(sorted(contents(tmp_path)))

    learner(epochs=0).fit(1, 0.1, cbs=[checkpoint, FitsAnother()])
    assert hidden == [[".c.writer.safetensors", "c.safetensors"]]
    assert sorted(contents(tmp_path)) == ["c.safetensors"]


def test_the_command_is_refused_a_checkpoint_that_a_program_writes(
    tmp_path: Path, capsys: Output
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    with another_program(path) as first:
        command = ["train", "--epochs", "1", "--checkpoint-every", "5", "--out", str(tmp_path)]
        assert main(command) == 2
        assert capsys.readouterr().err == (
            f"mnist-sgd: {path}: another training is writing this file; wait for it, or choose "
            "another file\n"
        )
        first.communicate("go on\n" * 2, timeout=PATIENCE)
    assert first.returncode == 0


def test_a_program_is_refused_the_checkpoint_that_the_command_writes(tmp_path: Path) -> None:
    path = tmp_path / "out" / "checkpoint.safetensors"
    command = start([*ENDLESS, "--out", str(path.parent)], tmp_path / "output")
    try:
        wait_for_batches(command, path, 10)
        assert refused(path).startswith(f"{path}: another training is writing this file; ")
        learner(epochs=0).fit(1, 0.1, cbs=Checkpoint(path.with_name("other")))
        wait_for_batches(command, path, 10)
    finally:
        assert kill(command)
    learner(epochs=0).fit(1, 0.1, cbs=Checkpoint(path))


def test_where_files_cannot_be_locked_a_warning_says_so_and_nothing_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", no_locks)
    path, leftover = tmp_path / "c.safetensors", tmp_path / ".c.01234567.safetensors"
    leftover.touch()
    message = (
        f"{path}: this file cannot be locked (Bad file descriptor): make sure that no other "
        "training writes it"
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(message)}$"):
        learner(epochs=0).fit(1, 0.1, cbs=Checkpoint(path))
    assert contents(tmp_path).keys() == {path.name, leftover.name}


def test_a_folder_that_takes_no_files_is_refused_before_any_work() -> None:
    learn = learner(epochs=0)
    with pytest.raises(OSError, match=r"'/proc/c\.safetensors'$") as refused:
        learn.fit(1, 0.1, cbs=Checkpoint("/proc/c.safetensors"))
    assert refused.value.filename == "/proc/c.safetensors"
    assert learn.recorder.lrs == []
