"""Slow clients, clients that leave, and more work than can be done; see also test_endurance.py.

Where requests must be in the queue together, the process is stopped while they are sent. Where
clients are slow by intention, those that must not be are tried again if they were slow by accident.
"""

import gzip
import json
import os
import resource
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

import onnx_models
from mnist_sgd_serve.http.connection import LINGER_SECONDS
from server import INFER, RAW, Client, Reply, Server, message, running, stopped
from waiting import again_if_late, wait_until

MODEL = onnx_models.content(onnx_models.linear())
MIB = 2**20

DEADLINE = 1.0
"""Seconds that the impatient server gives a client for everything."""


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Server]:
    """Whose large buffers go back to the system when they are freed, so that memory tells."""
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072"}
    with running(model, "--max-request-images", "100", environment=environment) as started:
        yield started


@pytest.fixture(scope="module")
def impatient(model: Path) -> Iterator[Server]:
    """A server whose deadlines for clients are short, and which may have many connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    seconds = [f"--{what}-timeout" for what in ("header", "body", "keep-alive", "write")]
    with running(model, *[f"{one}={DEADLINE}" for one in seconds]) as started:
        yield started
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def together(server: Server, count: int, body: bytes = bytes(784)) -> list[Reply]:
    """The answers to requests that come together, each over a connection of its own."""
    with ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(count)]
        for client in clients:  # so that each is accepted
            assert client.ask("GET", "/v2/health/live").status == 200
        with stopped(server):
            for client in clients:
                client.send(message("POST", INFER, body, RAW))
            for client in clients:
                client.wait_until_delivered()
        return [client.reply() for client in clients]


def is_answered(impatient: Server) -> None:
    """Check that a client which is not slow gets its answer."""
    again_if_late(DEADLINE, impatient.check_good)


def begun(impatient: Server, start: bytes) -> Client:
    """A client that has sent the start of a request well in time."""
    while True:
        client, connecting = impatient.connect(), time.monotonic()
        client.send(start)
        if time.monotonic() < connecting + DEADLINE / 2:
            return client
        client.close()


def test_a_thousand_slow_heads_are_closed_and_hold_nobody_up(impatient: Server) -> None:
    before = impatient.descriptors()
    with ExitStack() as stack:
        start = b"GET / HTTP/1.1\r\nX: "
        clients = [stack.enter_context(begun(impatient, start)) for _ in range(1000)]
        for _ in range(20):
            is_answered(impatient)
        for client in clients:
            assert client.reply().error == "the head did not arrive within 1 s"
            assert client.rest() == b""
    impatient.wait_for_descriptors(before)
    status = 'mnist_sgd_requests_total{route="other",status="408"}'
    assert impatient.metric(status) >= 1000


def test_a_body_that_trickles_is_closed_by_its_deadline(impatient: Server) -> None:
    with begun(impatient, message("POST", INFER, headers={"Content-Length": "784"})) as client:
        for _ in range(783):
            client.send(b"x")
            if select.select([client.socket], [], [], 0.005)[0]:
                break
        reply = client.reply()
        assert (reply.status, reply.error) == (408, "the body did not arrive within 1 s")
        assert client.rest() == b""
    is_answered(impatient)


def test_silent_and_idle_connections_are_closed(impatient: Server) -> None:
    request = message("GET", "/v2")
    with (
        impatient.connect() as silent,
        begun(impatient, request) as idle,
        impatient.connect() as half,
    ):
        assert idle.reply().status == 200
        half.socket.shutdown(socket.SHUT_WR)
        assert silent.rest() == idle.rest() == half.rest() == b""
    is_answered(impatient)


def test_a_client_that_never_reads_costs_little_and_is_closed(impatient: Server) -> None:
    is_answered(impatient)
    memory, descriptors = impatient.memory(), impatient.descriptors()
    with ExitStack() as stack:
        clients = [stack.enter_context(impatient.connect()) for _ in range(10)]
        for client in clients:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.socket.setblocking(False)
            with suppress(BlockingIOError, ConnectionError):  # or it is closed already
                while True:
                    client.send(message("GET", "/openapi.json") * 100)
        for _ in range(20):
            is_answered(impatient)
        assert impatient.memory() < memory + 24 * MIB
        impatient.wait_for_descriptors(descriptors)
    is_answered(impatient)


def test_a_full_queue_is_said_at_once(model: Path) -> None:
    with running(model, "--max-queue-size", "3", "--access-log") as server:
        replies = together(server, 64)
        for reply in replies:
            if reply.status == 503:
                assert reply.error == "too many images are waiting, try again soon"
                assert reply.headers["retry-after"] == "1"
        answered = [event["status"] for event in server.events("request")[64:]]
        assert answered == [200, *[503] * 60, *[200] * 3]  # none is refused after a wait
        server.check_good()
        assert server.metric('mnist_sgd_failures_total{reason="overloaded"}') == 60


def test_an_overload_is_logged_in_few_lines(model: Path) -> None:
    with running(model, "--max-queue-size", "1") as server:
        refused = sum(reply.status == 503 for _ in range(3) for reply in together(server, 64))
        assert refused > 60
        assert 1 <= len(server.events("request")) < refused / 2


def test_a_request_that_waits_past_its_deadline_is_told(tmp_path: Path) -> None:
    """Each run takes many times the deadline, so that who waits for two is late on any machine."""
    path = tmp_path / "slow.onnx"
    path.write_bytes(onnx_models.content(onnx_models.slow()))
    with running(path, "--queue-timeout", "0.001", "--max-batch-size", "1") as server:
        replies = together(server, 8)
        statuses = Counter(reply.status for reply in replies)
        assert set(statuses) == {200, 504}
        late = next(reply for reply in replies if reply.status == 504)
        assert late.error == "the request waited too long for its turn"
        server.check_good()
        assert server.metric('mnist_sgd_failures_total{reason="deadline"}') == statuses[504]


def test_clients_that_leave_the_queue_cost_no_run_and_leave_nothing(model: Path) -> None:
    """The server finds a hundred requests at once, and behind each that its client has left.

    It runs one at a time. The first is run where it stands and the second before the server looks
    at its sockets again; then it sees who has left, while the third is run. All others wait.
    """
    infer = 'mnist_sgd_requests_total{{route="infer",status="{}"}}'.format

    def rounds(server: Server, count: int) -> None:
        for _ in range(count):
            with ExitStack() as stack:
                clients = [stack.enter_context(server.connect()) for _ in range(100)]
                for client in clients:  # so that each is accepted
                    assert client.ask("GET", "/v2/health/live").status == 200
                with stopped(server):
                    for client in clients:
                        client.send(message("POST", INFER, bytes(784), RAW))
                        client.leave_at_once()
            wait_until(lambda: server.metric("mnist_sgd_queue_images") == 0)

    with running(model, "--max-batch-size", "1") as server:
        rounds(server, 30)  # by then the heap has grown to what a hundred clients need
        memory, descriptors = server.memory(), server.descriptors()
        rounds(server, 20)
        answered, gone = (server.metric(infer(status)) for status in (200, 499))
        assert answered + gone == 50 * 100
        assert server.metric("mnist_sgd_run_images_sum") <= 50 * 5
        assert gone >= 50 * 95
        server.check_good()
        assert server.memory() < memory + 2 * MIB
        server.wait_for_descriptors(descriptors)


def bad_requests() -> dict[str, bytes]:
    """Something of every kind that is refused."""
    header = "Inference-Header-Content-Length"
    image = {"name": "image", "shape": [1, 28, 28], "datatype": "UINT8", "data": [0] * 784}
    bomb = gzip.compress(bytes(20 * MIB))
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 50_000, 50_000)
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    parts = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 10_000 + b"--x--"
    bodies = {
        "empty": (INFER, b"", {}),
        "cut": (INFER, b'{"inputs": [', {}),
        "deep": (INFER, b"[" * 250_000, {}),
        "large number": (INFER, b'{"inputs": ' + b"9" * 100_000 + b"}", {}),
        "wrong pixel": (
            INFER,
            json.dumps({"inputs": [image | {"data": [256] * 784}]}).encode(),
            {},
        ),
        "wrong shape": (INFER, json.dumps({"inputs": [image | {"shape": [9] * 9}]}).encode(), {}),
        "many images": (INFER, bytes(101 * 784), RAW),
        "header length": (INFER, b"{}", {header: "9" * 40}),
        "bomb": (INFER, bomb, {"Content-Encoding": "gzip"} | RAW),
        "encoding": (INFER, b"x", {"Content-Encoding": "br"}),
        "no image": ("/predict", bytes(100_000), {}),
        "pixel bomb": ("/predict", png + bytes(100), {}),
        "parts": ("/predict", parts, form),
        "unknown": ("/" + "y" * 9000, b"", {}),
    }
    found = {name: message("POST", *request) for name, request in bodies.items()}
    chunk = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    return found | {
        "method": message("DELETE", INFER),
        "nonsense": b"\0nonsense\r\n\r\n",
        "two lengths": message("POST", INFER, b"", {"content-length": "1"}),
        "head": b"GET / HTTP/1.1\r\nX: " + b"y" * 400_000,
        "chunks": chunk + b"1\r\nx\r\n" * 100_000,
        "chunk size": chunk + b"-1\r\n",
        "too long": message("POST", INFER, headers={"Content-Length": "99999999999"}),
    }


def test_forty_of_each_bad_request_leave_memory_and_descriptors_as_they_were(
    server: Server,
) -> None:
    kinds = bad_requests()

    def attempt(name: str) -> int:
        with server.connect() as client:
            with suppress(ConnectionError):  # it may be refused before all of it is sent
                client.send(kinds[name])
            return client.reply().status

    def send(name: str) -> int:
        """The status; who sends on for longer than the server listens may miss its answer."""
        return again_if_late(LINGER_SECONDS, lambda: attempt(name))

    for name in kinds:
        assert 400 <= send(name) < 500, name
    server.check_good()
    memory, descriptors = server.memory(), server.descriptors()
    for name in kinds:
        for _ in range(40):
            assert 400 <= send(name) < 500, name
    server.check_good()
    assert server.memory() < memory + 8 * MIB
    server.wait_for_descriptors(descriptors)
