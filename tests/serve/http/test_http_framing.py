"""What a client may do wrong below the protocol: framing, sizes, compression, paths."""

import gzip
import io
import json
import select
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

import onnx_models
from mnist_sgd_serve.http.connection import LINGER_SECONDS
from mnist_sgd_serve.inference import MAX_HELD_BODIES
from server import INFER, RAW, Client, Reply, Server, message, running
from waiting import again_if_late, wait_until

MAX_BODY = 1_000_000
HEADER_LENGTH = "Inference-Header-Content-Length"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    model = tmp_path_factory.mktemp("model") / "model.onnx"
    model.write_bytes(onnx_models.content(onnx_models.linear()))
    with running(model, "--max-body", str(MAX_BODY)) as started:
        yield started


def last_answer(server: Server, data: bytes) -> Reply:
    """The answer to bytes after which the server must close, with nothing more to say.

    Who sends on for longer than the server listens may miss its answer.
    """

    def attempt() -> Reply:
        with server.connect() as client:
            with suppress(ConnectionError):  # it may close before it has all of a bad request
                client.send(data)
            reply = client.reply()
            assert reply.headers["connection"] == "close"
            assert client.rest() == b""
        return reply

    return again_if_late(LINGER_SECONDS, attempt)


def chunked(*chunks: bytes, path: str = INFER) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n"
    head += f"{HEADER_LENGTH}: 0\r\n\r\n"
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head.encode() + body + b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "the body is empty"),
        (b'{"inputs": [', "the JSON cannot be read"),
        (b"[" * 250_000 + b"]" * 250_000, "the JSON cannot be read"),
        (b"null", "the request must be a JSON object, got null"),
    ],
    ids=["nothing", "cut short", "nested", "no object"],
)
def test_a_body_that_is_no_json_object_is_refused(server: Server, body: bytes, text: str) -> None:
    server.check_refusal(server.post(INFER, body), 400, text)


def test_values_without_end_are_refused_and_the_answer_is_valid_json(server: Server) -> None:
    given = {"name": "image", "shape": [1, 28, 28], "datatype": "UINT8"}
    text = json.dumps({"inputs": [given | {"data": [7] * 783}]}).replace("7]", "7, 1e999]")
    server.check_refusal(server.post(INFER, text.encode()), 400, "")
    floats = {"inputs": [given | {"datatype": "FP32", "parameters": {"binary_data_size": 3136}}]}
    head = json.dumps(floats).encode()
    body = head + b"\x00\x00\xc0\x7f" * 784
    reply = server.post(INFER, body, {HEADER_LENGTH: str(len(head))})
    server.check_refusal(reply, 400, "datatype of 'image' must be 'UINT8', got 'FP32'")


def test_a_body_over_the_limit_is_refused_by_its_length_alone(server: Server) -> None:
    with server.connect() as client:
        client.send(message("POST", INFER, headers={"Content-Length": str(MAX_BODY + 1)}))
        reply = client.reply()
        server.check_refusal(reply, 413, f"larger than {MAX_BODY} bytes, the most allowed")
        client.send(bytes(MAX_BODY + 1))  # read and thrown away
        assert client.ask("GET", "/v2/health/live").status == 200


def test_a_body_of_exactly_the_limit_is_read(server: Server) -> None:
    reply = server.post(INFER, b"{}".ljust(MAX_BODY))
    server.check_refusal(reply, 400, "inputs must be an array")


def test_a_client_that_asks_first_is_refused_before_it_sends(server: Server) -> None:
    headers = {"Content-Length": str(MAX_BODY + 1), "Expect": "100-continue"}
    with server.connect() as client:
        client.send(message("POST", INFER, headers=headers))
        reply = client.reply()
    server.check_refusal(reply, 413, "the most allowed")
    assert reply.headers["connection"] == "close"


def test_a_chunked_body_is_refused_as_soon_as_it_is_too_large(server: Server) -> None:
    with server.connect() as client:
        client.send(chunked(bytes(MAX_BODY), b"x")[: -len(b"\r\n0\r\n\r\n")])
        reply = client.reply()  # though the end is not sent
        server.check_refusal(reply, 413, "the most allowed")
        client.send(b"\r\n0\r\n\r\n")
        assert client.ask("GET", "/v2/health/live").status == 200


