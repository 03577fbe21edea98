"""A server on a Unix socket: requests, and what becomes of the socket's file."""

import asyncio
import os
import socket
import stat
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from endings import end_under_load
from mnist_sgd_serve.settings import Settings
from pictures import encode, stroke
from server import INFER, RAW, launch, running
from waiting import PATIENCE


def client(path: Path) -> httpx.Client:
    transport = httpx.HTTPTransport(uds=str(path))
    return httpx.Client(base_url="http://localhost", transport=transport, timeout=PATIENCE)


def check_good(path: Path) -> None:
    with client(path) as http:
        assert http.post(INFER, content=bytes(784), headers=RAW).status_code == 200


@pytest.mark.parametrize("workers", ["1", "2"])
def test_requests_are_answered_and_the_file_is_removed(
    model: Path, tmp_path: Path, workers: str
) -> None:
    path = tmp_path / "server.sock"
    with running(model, "--unix-socket", str(path), "--workers", workers) as server:
        assert server.address == f"unix:{path}"
        server.wait_for("ready", int(workers))
        for _ in range(4):
            check_good(path)
        with client(path) as http:
            answer = http.post("/predict", files={"image": encode(stroke(1))})
            assert (answer.status_code, answer.json()["label"] in "73") == (200, True)
    assert not path.exists()


def test_the_file_of_a_dead_server_is_replaced(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "server.sock"
    with launch(model, "--unix-socket", str(path)) as server:
        server.wait_for("ready")
    assert path.is_socket()  # it was killed
    with running(model, "--unix-socket", str(path)):
        check_good(path)


def test_the_file_of_a_living_server_is_not_replaced(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "server.sock"
    with running(model, "--unix-socket", str(path)):
        with launch(model, "--unix-socket", str(path)) as second:
            assert second.process.wait(PATIENCE) == 2
            assert second.log == (
                f"mnist_sgd_serve: cannot listen on {path}: Address already in use\n"
            )
        check_good(path)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_of_two_servers_that_start_at_one_path_one_is_refused(
    model: Path, tmp_path: Path, workers: str
) -> None:
    """The path of the first seems to be a dead server's, as it still loads its model."""
    path, pipe = tmp_path / "server.sock", tmp_path / "model.onnx"
    os.mkfifo(pipe)
    own = ("--unix-socket", str(path), "--workers", workers)
    with launch(pipe, *own) as first, open(pipe, "wb") as file, running(model, *own):
        file.write(model.read_bytes())
        file.close()
        assert first.process.wait(PATIENCE) == 2
        assert first.log == f"mnist_sgd_serve: cannot listen on {path}: Address already in use\n"
        check_good(path)


def test_another_file_is_not_replaced(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("mine")
    with launch(model, "--unix-socket", str(path)) as server:
        assert server.process.wait(PATIENCE) == 2
        assert server.log == (
            f"mnist_sgd_serve: cannot listen on {path}: there is a file that is no socket\n"
        )
    assert path.read_text() == "mine"


def test_the_file_of_a_newer_server_stays(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "server.sock"
    with running(model, "--unix-socket", str(path)), socket.socket(socket.AF_UNIX) as newer:
        path.rename(tmp_path / "older.sock")
        newer.bind(str(path))
    assert path.is_socket()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_under_16_clients_loses_no_request(
    model: Path, tmp_path: Path, workers: str
) -> None:
    path = str(tmp_path / "server.sock")
    patient = ("--worker-timeout", "3600", "--workers", workers)
    with launch(model, "--unix-socket", path, "--shutdown-delay=0", *patient) as server:
        server.wait_for("ready", int(workers))
        connect = partial(asyncio.open_unix_connection, path)
        outcomes = asyncio.run(end_under_load(server, 16, seconds=0.1, connect=connect))
        assert set(outcomes) == {"200"}
        assert server.process.wait(PATIENCE) == 0
        assert {event["event"] for event in server.events()} == {"ready", "draining", "stopped"}


def test_the_permissions_are_those_asked_for(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "server.sock"
    with running(model, "--unix-socket", str(path), "--unix-socket-mode", "662"):
        check_good(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o662


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"unix_socket": "s", "unix_socket_mode": "999"}, "three digits from 0 to 7, such as 660"),
        ({"unix_socket_mode": "660"}, "unix_socket_mode needs --unix-socket FILE"),
    ],
)
def test_permissions_that_make_no_sense_are_refused(settings: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Settings(model=Path("m"), **settings)
