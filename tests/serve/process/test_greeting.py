"""On a terminal a server greets and logs in words; elsewhere it logs JSON, unless asked to."""

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

import onnx_models
from mnist_sgd_serve.settings import Settings
from waiting import PATIENCE, wait_until

GREETING = re.compile(r"3 or 7\? (http://127\.0\.0\.1:\d+)(, gRPC at \S+)?  \(Ctrl-C ends\)\r?\n")


class Started:
    """A server whose standard error is read here.

    Attributes:
        text: what it has written so far.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", reading: int) -> None:
        self.process, self.reading, self.text = process, reading, ""

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read until a pattern occurs."""
        while not (found := re.search(pattern, self.text)):
            self.text += os.read(self.reading, 4096).decode()
        return found

    def end(self) -> None:
        """End it by Ctrl-C, and read the rest."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(PATIENCE) == 0
        os.set_blocking(self.reading, False)
        try:
            while more := os.read(self.reading, 4096):
                self.text += more.decode()
        except OSError:  # no more
            pass


@contextmanager
def started(
    folder: Path, options: Sequence[str] = (), *, terminal: bool, browser: str = "true"
) -> Iterator[Started]:
    model = folder / "model.onnx"
    model.write_bytes(onnx_models.content(onnx_models.linear()))
    reading, writing = pty.openpty() if terminal else os.pipe()
    command = [sys.executable, "-m", "mnist_sgd_serve", str(model), "--port", "0", *options]
    environment = {**os.environ, "BROWSER": browser}
    process = subprocess.Popen(command, stderr=writing, env=environment, cwd=folder)
    os.close(writing)
    try:
        yield Started(process, reading)
    finally:
        process.kill()
        process.wait()
        os.close(reading)


@pytest.mark.parametrize(
    ("options", "terminal"),
    [((), True), (("--workers", "2"), True), (("--log", "text"), False)],
    ids=["a terminal", "workers on a terminal", "text elsewhere"],
)
def test_it_greets_once_and_then_logs_in_words(
    tmp_path: Path, options: Sequence[str], terminal: bool
) -> None:
    with started(tmp_path, ["--access-log", *options], terminal=terminal) as server:
        address = server.wait_for(GREETING.pattern)[1]
        with urlopen(f"{address}/v2/health/live", timeout=PATIENCE) as reply:
            assert reply.status == 200
        with pytest.raises(HTTPError):
            urlopen(f"{address}/nothing", timeout=PATIENCE)
        server.wait_for("warning.*\n")
        server.end()
    lines = server.text.splitlines()
    assert len(GREETING.findall(server.text)) == 1
    lines = [line for line in lines if line != "^C" and not GREETING.fullmatch(f"{line}\n")]
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines), lines
    said = [line[9:] for line in lines]
    assert re.fullmatch(r"GET /v2/health/live 200, [\d.]+ ms, 127\.0\.0\.1", said[0])
    assert re.fullmatch(
        r"warning: GET /nothing 404, [\d.]+ ms, 127\.0\.0\.1: there is nothing at this path, .*",
        said[1],
    )
    assert "ending after the requests in flight" in said
    assert "{" not in server.text


@pytest.mark.parametrize(
    ("options", "terminal"), [((), False), (("--log", "json"), True)], ids=["a pipe", "asked for"]
)
def test_elsewhere_or_on_request_every_line_is_json(
    tmp_path: Path, options: Sequence[str], terminal: bool
) -> None:
    with started(tmp_path, options, terminal=terminal) as server:
        server.wait_for(r'"event":"ready".*"classes":\["7","3"\]\}\r?\n')
        server.end()
    assert all(line.startswith("{") for line in server.text.splitlines() if line != "^C")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_open_shows_the_page_in_the_browser_once(tmp_path: Path, workers: str) -> None:
    seen = tmp_path / "seen"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >> {seen}\n')
    browser.chmod(0o755)
    options = ["--open", "--workers", workers, "--root-path", "/digits", "--host", "0.0.0.0"]
    options += ["--token", "t"]
    with started(tmp_path, options, terminal=True, browser=f"{browser} %s") as server:
        port = server.wait_for(r"http://0\.0\.0\.0:(\d+)")[1]
        wait_until(seen.exists)
        server.end()
    assert seen.read_text() == f"http://127.0.0.1:{port}/digits/\n"


def test_settings_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match=r"log must be one of json, text, got 'xml'"):
        Settings(model=Path("m"), log="xml")
    with pytest.raises(ValueError, match="open needs an address: leave out --unix-socket"):
        Settings(model=Path("m"), open=True, unix_socket="s")