def test_a_chunked_body_is_answered(server: Server) -> None:
    whole = server.post(INFER, bytes(range(28)) * 56, RAW)
    with server.connect() as client:
        client.send(chunked(bytes(range(28)) * 20, bytes(range(28)) * 36))
        assert client.reply().body == whole.body


@pytest.mark.parametrize(("size", "count"), [(1, 1_000_000), (5, 190_000)])
def test_very_many_small_chunks_are_refused_in_little_memory(
    server: Server, size: int, count: int
) -> None:
    server.check_good()
    with server.watched_memory() as more:
        reply = last_answer(server, chunked(*[b"x" * size] * count))
        server.check_refusal(reply, 400, "the chunks of the body are too small")
        assert more() < 8 * 2**20


def test_many_chunks_of_32_bytes_are_answered(server: Server) -> None:
    image = bytes(range(28)) * 28
    body = image * 60
    chunks = [body[at : at + 32] for at in range(0, len(body), 32)]
    with server.connect() as client:
        client.send(chunked(*chunks))
        assert client.reply().status == 200


def test_an_endless_trailer_is_refused(server: Server) -> None:
    start = chunked(b"x")[:-2]
    trailer = b"".join(b"x-%d: %b\r\n" % (number, b"y" * 1000) for number in range(1000))
    reply = last_answer(server, start + trailer)
    server.check_refusal(reply, 400, "its trailer is too large")


def test_a_trailer_is_no_header(server: Server) -> None:
    with server.connect() as client:
        client.send(chunked(bytes(784))[:-2] + b"content-encoding: gzip\r\n\r\n")
        assert client.reply().status == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_is_refused_in_little_memory(server: Server, encoding: str) -> None:
    zeros = bytes(60 * MAX_BODY)
    bomb = gzip.compress(zeros, 9, mtime=0) if encoding == "gzip" else zlib.compress(zeros, 9)
    assert len(bomb) < MAX_BODY
    server.check_good()
    with server.watched_memory() as more:
        for _ in range(5):
            reply = server.post(INFER, bomb, {"Content-Encoding": encoding} | RAW)
            server.check_refusal(reply, 413, f"the body is larger than {MAX_BODY} bytes")
        assert more() < 16 * 2**20


@pytest.mark.parametrize(
    ("body", "encoding", "status", "text"),
    [
        (b"nonsense", "deflate", 400, "the deflate body is damaged"),
        (gzip.compress(bytes(784), mtime=0) + b"more", "gzip", 400, "4 bytes follow the gzip body"),
        (b"x", "gzip, gzip", 415, "got 'gzip, gzip'"),
        (b"x", "x" * 5000, 415, "got 'xxx"),
    ],
    ids=["damaged", "bytes after it", "twice", "unknown"],
)
def test_damaged_or_unknown_compression_is_refused(
    server: Server, body: bytes, encoding: str, status: int, text: str
) -> None:
    reply = server.post(INFER, body, {"Content-Encoding": encoding} | RAW)
    server.check_refusal(reply, status, text)


@pytest.mark.parametrize("path", [INFER, "/predict"])
def test_compressed_bodies_are_answered(server: Server, path: str) -> None:
    body = bytes(range(196)) * 4 if path == INFER else png()
    plain = server.post(path, body, RAW)
    packed = server.post(path, gzip.compress(body, mtime=0), {"Content-Encoding": "gzip"} | RAW)
    assert (plain.status, packed.status) == (200, 200)
    if path == INFER:
        assert packed.body == plain.body
    else:
        assert packed.json["probability"] == plain.json["probability"]


