"""HTTPS with a certificate of the operator's, over HTTP and gRPC, from the start to the end."""

import asyncio
import http.client
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import trustme
import uvicorn
import uvloop
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from uvicorn.server import ServerState

from endings import CALL, METHOD, end_under_load
from mnist_sgd_serve.http.fast_path import connection_class
from mnist_sgd_serve.settings import Settings
from pictures import encode, stroke
from server import INFER, RAW, Server, launch, message, running
from waiting import PATIENCE


class Files:
    """The files of a certificate for this machine, and of the authority that has issued it."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        leaf = authority.issue_cert("localhost", "127.0.0.1")
        self.authority, self.chain, self.key, self.both, self.locked = (
            folder / f"{name}.pem" for name in ("authority", "chain", "key", "both", "locked")
        )
        authority.cert_pem.write_to_path(self.authority)
        self.chain.write_bytes(leaf.cert_chain_pems[0].bytes())
        leaf.private_key_pem.write_to_path(self.key)
        leaf.private_key_and_cert_chain_pem.write_to_path(self.both)
        private = load_pem_private_key(leaf.private_key_pem.bytes(), None)
        locked = private.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
        self.locked.write_bytes(locked)
        self.context = ssl.create_default_context(cafile=self.authority)

    @property
    def options(self) -> tuple[str, ...]:
        """The options of a server that uses them."""
        return ("--tls-cert", str(self.chain), "--tls-key", str(self.key))

    def connect(self, server: Server) -> http.client.HTTPSConnection:
        """A connection that verifies the certificate."""
        return http.client.HTTPSConnection(
            server.host, server.port, timeout=PATIENCE, context=self.context
        )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(model: Path, files: Files) -> Iterator[Server]:
    with running(model, *files.options) as server:
        yield server


def client(server: Server, files: Files) -> httpx.Client:
    return httpx.Client(base_url=server.address, verify=files.context, timeout=PATIENCE)


def check_good(server: Server, files: Files) -> None:
    with client(server, files) as https:
        assert https.post(INFER, content=bytes(784), headers=RAW).status_code == 200


def refused(*arguments: str | Path) -> str:
    """What a server says that must not start."""
    done = subprocess.run(
        [sys.executable, "-m", "mnist_sgd_serve", *map(str, arguments), "--port", "0"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout) == (2, "")
    program, _, sentence = done.stderr.removesuffix("\n").partition(": ")
    assert (program, "\n" in sentence) == ("mnist_sgd_serve", False)
    return sentence


def test_everything_is_served_over_https(server: Server, files: Files) -> None:
    assert server.address.startswith("https://127.0.0.1:")
    with client(server, files) as https:
        raw = https.post(INFER, content=bytes(784), headers=RAW)
        assert raw.status_code == 200
        assert int(raw.headers["inference-header-content-length"]) < len(raw.content)
        picture = encode(stroke(1))
        for answer in (
            https.post("/predict", content=picture),
            https.post("/predict", files={"image": picture}),
        ):
            assert (answer.status_code, answer.json()["label"] in "73") == (200, True)
        page = https.get("/")
        assert (page.status_code, page.headers["content-type"][:9]) == (200, "text/html")
        own = {"Origin": server.address, "Sec-Fetch-Site": "same-origin"}
        assert https.post("/predict", content=picture, headers=own).status_code == 200
        assert (
            https.post(
                "/predict",
                content=picture,
                headers=own | {"Origin": "https://example.org", "Sec-Fetch-Site": "cross-site"},
            ).status_code
            == 403
        )
        large = https.post(INFER, content=bytes(784 * 4096), headers=RAW)
        assert large.status_code == 200


def test_a_client_that_does_not_know_the_authority_refuses(server: Server, files: Files) -> None:
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(server.address)
    check_good(server, files)


def test_several_workers_share_the_certificate(model: Path, files: Files) -> None:
    with running(model, *files.options, "--workers", "2") as server:
        server.wait_for("ready", 2)
        for _ in range(4):
            check_good(server, files)


def test_the_key_may_be_in_the_same_file(model: Path, files: Files) -> None:
    with running(model, "--tls-cert", str(files.both)) as server:
        check_good(server, files)


def test_plain_http_gets_no_answer_and_disturbs_nobody(server: Server, files: Files) -> None:
    other = files.connect(server)
    other.request("GET", "/v2/health/ready")
    assert other.getresponse().read()
    for nonsense in (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", bytes(3000), b"\x16\x03\x01"):
        with server.connect() as plain:
            plain.send(nonsense)
            plain.socket.shutdown(socket.SHUT_WR)
            assert not plain.rest().startswith(b"HTTP")
    other.request("GET", "/v2/health/ready")
    assert other.getresponse().status == 200
    other.close()
    check_good(server, files)
    assert [event for event in server.events() if event["level"] == "error"] == []
    assert "Traceback" not in server.log


def test_a_file_that_is_missing_is_named(model: Path, files: Files, tmp_path: Path) -> None:
    gone = tmp_path / "gone.pem"
    text = f"{gone}: cannot be read: No such file or directory"
    assert refused(model, "--tls-cert", gone) == text
    assert refused(model, "--tls-cert", files.chain, "--tls-key", gone) == text
    assert refused(model, "--tls-cert", gone, "--workers", "2") == text


def test_a_certificate_without_its_own_open_key_is_refused(
    model: Path, files: Files, tmp_path: Path
) -> None:
    """A key with a password is no question on the terminal."""
    other = tmp_path / "other.pem"
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(other)
    for certificate, key in (
        (files.chain, other),
        (files.chain, files.locked),
        (files.chain, files.chain),
        (files.key, files.key),
        (model, model),
    ):
        assert refused(model, "--tls-cert", certificate, "--tls-key", key) == (
            f"{certificate}, with the key in {key}, is no certificate in PEM format with its own "
            "private key, without a password"
        )


def test_a_key_without_a_certificate_is_refused(model: Path, files: Files) -> None:
    assert refused(model, "--tls-key", files.key) == (
        "--tls-key needs a certificate too: give it with --tls-cert FILE"
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_a_client_that_is_silent_in_the_handshake_does_not_delay_the_end(
    model: Path, files: Files, workers: int
) -> None:
    with launch(model, *files.options, "--shutdown-delay=0", f"--workers={workers}") as server:
        server.wait_until_ready()
        with server.connect() as silent, server.connect() as begun:
            begun.send(b"\x16\x03\x01\x02\x00\x01")
            check_good(server, files)  # connections are accepted in their order
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(5) == 0, server.log
            assert (silent.rest(), begun.rest()) == (b"", b"")
        assert server.events("cut off") == []


def test_a_client_that_is_silent_in_the_handshake_is_left_after_the_header_timeout(
    model: Path, files: Files
) -> None:
    with (
        running(model, *files.options, "--header-timeout=0.2") as server,
        server.connect() as silent,
        server.connect() as begun,
    ):
        begun.send(b"\x16\x03\x01\x02\x00\x01")
        assert (silent.rest(), begun.rest()) == (b"", b"")
        check_good(server, files)


def test_a_handshake_that_has_begun_at_the_end_is_finished_and_its_request_answered(
    model: Path, files: Files
) -> None:
    """One whose client then says nothing delays the end no more than one without TLS."""
    with launch(model, *files.options, "--shutdown-delay=0") as server, ExitStack() as stack:
        server.wait_until_ready()
        late, silent = (stack.enter_context(server.connect()) for _ in range(2))
        check_good(server, files)  # connections are accepted in their order
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("draining")
        time.sleep(0.4)  # it has stopped listening; a first request may take a second
        asking, saying_nothing = (
            stack.enter_context(files.context.wrap_socket(one.socket, server_hostname="localhost"))
            for one in (late, silent)
        )
        asking.sendall(message("POST", INFER, bytes(784), RAW))
        assert asking.recv(12) == b"HTTP/1.1 200"
        assert server.process.wait(5) == 0, server.log
        assert saying_nothing.recv(1) == b""
        assert server.events("cut off") == []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_under_16_clients_loses_no_request(model: Path, files: Files, workers: str) -> None:
    patient = ("--worker-timeout", "3600", "--workers", workers)
    with launch(model, *files.options, "--shutdown-delay=0", *patient) as server:
        server.wait_until_ready()
        server.wait_for("ready", int(workers))
        connect = partial(
            asyncio.open_connection,
            server.host,
            server.port,
            ssl=files.context,
            server_hostname="localhost",
        )
        outcomes = asyncio.run(end_under_load(server, 16, seconds=0.1, connect=connect))
        assert set(outcomes) == {"200"}
        assert server.process.wait(PATIENCE) == 0
        assert {event["event"] for event in server.events()} == {"ready", "draining", "stopped"}


def test_timeouts_are_checked_while_a_connection_is_being_lost(files: Files) -> None:
    """Between the end of a socket and the call of `connection_lost` it has none."""
    application: Any = SimpleNamespace(
        reject=lambda status, message, client: pytest.fail(message), draining=False
    )
    limits = Settings(model=Path("none"))

    async def run() -> None:
        make = connection_class(application)
        config = uvicorn.Config(application, http=make, ws="none")
        config.load()
        state = ServerState()
        own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        own.load_cert_chain(files.both)
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(
            lambda: make(config, state, {}), "127.0.0.1", 0, ssl=own
        )
        port = listener.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=files.context, server_hostname="localhost"
        )
        while not state.connections:
            await asyncio.sleep(0)
        connection: Any = next(iter(state.connections))
        connection.transport.close()
        writer.transport.abort()
        failures = []
        while not connection.lost:
            try:
                connection.close_if_slow(loop.time(), limits)
            except Exception as error:
                failures.append(error)
            await asyncio.sleep(0)
        listener.close()
        assert failures == []

    uvloop.run(run())


@pytest.mark.parametrize("path", [INFER, "/predict"])
def test_requests_in_flight_are_answered_and_idle_clients_do_not_delay_the_end(
    model: Path, files: Files, path: str
) -> None:
    body = bytes(784) if path == INFER else encode(stroke(1))
    with launch(model, *files.options, "--shutdown-delay=0", "--body-timeout=3600") as server:
        server.wait_until_ready()
        with client(server, files) as idle:
            assert idle.get("/v2/health/ready").status_code == 200
            late = files.connect(server)
            late.putrequest("POST", path)
            for name, value in (RAW | {"Content-Length": str(len(body))}).items():
                late.putheader(name, value)
            late.endheaders()
            late.send(body[:100])
            server.process.send_signal(signal.SIGTERM)
            server.wait_for("draining")
            late.send(body[100:])
            answer = late.getresponse()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert len(answer.read()) == int(answer.headers["content-length"])
            late.close()
            assert server.process.wait(PATIENCE) == 0, server.log
        assert server.events("cut off") == []


def test_grpc_uses_the_same_certificate(model: Path, files: Files) -> None:
    grpc = pytest.importorskip("grpc")
    with running(model, *files.options, "--grpc-port", "0") as server:
        address = server.wait_for("ready")["grpc"]
        trusting = grpc.ssl_channel_credentials(files.authority.read_bytes())
        with grpc.secure_channel(address, trusting) as channel:
            assert channel.unary_unary(METHOD)(CALL, timeout=PATIENCE)
        with (
            grpc.insecure_channel(address) as channel,
            pytest.raises(grpc.RpcError) as failed,
        ):
            channel.unary_unary(METHOD)(CALL, timeout=PATIENCE)
        assert failed.value.code() == grpc.StatusCode.UNAVAILABLE
        check_good(server, files)


def test_grpc_calls_that_come_before_the_end_are_answered(model: Path, files: Files) -> None:
    """GOAWAY, which clients without TLS are sent, would be no part of an encrypted stream."""
    grpc = pytest.importorskip("grpc")
    with launch(model, *files.options, "--grpc-port=0", "--shutdown-delay=0") as server:
        address = server.wait_for("ready")["grpc"]
        trusting = grpc.ssl_channel_credentials(files.authority.read_bytes())
        with grpc.secure_channel(address, trusting) as channel:
            call = channel.unary_unary(METHOD)
            assert call(CALL, timeout=PATIENCE)
            server.process.send_signal(signal.SIGTERM)
            server.wait_for("draining")
            end = time.monotonic() + 1
            while time.monotonic() < end:  # without a pause of half a second
                assert call(CALL, timeout=PATIENCE)
        assert server.process.wait(PATIENCE) == 0
        assert server.events("cut off") == []
