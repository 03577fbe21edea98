"""Whatever becomes of its log, a server goes on, and its lines are JSON."""

import fcntl
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from mnist_sgd_serve import logs
from mnist_sgd_serve.logs import LibraryLog, Log
from waiting import PATIENCE

PIPE_BYTES = 16_384


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """The ends of a small pipe; nothing was lost before."""
    monkeypatch.setattr(logs, "_WRITER", logs._Writer())
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def fill(writing: int) -> None:
    os.set_blocking(writing, False)
    while True:
        try:
            os.write(writing, b"x")
        except BlockingIOError:
            break
    os.set_blocking(writing, True)


def test_lines_that_nobody_reads_are_counted(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = pipe
    with open(writing, "w", closefd=False) as stream:
        monkeypatch.setattr("sys.stderr", stream)
        log = Log()
        fill(writing)
        for number in range(3):
            log.info("lost", number=number)
        assert set(os.read(reading, 2 * PIPE_BYTES)) == {ord("x")}
        log.info("kept")
        log.info("kept")
    lines = [json.loads(line) for line in os.read(reading, 2 * PIPE_BYTES).splitlines()]
    assert [line["event"] for line in lines] == ["lines lost", "kept", "kept"]
    assert lines[0]["lines"] == 3


def test_a_line_of_which_a_part_was_written_is_ended(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = pipe
    with open(writing, "w", closefd=False) as stream:
        monkeypatch.setattr("sys.stderr", stream)
        Log().error("long", text="y" * 2 * PIPE_BYTES)
        torn = os.read(reading, 2 * PIPE_BYTES)
        Log().info("kept")
    assert len(torn) == PIPE_BYTES
    rest = os.read(reading, 2 * PIPE_BYTES)
    assert rest.startswith(b"\n")
    lines = [json.loads(line) for line in rest.splitlines()[1:]]
    assert [line["event"] for line in lines] == ["lines lost", "kept"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_whose_log_nobody_reads_answers_and_ends(
    workers: str, pipe: tuple[int, int], model: Path
) -> None:
    reading, writing = pipe
    command = [sys.executable, "-m", "mnist_sgd_serve", str(model), "--port", "0"]
    command += ["--workers", workers, "--shutdown-delay", "0", "--access-log"]
    with subprocess.Popen(command, stderr=writing) as process:
        read = b""
        while read.count(b'"event":"ready"') < int(workers):
            read += os.read(reading, PIPE_BYTES)
        address = json.loads(read.splitlines()[0])["address"]
        fill(writing)
        for _ in range(20):
            with urlopen(f"{address}/v2/health/live", timeout=PATIENCE) as answer:
                assert answer.status == 200
        process.terminate()
        assert process.wait(PATIENCE) == 0


def test_what_libraries_log_is_json_too(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_WRITER", logs._Writer())  # that of this process may have lost lines
    logger = logging.getLogger("a.library")
    handler = LibraryLog(Log(3))
    logger.addHandler(handler)
    try:
        logger.info("unheard")
        logger.warning("odd: %s", "x\ny")
        try:
            raise ZeroDivisionError("by nothing")
        except ZeroDivisionError:
            logger.exception("failed")
    finally:
        logger.removeHandler(handler)
    odd, failed = map(json.loads, capfd.readouterr().err.splitlines())
    given = {key: odd[key] for key in ("level", "event", "worker", "library", "text")}
    assert given == {
        "level": "warning",
        "event": "library",
        "worker": 3,
        "library": "a.library",
        "text": "odd: x\ny",
    }
    assert (failed["level"], failed["text"]) == ("error", "failed")
    assert failed["trace"].endswith("ZeroDivisionError: by nothing")
