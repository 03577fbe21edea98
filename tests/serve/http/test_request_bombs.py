"""No request costs much memory, whatever it holds, and none keeps another waiting.

The table of all of them, with the time that each costs, is made by benchmarks/request_bombs.py.
"""

import os
import select
import socket
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from threading import Thread

import grpc
import numpy as np
import pytest

import onnx_models
from request_bombs import BOMBS, GRPC, Bomb
from server import INFER, RAW, Server, launch, message, running, stopped
from waiting import PATIENCE, wait_until

MIB = 2**20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With all limits on bytes and images at their defaults."""
    model = tmp_path_factory.mktemp("model") / "model.onnx"
    model.write_bytes(onnx_models.content(onnx_models.linear()))
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072"}
    with running(model, "--grpc-port", "0", environment=environment) as started:
        call(started, b"")
        yield started


@cache
def made(name: str) -> Bomb:
    """One of the bombs, some of which take a second to make."""
    return BOMBS[name]()


def call(server: Server, content: bytes) -> str:
    """What becomes of a gRPC call, as its code."""
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    address = server.wait_for("ready")["grpc"]
    with grpc.insecure_channel(address, options=options) as channel:
        method = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        try:
            method(content, timeout=PATIENCE)
        except grpc.RpcError as error:
            name: str = error.code().name
            return name
    return "OK"


def send(connection: socket.socket, data: bytes) -> None:
    try:
        connection.sendall(data)
    except OSError:  # it is refused before all of it is sent
        return


def ask(server: Server, bomb: Bomb) -> str:
    """The status of a request over HTTP, or the code of one over gRPC."""
    if bomb.over == GRPC:
        return call(server, bomb.body)
    with server.connect() as client:
        data = bomb.head or message("POST", bomb.path, bomb.body, bomb.headers)
        sending = Thread(target=send, args=(client.socket, data))
        sending.start()
        status = client.reply().status
        client.socket.shutdown(socket.SHUT_RDWR)
        sending.join()
    return str(status)


GOOD = {"200", "OK"}
BAD = {"400", "413", "INVALID_ARGUMENT"}
OUTCOMES = {
    "json, zeros": BAD,
    "json, 10,000 images in nested arrays": GOOD,
    "json, arrays": BAD,
    "json, objects in an array": BAD,
    "json, members": BAD,
    "json, large numbers": BAD,
    "json, 250 KB of members": BAD,
    "json, not compressed": BAD,
    "gzip, 16,384 images": GOOD,
    "gzip, empty blocks": BAD,
    "deflate, blocks of nothing": BAD,
    "deflate, blocks of 13 zeros": BAD,
    "16,384 images": GOOD,
    "protobuf, 16,384 images": GOOD,
    "protobuf, 16,384 images as numbers": GOOD,
    "protobuf, numbers that are no pixels": BAD,
    "protobuf, a long shape": BAD,
    "protobuf, parameters": BAD,
    "protobuf, empty tensors": BAD,
    "protobuf, empty raw contents": BAD,
    "protobuf, 250 KB of empty tensors": BAD,
}
"""Those that cost the most before there were bounds, and those that cost the most now."""


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_request_raises_the_memory_by_less_than_128_mib(server: Server, name: str) -> None:
    bomb = made(name)
    with server.watched_memory() as more:
        assert ask(server, bomb) in OUTCOMES[name]
        assert more() < 100 * MIB  # its body may be 16 of them, and gRPC has it twice
    server.check_good()


def test_ten_calls_at_once_raise_the_memory_by_less_than_512_mib(server: Server) -> None:
    names = ("protobuf, a long shape", "protobuf, 16,384 images", "protobuf, truths")
    contents = [made(name).body for name in names for _ in range(4)][:10]
    with server.watched_memory() as more, ThreadPoolExecutor(10) as pool:
        codes = set(pool.map(lambda content: call(server, content), contents))
        assert codes <= {"OK", "INVALID_ARGUMENT", "UNAVAILABLE"}
        assert more() < 450 * MIB
    server.check_good()


def test_ten_requests_at_once_raise_the_memory_by_less_than_512_mib(server: Server) -> None:
    names = ("json, 10,000 images in nested arrays", "16,384 images", "json, not compressed")
    bombs = [made(name) for name in names for _ in range(4)][:10]
    requests = [message("POST", bomb.path, bomb.body, bomb.headers) for bomb in bombs]
    with server.watched_memory() as more, ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in requests]
        sending = [
            Thread(target=send, args=(client.socket, request))
            for client, request in zip(clients, requests, strict=True)
        ]
        for one in sending:
            one.start()
        assert {client.reply().status for client in clients} <= {200, 400, 503}
        for one in sending:
            one.join()
        assert more() < 400 * MIB
    server.check_good()


def test_what_large_requests_took_is_given_back(tmp_path: Path) -> None:
    """With the system's own ways of keeping memory for later."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_models.content(onnx_models.linear()))
    with running(path, "--grpc-port", "0", environment=kept) as server:
        call(server, b"")
        server.check_good()
        before = server.memory()
        with ThreadPoolExecutor(4) as pool:
            for _ in range(2):
                list(pool.map(lambda name: ask(server, made(name)), OUTCOMES))
        wait_until(
            lambda: server.memory() < before + 90 * MIB,
            lambda: f"{before} bytes before, {server.memory()} now",
        )