def png() -> bytes:
    from PIL import Image

    file = io.BytesIO()
    image = Image.new("L", (28, 28))
    image.paste(255, (12, 6, 16, 22))
    image.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4",
        b"Content-Length: 4\r\nContent-Length: 4",
        b"Content-Length: 4\r\nContent-Length: 5",
        b"Content-Length: -1",
        b"Content-Length: +4",
        b"Content-Length: 0x4",
        b"Content-Length: 1_0",
        b"Content-Length: 99999999999999999999999999",
        b"Content-Length:",
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: chunked, chunked",
        b"X: a\0b",
        b"X\0: a",
        b"X : a",
        b" X: a",
        b"X: a\rb",
        b"X: a\n b",
        b"no colon",
    ],
    ids=str,
)
def test_a_head_that_could_be_read_in_two_ways_is_refused(server: Server, headers: bytes) -> None:
    data = b"POST /predict HTTP/1.1\r\nHost: test\r\n" + headers + b"\r\n\r\nabcd"
    server.check_refusal(last_answer(server, data), 400, "the request is not valid HTTP/1.1")


@pytest.mark.parametrize("size", [b"z", b"-1", b"F" * 17, b"1 ", b"0x1", b""], ids=str)
def test_a_bad_chunk_size_is_refused(server: Server, size: bytes) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
    reply = last_answer(server, head + size + b"\r\nx\r\n0\r\n\r\n")
    server.check_refusal(reply, 400, "the request is not valid HTTP/1.1")


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),  # how TLS begins
        b"GET /v2 HTTP/2.0\r\nHost: localhost\r\n\r\n",
        b"POST /v2/models/mnist_sgd/infer HTTP/2.0\r\nHost: a\r\nContent-Length: 784\r\n\r\n",
        b"GET /v2\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff\0 HTTP/1.1\r\n\r\n",
        b"SMASH / HTTP/1.1\r\n\r\n",
    ],
    ids=str,
)
def test_what_is_no_http_is_refused(server: Server, data: bytes) -> None:
    server.check_refusal(last_answer(server, data), 400, "the request is not valid HTTP/1.1")


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * 4_000_000,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
        b"GET /" + b"y" * 40_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 500_000,
    ],
    ids=["value", "endless value", "many headers", "target", "endless headers"],
)
def test_an_oversize_head_is_refused(server: Server, head: bytes) -> None:
    server.check_refusal(last_answer(server, head), 431, "the head is larger than 32768 bytes")


def test_a_large_head_behind_a_large_body_is_no_oversize_head(server: Server) -> None:
    with server.connect() as client:
        first = message("POST", INFER, b"{}".ljust(300_000))
        second = message("GET", "/v2/health/live", headers={"X": "y" * 20_000})
        client.send(first + second[:10_000])
        assert client.reply().status == 400
        client.send(second[10_000:])
        assert client.reply().status == 200


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", INFER, "POST"),
        ("HEAD", INFER, "POST"),
        ("PUT", "/predict", "POST"),
        ("DELETE", "/v2/models", "GET, HEAD"),
        ("POST", "/metrics", "GET, HEAD"),
        ("OPTIONS", "/predict", "POST"),
        ("PROPFIND", "/", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_refused_with_what_is_allowed(
    server: Server, method: str, path: str, allow: str
) -> None:
    reply = server.ask(method, path)
    assert (reply.status, reply.headers["allow"]) == (405, allow)
    if method == "HEAD":
        assert reply.headers["content-type"] == "application/json"
    else:
        server.check_refusal(reply, 405, f"'{method}' is not allowed here: use {allow}")


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/v2/nothing",
        "//v2",
        "/v2/health/live/",
        "/../../etc/passwd",
        "/page/../server.py",
        "/page/%2e%2e/server.py",
        "/page/page.css%00.py",
        "/page/",
        "/page/page.js/",
        "/page//page.js",
        "/page/./page.js",
        "*",
        "/" + "y" * 9000,
    ],
    ids=lambda path: path[:30],
)
def test_an_unknown_path_is_no_file(server: Server, path: str) -> None:
    server.check_refusal(server.get(path), 404, "there is nothing at this path, see /openapi.json")


