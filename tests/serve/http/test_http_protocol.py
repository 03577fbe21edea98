"""The inference protocol against a real process: what is answered, and what is refused and how."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx_models
from mnist_sgd_serve import Predictor
from server import INFER, RAW, Reply, Server, message, running

MODEL = onnx_models.content(onnx_models.linear())
HEADER_LENGTH = "Inference-Header-Content-Length"
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
PIXELS = IMAGES[0].ravel().tolist()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    model = tmp_path_factory.mktemp("model") / "model.onnx"
    model.write_bytes(MODEL)
    with running(model, "--max-request-images", "8") as started:
        yield started


@pytest.fixture(scope="module")
def expected() -> list[float]:
    answers: list[float] = Predictor(MODEL).probabilities(IMAGES).tolist()
    return answers


def tensor(**changes: Any) -> dict[str, Any]:
    """A valid input of one image, with members changed, or taken away by `...`."""
    given = {"name": "image", "shape": [1, 28, 28], "datatype": "UINT8", "data": PIXELS} | changes
    return {name: value for name, value in given.items() if value is not ...}


def infer(server: Server, *inputs: Any, **others: Any) -> Reply:
    document = {"inputs": list(inputs) or [tensor()]} | others
    document = {name: value for name, value in document.items() if value is not ...}
    return server.post(INFER, json.dumps(document).encode())


def binary(server: Server, size: Any, content: bytes, length: str | None = None) -> Reply:
    """Ask with the bytes of images behind the JSON."""
    given = tensor(data=..., parameters={"binary_data_size": size})
    head = json.dumps({"inputs": [given]}).encode()
    length = str(len(head)) if length is None else length
    return server.post(INFER, head + content, {HEADER_LENGTH: length})


def test_all_forms_of_a_request_get_the_same_answer(server: Server, expected: list[float]) -> None:
    reply = infer(server, tensor(shape=[3, 28, 28], data=IMAGES.tolist()), id="an id")
    document = reply.json
    assert (document["model_name"], document["id"]) == ("mnist_sgd", "an id")
    given = [
        {
            "name": "probability",
            "shape": [3, 1],
            "datatype": "FP32",
            "data": pytest.approx(expected),
        }
    ]
    assert document["outputs"] == given
    exact = np.array(document["outputs"][0]["data"], np.float32).tobytes()

    reply = server.post(INFER, IMAGES.tobytes(), RAW)
    assert reply.headers["content-type"] == "application/octet-stream"
    length = int(reply.headers[HEADER_LENGTH.lower()])
    size = {"binary_data_size": 12}
    assert json.loads(reply.body[:length])["outputs"][0]["parameters"] == size
    assert reply.body[length:] == exact

    version = document["model_version"]
    reply = server.post(f"/v2/models/mnist_sgd/versions/{version}/infer", IMAGES.tobytes(), RAW)
    assert reply.body[length:] == exact


def test_the_health_and_metadata_are_as_the_protocol_says(server: Server) -> None:
    assert server.get("/v2/health/live").json == {"live": True}
    assert server.get("/v2/health/ready").json == {"ready": True}
    for path in ("/v2", "/v2/", "/v2?query"):
        assert "binary_tensor_data" in server.get(path).json["extensions"]
    assert server.get("/v2/models").json == {"models": ["mnist_sgd"]}
    metadata = server.get("/v2/models/mnist_sgd").json
    (version,) = metadata["versions"]
    assert metadata["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28]}]
    assert server.get(f"/v2/models/mnist_sgd/versions/{version}").json == metadata
    ready = {"name": "mnist_sgd", "ready": True}
    assert server.get("/v2/models/mnist_sgd/ready").json == ready
    assert server.get(f"/v2/models/mnist_sgd/versions/{version}/ready").json == ready


def test_head_is_get_without_the_body(server: Server) -> None:
    for path in ("/v2", "/metrics", "/openapi.json", "/docs", "/nothing"):
        with server.connect() as client:
            head = client.ask("HEAD", path)
            whole = client.ask("GET", path)
        assert (head.status, head.body) == (whole.status, b"")
        if path != "/metrics":  # they count meanwhile
            assert head.headers["content-length"] == whole.headers["content-length"]


def test_a_page_that_the_browser_has_is_not_sent_again(server: Server) -> None:
    with server.connect() as client:
        whole = client.ask("GET", "/")
        again = client.ask("GET", "/", headers={"If-None-Match": whole.headers["etag"]})
        assert (again.status, again.body) == (304, b"")
        assert "content-length" not in again.headers
        assert client.ask("GET", "/").body == whole.body


# Which requests are refused is promised in tests/serve/protocol; here, that clients are told why.


def test_two_header_lengths_are_refused(server: Server) -> None:
    reply = server.post(INFER, bytes(784), {HEADER_LENGTH: f"0\r\n{HEADER_LENGTH}: 784"})
    server.check_refusal(reply, 400, "must be the length of the JSON, got '0, 784'")


def test_a_refused_request_says_why(server: Server) -> None:
    for reply, text in (
        (binary(server, 784, bytes(784), "ten"), HEADER_LENGTH),
        (binary(server, 783, bytes(784)), "binary_data_size of the shape [1, 28, 28] must be 784"),
        (binary(server, 784, bytes(783)), "784 bytes of inputs must follow the JSON, there are"),
        (server.post(INFER, bytes(783), RAW), "got 783 bytes, no multiple of 784"),
        (infer(server, tensor(shape=[1, 784])), "shape of 'image' must be [N, 28, 28] with N at"),
        (infer(server, tensor(data=PIXELS[1:])), "got an array of 783"),
        (infer(server, tensor(name="x" * 9000)), "is unknown, the only one is 'image'"),
        (infer(server, outputs=[{"name": "logit"}]), "output 'logit' is unknown, the only one is"),
        (infer(server, id=7), "id must be a string, got 7"),
    ):
        server.check_refusal(reply, 400, text)


def test_more_images_than_the_limit_are_refused(server: Server) -> None:
    text = "the request has 9 images, at most 8 are allowed"
    server.check_refusal(infer(server, tensor(shape=[9, 28, 28])), 413, text)
    server.check_refusal(server.post(INFER, bytes(9 * 784), RAW), 413, text)
    assert server.post(INFER, bytes(8 * 784), RAW).status == 200


def test_an_unknown_model_or_version_is_refused(server: Server) -> None:
    for base in ("/v2/models/other", "/v2/models/mnist_sgd/versions/9"):
        for reply in (
            server.post(f"{base}/infer", bytes(784), RAW),
            server.get(base),
            server.get(f"{base}/ready"),
        ):
            server.check_refusal(reply, 404, "is unknown, the model is 'mnist_sgd', of version")


@pytest.mark.parametrize(
    "identity",
    ["x" * 10_000, 'π \\ " </script>', "", "a\r\nSet-Cookie: x=y", "\0\x1b[31m\x85\u2028"],
)
def test_an_id_comes_back(server: Server, identity: str) -> None:
    reply = infer(server, id=identity)
    assert reply.json["id"] == identity
    assert "set-cookie" not in reply.headers
    assert "\x1b" not in server.log


def test_without_an_id_none_comes_back(server: Server) -> None:
    assert "id" not in infer(server).json


def test_a_request_id_comes_back_if_it_is_harmless(server: Server) -> None:
    for given, same in [
        ("abc-1.2_3", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("a b", False),
        ("a\tb", False),
        ('"', False),
    ]:
        got = server.get("/v2", {"X-Request-Id": given}).headers["x-request-id"]
        assert (got == given) is same
        assert 0 < len(got) <= 64
    assert server.get("/nothing").headers["x-request-id"]


def test_requests_of_a_connection_are_answered_in_their_order(
    server: Server, expected: list[float]
) -> None:
    order = [0, 2, 1, 1, 0, 2] * 20
    with server.connect() as client:
        client.send(
            b"".join(
                message("POST", INFER, IMAGES[which].tobytes(), RAW) + message("GET", f"/{place}")
                for place, which in enumerate(order)
            )
        )
        for which in order:
            answer = np.frombuffer(client.reply().body[-4:], np.float32)[0]
            assert answer == pytest.approx(expected[which], rel=1e-5)
            assert client.reply().status == 404


def test_bytes_that_come_one_by_one_are_a_request(server: Server) -> None:
    with server.connect() as client:
        for byte in message("POST", INFER, IMAGES[0].tobytes(), RAW):
            client.send(bytes([byte]))
        assert client.reply().status == 200


def test_a_client_that_asks_first_is_told_to_go_on(server: Server) -> None:
    with server.connect() as client:
        headers = RAW | {"Expect": "100-continue"}
        client.send(message("POST", INFER, IMAGES[0].tobytes(), headers)[:-784])
        assert client.reply().status == 100
        client.send(IMAGES[0].tobytes())
        assert client.reply().status == 200


def test_the_token_is_asked_of_all_but_health_checks_and_the_page(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(MODEL)
    with running(model, "--token", "a-secret") as server:
        for path in ("/v2/health/live", "/v2/health/ready", "/", "/page/page.js"):
            assert server.get(path).status == 200
        for path in ("/docs", "/openapi.json"):  # a browser could not open them with a token
            reply = server.get(path)
            assert reply.status == 200
            assert b'"7"' not in reply.body  # nor are the classes told
        right = {"Authorization": "Bearer a-secret"}
        for path in ("/v2", "/metrics", "/v2/models", "/v2/models/mnist_sgd"):
            for wrong in (
                {},
                {"Authorization": "Bearer a-secre"},
                {"Authorization": "Bearer a-secret2"},
                {"Authorization": "a-secret"},
                {"Authorization": "Basic a-secret"},
                {"Authorization": "Bearer "},
            ):
                reply = server.get(path, wrong)
                assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
                assert reply.error == "the header Authorization: Bearer TOKEN is missing or wrong"
            assert server.get(path, right).status == 200
        assert server.get("/v2", {"Authorization": "bearer a-secret"}).status == 200
        assert server.get("/nothing").status == 401  # what there is, is not for everybody
        assert server.get("/nothing", right).status == 404
        assert server.post(INFER, bytes(784), RAW).status == 401
        assert server.post(INFER, bytes(784), RAW | right).status == 200
        assert "a-secret" not in server.log


def test_pages_of_another_origin_may_ask_if_told(tmp_path: Path, server: Server) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(MODEL)
    origin = "https://example.org"
    preflight = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    with (
        running(model, "--cors", origin, "--token", "x") as open_server,
        open_server.connect() as client,
    ):
        reply = client.ask("OPTIONS", INFER, headers=preflight)
        assert reply.status == 200
        assert reply.headers["access-control-allow-origin"] == origin
        assert reply.headers["access-control-allow-methods"] == "GET, HEAD, POST"
        allowed = reply.headers["access-control-allow-headers"].split(", ")
        assert {"authorization", "content-type", HEADER_LENGTH.lower()} <= set(allowed)
        page = RAW | {"Origin": origin}
        refused = client.ask("POST", INFER, bytes(784), page)
        assert refused.status == 401
        good = client.ask("POST", INFER, bytes(784), page | {"Authorization": "Bearer x"})
        assert good.status == 200
        for answer in (refused, good):
            assert answer.headers["access-control-allow-origin"] == origin
        for given, text in (
            ({"Origin": "https://example.com"}, "a page of another site may not send this"),
            ({"Access-Control-Request-Method": "PUT"}, "a page of another origin may send GET, H"),
            ({"Access-Control-Request-Headers": "x-other"}, "a page of another origin may send"),
            ({"Host": "evil.example"}, "the host 'evil.example' is not a name of this server"),
        ):
            reply = client.ask("OPTIONS", INFER, headers=preflight | given)
            assert (reply.status, reply.error[: len(text)]) == (403, text)
    reply = server.ask("OPTIONS", INFER, headers=preflight)
    server.check_refusal(reply, 405, "'OPTIONS' is not allowed here: use POST")
    assert "access-control-allow-origin" not in reply.headers
