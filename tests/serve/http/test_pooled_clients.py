"""Clients that keep connections, as a pool or a proxy does, never take one answer for another's.

After every refusal the next request on the connection gets its own answer, or the refusal has said
that the connection is closed. HEAD never has a body.
"""

import io
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h11
import httpx
import pytest
from PIL import Image

import onnx_models
from server import INFER, RAW, Server, launch, running, stopped
from waiting import wait_until

MAX_BODY = 100_000
TOKEN = {"authorization": "Bearer secret"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    model = tmp_path_factory.mktemp("model") / "model.onnx"
    model.write_bytes(onnx_models.content(onnx_models.linear()))
    with running(model, "--max-body", str(MAX_BODY), "--token", "secret") as started:
        yield started


class H11Client:
    """h11 over a socket: it refuses whatever is not the answer that it expects."""

    def __init__(self, server: Server) -> None:
        self.client = server.connect()
        self.state = h11.Connection(h11.CLIENT)

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[Any, int]:
        """The response and the length of its body."""
        self.send(method, path, headers, body)
        return self.receive()

    def send(
        self, method: str, path: str, headers: dict[str, str], body: bytes, missing: int = 0
    ) -> None:
        """Send a request, but for the last bytes of its body if some are to be missing."""
        size = len(body) + missing
        given = [("host", "localhost"), ("content-length", str(size)), *headers.items()]
        send = self.client.send
        send(self.state.send(h11.Request(method=method, target=path, headers=given)) or b"")
        if body:
            send(self.state.send(h11.Data(data=body)) or b"")
        if not missing:
            send(self.state.send(h11.EndOfMessage()) or b"")

    def receive(self) -> tuple[Any, int]:
        """The response and the length of its body."""
        response, length = None, 0
        while True:
            event = self.state.next_event()
            if event is h11.NEED_DATA:
                self.state.receive_data(self.client.socket.recv(65536))
            elif isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                length += len(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return response, length


def blank_png() -> bytes:
    file = io.BytesIO()
    Image.new("L", (28, 28)).save(file, "PNG")
    return file.getvalue()


Refused = tuple[int, str, str, dict[str, str], bytes]

REFUSALS: list[Refused] = [
    (400, "POST", INFER, TOKEN, b"nonsense"),
    (400, "POST", INFER, TOKEN | {"inference-header-content-length": "x"}, b"{}"),
    (401, "POST", INFER, {}, bytes(784)),
    (401, "GET", "/nothing", {}, b""),
    (403, "POST", INFER, TOKEN | {"origin": "http://evil.example"}, bytes(784)),
    (404, "GET", "/nothing", TOKEN, b""),
    (404, "POST", "/v2/models/other/infer", TOKEN, bytes(784)),
    (405, "POST", "/metrics", TOKEN, b"x"),
    (405, "GET", INFER, TOKEN, b""),
    (413, "POST", INFER, TOKEN, bytes(MAX_BODY + 1)),
    (413, "POST", "/predict", TOKEN, bytes(MAX_BODY + 1)),
    (415, "POST", "/predict", TOKEN | {"content-encoding": "br"}, b"x"),
    (422, "POST", "/predict", TOKEN, blank_png()),
    (431, "GET", "/v2", TOKEN | {"x": "y" * 40_000}, b""),
]


@pytest.mark.parametrize("method", ["as given", "HEAD"])
@pytest.mark.parametrize("refused", REFUSALS, ids=lambda one: f"{one[0]} {one[1]} {one[2]}")
def test_after_a_refusal_the_next_request_gets_its_own_answer(
    server: Server, refused: Refused, method: str
) -> None:
    status, given, path, headers, body = refused
    client = H11Client(server)
    response, length = client.ask(given if method == "as given" else "HEAD", path, headers, body)
    assert response.status_code in ((status,) if method == "as given" else (status, 200, 405))
    told = dict(response.headers)
    assert length == (0 if method == "HEAD" else int(told[b"content-length"]))
    assert told[b"x-content-type-options"] == b"nosniff"
    if told.get(b"connection") == b"close":
        assert client.state.their_state is h11.MUST_CLOSE
        assert client.client.rest() == b""
        client.client.close()
        return
    client.state.start_next_cycle()
    response, length = client.ask("POST", INFER, TOKEN | RAW, bytes(784))
    assert (response.status_code, length > 100) == (200, True)
    client.client.close()


def test_httpx_keeps_one_connection_through_all_refusals(server: Server) -> None:
    with httpx.Client(base_url=server.address, limits=httpx.Limits(max_connections=1)) as client:
        for status, method, path, headers, body in REFUSALS:
            assert client.request(method, path, headers=headers, content=body).status_code == status
            response = client.post(INFER, headers=TOKEN | RAW, content=bytes(784))
            assert response.headers["inference-header-content-length"] == "160"


def test_a_client_that_is_refused_as_too_slow_asks_anew(model: Path) -> None:
    """It sees 408 though it has not sent everything."""

    counted = 'mnist_sgd_requests_total{route="other",status="408"}'

    def halting(server: Server) -> Iterator[bytes]:
        yield bytes(700)
        wait_until(lambda: server.metric(counted) == 3)
        yield bytes(84)

    with running(model, "--body-timeout", "0.001") as server:
        for path in (INFER, "/predict"):
            client = H11Client(server)
            client.send("POST", path, RAW, bytes(700), missing=84)
            response, length = client.receive()
            told = dict(response.headers)
            assert (response.status_code, told[b"connection"]) == (408, b"close")
            assert length == int(told[b"content-length"])
            assert client.state.their_state is h11.MUST_CLOSE
            assert client.client.rest() == b""
            client.client.close()
        with httpx.Client(base_url=server.address) as pool:
            slow = pool.post(
                INFER, headers=RAW | {"content-length": "784"}, content=halting(server)
            )
            assert slow.status_code == 408
            assert slow.json() == {"error": "the body did not arrive within 0.001 s"}
            assert pool.post(INFER, headers=RAW, content=bytes(784)).status_code == 200


def test_a_client_that_finds_the_queue_full_asks_again_on_its_connection(model: Path) -> None:
    with running(model, "--max-queue-size", "1") as server:
        clients = [H11Client(server) for _ in range(20)]
        for client in clients:  # so that each is accepted
            assert client.ask("GET", "/v2/health/live", {}, b"")[0].status_code == 200
            client.state.start_next_cycle()
        with stopped(server):
            for client in clients:
                client.send("POST", INFER, RAW, bytes(784))
                client.client.wait_until_delivered()
        statuses = set()
        for client in clients:
            response, length = client.receive()
            statuses.add(response.status_code)
            assert length == int(dict(response.headers)[b"content-length"])
            client.state.start_next_cycle()
        assert statuses == {200, 503}
        for client in clients:
            assert client.ask("POST", INFER, RAW, bytes(784))[0].status_code == 200
            client.client.close()


def test_a_pool_goes_on_with_a_new_connection_while_a_server_is_not_ready(model: Path) -> None:
    with (
        launch(model, "--shutdown-delay", "3600") as server,
        httpx.Client(limits=httpx.Limits(max_connections=1)) as pool,
    ):
        server.wait_until_ready()
        pool.base_url = server.address
        assert pool.get("/v2/health/ready").status_code == 200
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("draining")
        for _ in range(3):
            refused = pool.get("/v2/health/ready")
            assert (refused.status_code, refused.headers["connection"]) == (503, "close")
            assert refused.json() == {"error": "the server is shutting down"}
            assert pool.post(INFER, headers=RAW, content=bytes(784)).status_code == 200


def test_a_client_that_asks_first_is_not_told_to_send_what_will_be_refused(server: Server) -> None:
    """Neither without the token nor with too much does it send its 90,000 bytes for nothing."""
    for headers, size, status in (
        ({}, 90_000, 401),
        (TOKEN | {"Origin": "http://evil.example"}, 90_000, 403),
        (TOKEN, MAX_BODY + 1, 413),
    ):
        for path in (INFER, "/predict"):
            with server.connect() as client:
                head = {"Expect": "100-continue", "Content-Length": str(size)}
                reply = client.ask("POST", path, b"", headers | head)
                assert (reply.status, reply.headers["connection"]) == (status, "close")
                assert client.rest() == b""


def test_blanks_after_the_value_of_a_header_do_not_count(server: Server) -> None:
    head = f"POST {INFER} HTTP/1.1\r\nHost: localhost \r\nAuthorization: Bearer secret\t\r\n"
    head += "Inference-Header-Content-Length: 0 \t \r\nContent-Length: 784\r\n"
    with server.connect() as client:
        client.send(head.encode() + b"\r\n" + bytes(784))
        assert client.reply().status == 200
        client.send(head.encode() + b"Expect: 100-continue \r\n\r\n")
        assert client.reply().status == 100
        client.send(bytes(784))
        assert client.reply().status == 200


def test_http_1_0_is_told_nothing_in_between_and_never_asked_twice(server: Server) -> None:
    head = f"POST {INFER} HTTP/1.0\r\nAuthorization: Bearer secret\r\n"
    head += "Inference-Header-Content-Length: 0\r\n"
    with server.connect() as client:
        expecting = head + "Expect: 100-continue\r\nContent-Length: 784\r\n\r\n"
        client.send(expecting.encode() + bytes(784))
        assert client.reply().status == 200
        assert client.rest() == b""
    with server.connect() as client:  # chunks, which HTTP/1.0 does not have, end the connection
        chunked = head + "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
        second = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
        client.send(chunked.encode() + b"310\r\n" + bytes(784) + b"\r\n0\r\n\r\n" + second)
        assert client.reply().headers["connection"] == "close"
        assert client.rest() == b""


def test_a_transfer_coding_that_is_not_known_is_refused(server: Server) -> None:
    head = f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    with server.connect() as client:
        client.send(head.encode() + b"1\r\nx\r\n0\r\n\r\n")
        reply = client.reply()
        assert (reply.status, reply.headers["connection"]) == (501, "close")
        assert reply.error == "Transfer-Encoding must be chunked, got 'gzip, chunked'"
        assert client.rest() == b""


def test_the_name_of_the_model_may_be_percent_encoded(server: Server) -> None:
    assert server.get("/v2/models/mnist%5Fsgd", TOKEN).status == 200
    path = "/v2/models/%6dnist_sgd/infer"
    assert server.post(path, bytes(784), TOKEN | RAW).status == 200


def test_a_browsers_copy_is_revalidated_by_any_form_of_its_tag(server: Server) -> None:
    tag = server.get("/page/page.js").headers["etag"]
    for given in (tag, f"W/{tag}", f'"other", {tag}', f'W/"other" , W/{tag}', "*"):
        reply = server.get("/page/page.js", {"If-None-Match": given})
        assert (reply.status, reply.body) == (304, b"")
    assert server.get("/page/page.js", {"If-None-Match": '"other"'}).status == 200


@pytest.mark.parametrize("given", ["bytes=0-9", "bytes=999999-", "lines=1-2", "bytes=x"])
def test_a_part_of_a_file_is_the_whole(server: Server, given: str) -> None:
    whole = server.get("/page/page.js")
    assert server.get("/page/page.js", {"Range": given}).body == whole.body