@pytest.mark.parametrize(
    "name",
    [
        "nobody",
        "mnist_sgd%00",
        "%2e%2e",
        "%2e%2e%2fmnist_sgd",
        "..",
        "../mnist_sgd",
        "a/b",
        "a%2fb",
        "mnist_sgd/",
        "",
        "y" * 9000,
    ],
    ids=lambda name: name[:30],
)
def test_an_unknown_model_name_is_refused_and_never_a_file(server: Server, name: str) -> None:
    for suffix in ("", "/ready"):
        reply = server.get(f"/v2/models/{name}{suffix}")
        server.check_refusal(reply, 404, "is unknown, the model is 'mnist_sgd'")
    reply = server.post(f"/v2/models/{name}/infer", bytes(784), RAW)
    server.check_refusal(reply, 404, "is unknown, the model is 'mnist_sgd'")


def test_a_request_as_to_a_proxy_is_answered(server: Server) -> None:
    assert server.get("http://test/v2/health/live").json == {"live": True}


def test_a_tunnel_is_refused(server: Server) -> None:
    reply = last_answer(server, b"CONNECT other:443 HTTP/1.1\r\nHost: other\r\n\r\n\x16\x03\x01")
    server.check_refusal(reply, 400, "the target of the request is not a valid path")


@pytest.mark.parametrize("pieces", [1, 3])
def test_the_wish_for_another_protocol_is_passed_over(server: Server, pieces: int) -> None:
    upgrade = {
        "Connection": "Upgrade, HTTP2-Settings",
        "Upgrade": "h2c",
        "HTTP2-Settings": "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
    }
    data = message("POST", INFER, bytes(784), RAW | upgrade) + message(
        "GET", "/v2", headers=upgrade
    )
    with server.connect() as client:
        for start in range(pieces):
            step = -(-len(data) // pieces)
            client.send(data[start * step : (start + 1) * step])
        assert client.reply().status == 200
        assert client.reply().json["name"] == "mnist_sgd_serve"
        assert client.ask("GET", "/v2/health/live").status == 200


def test_http_1_0_is_answered_and_closed(server: Server) -> None:
    for wish in (b"", b"Connection: keep-alive\r\n"):
        with server.connect() as client:
            client.send(b"GET /v2/health/live HTTP/1.0\r\n" + wish + b"\r\n")
            reply = client.reply()
            assert (reply.json, reply.headers["connection"]) == ({"live": True}, "close")
            assert client.rest() == b""


def test_a_refused_client_sees_why_though_it_goes_on_sending(server: Server) -> None:
    def attempt() -> None:
        with server.connect() as client:
            client.send(b"nonsense\r\n\r\n")
            for _ in range(50):
                client.send(bytes(10_000))
            assert client.reply().status == 400
            assert client.rest() == b""

    again_if_late(LINGER_SECONDS, attempt)
    server.check_good()


def wait_for_answers(clients: list[Client], count: int) -> None:
    """Wait until so many of the clients have something to read."""
    sockets = [client.socket for client in clients]
    wait_until(lambda: len(select.select(sockets, [], [], 0)[0]) >= count)


def test_bodies_that_arrive_at_once_are_bounded_together(server: Server) -> None:
    size = MAX_BODY - 1
    with server.watched_memory() as more, ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(40)]
        for client in clients:
            client.send(message("POST", INFER, headers={"Content-Length": str(size)}))
        for client in clients:
            with suppress(ConnectionError):
                client.send(bytes(size - 1))
        wait_for_answers(clients, 40 - MAX_HELD_BODIES)  # till then some may lie unread
        server.check_good()  # small requests go on
        for client in clients:
            client.send(b"}")
        replies = [client.reply() for client in clients]
        statuses = [reply.status for reply in replies]
        assert statuses.count(503) == 40 - MAX_HELD_BODIES
        assert statuses.count(400) == MAX_HELD_BODIES
        refused = next(reply for reply in replies if reply.status == 503)
        server.check_refusal(refused, 503, "too many large bodies are arriving")
        assert refused.headers["retry-after"] == "1"
        assert more() < 30 * 2**20  # all of them would be 40 MB
    server.check_refusal(server.post(INFER, b"{}".ljust(size)), 400, "inputs must be")
