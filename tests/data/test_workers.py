"""Other processes work on items, never import the caller's program, and end with it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mnist_sgd.data.pictures import decoding, workers
from mnist_sgd.data.pictures.file_entries import FileEntry
from mnist_sgd.data.pictures.workers import Workers
from pictures import fill


def test_each_item_is_worked_on_in_another_process() -> None:
    with Workers(2, str.upper) as pool:
        futures = [pool.submit(f"item {number}") for number in range(20)]
        processes = {worker.process.pid for worker in pool._all}
    assert [future.result() for future in futures] == [f"ITEM {number}" for number in range(20)]
    assert len(processes - {os.getpid()}) == 2


def test_an_exception_comes_back_as_it_was_raised() -> None:
    with Workers(1, int) as pool:
        wrong, right = pool.submit("x"), pool.submit("7")
    with pytest.raises(ValueError, match=r"^invalid literal for int\(\) with base 10: 'x'$"):
        wrong.result()
    assert right.result() == 7


def test_what_is_printed_there_is_no_result() -> None:
    with Workers(1, print) as pool:
        assert [pool.submit(text).result() for text in ("one", "two")] == [None, None]


def test_a_process_that_dies_is_said_and_the_others_go_on_to_their_end() -> None:
    with Workers(1, os._exit) as pool:
        future = pool.submit(7)
    with pytest.raises(RuntimeError, match=r"^a worker process died \(exit code 7\)$"):
        future.result()


def test_after_an_exception_nobody_waits_for_what_was_begun() -> None:
    pool: Workers[float, None] = Workers(2, time.sleep)

    def interrupted() -> None:
        with pool:
            for _ in range(8):
                pool.submit(600.0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [worker.process.returncode for worker in pool._all] == [-9, -9]


def test_a_process_that_cannot_be_started_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "get_executable", lambda: "/nowhere/python")
    text = r"^process 1 of 3 could not be started \(No such file or directory\); choose fewer"
    with pytest.raises(RuntimeError, match=text):
        Workers(3, int)


def test_a_frozen_program_decodes_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is called `python` there would be the program itself, once more."""
    fill(tmp_path, {"cat": 70})
    files = [FileEntry(f"cat/{number:05}.png", 1, 1) for number in range(70)]
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(decoding, "Workers", None)
    outcomes = list(decoding.read_pictures(str(tmp_path), files, "mnist", 4))
    assert [len(records) for records, _ in outcomes] == [64, 6]


SHADOWED = """
from mnist_sgd.data.pictures.workers import Workers
with Workers(1, int) as pool:
    print(pool.submit("3").result())
"""


def test_a_module_of_the_same_name_in_the_folder_is_not_imported_there(tmp_path: Path) -> None:
    """The processes start before they know where the program's modules are."""
    (tmp_path / "program.py").write_text(SHADOWED)
    (tmp_path / "pickle.py").write_text("raise SystemExit('the wrong pickle')")
    line = [sys.executable, "-P", "program.py"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")