WITHOUT_COLLECTOR = """
import gc, sys
from mnist_sgd_serve import command
gc.disable()
sys.exit(command.main(sys.argv[1:]))
"""


def test_what_is_refused_does_not_wait_for_the_garbage_collector(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_models.content(onnx_models.linear()))
    program = ("-c", WITHOUT_COLLECTOR)
    with launch(path, "--grpc-port", "0", program=program) as server:
        server.wait_until_ready()
        call(server, b"")
        before = server.memory()
        for name in ("protobuf, empty tensors", "protobuf, a long shape", "form, dashes"):
            for _ in range(5):
                assert ask(server, made(name)) in BAD
        assert server.memory() < before + 80 * MIB  # each had 16


@pytest.mark.parametrize(
    "name", ["json, 10,000 images", "json, 10,000 images in nested arrays", "gzip, 16,384 images"]
)
def test_a_request_that_comes_behind_a_large_one_is_answered_before_it(
    server: Server, name: str
) -> None:
    """The server finds both when it goes on, and the large one first."""
    bomb = made(name)
    with server.connect() as large, server.connect() as small:
        for client in (large, small):
            assert client.ask("GET", "/v2/health/live").status == 200
        with stopped(server):
            large.send(message("POST", bomb.path, bomb.body, bomb.headers))
            large.wait_until_delivered()
            small.send(message("POST", INFER, bytes(784), RAW))
            small.wait_until_delivered()
        assert small.reply().status == 200
        answered, _, _ = select.select([large.socket], [], [], 0)
        assert answered == []
        assert large.reply().status == 200


def test_a_request_that_comes_behind_a_compressed_one_is_answered_before_it(
    tmp_path: Path,
) -> None:
    """Though a request of that size that is not compressed is read at once."""
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_models.content(onnx_models.linear()))
    noise = np.random.default_rng(5).integers(0, 256, 40 * 784, np.uint8).tobytes()
    packed = message("POST", INFER, zlib.compress(noise), {"Content-Encoding": "deflate"} | RAW)
    with running(path, "--access-log") as server:
        with server.connect() as first, server.connect() as second:
            for client in (first, second):
                assert client.ask("GET", "/v2/health/live").status == 200
            with stopped(server):
                first.send(packed)
                first.wait_until_delivered()
                second.send(message("POST", INFER, bytes(784), RAW | {"X-Request-Id": "second"}))
                second.wait_until_delivered()
            assert {first.reply().status, second.reply().status} == {200}
        answered = [event["request"] for event in server.events("request")[-2:]]
        assert answered[0] == "second"
