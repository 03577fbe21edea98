"""The server does what its OpenAPI document says; the document is to be had for people too."""

import json
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import onnx_models
from mnist_sgd.data import sample_digits
from server import Server, running
from waiting import PATIENCE

needs_schemathesis = pytest.mark.skipif(
    find_spec("schemathesis") is None, reason="schemathesis is not installed"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    model = tmp_path_factory.mktemp("model") / "model.onnx"
    model.write_bytes(onnx_models.content(onnx_models.linear()))
    with running(model, "--max-body", "1000000") as started:
        yield started


def run_schemathesis(server: Server, document: str, *arguments: str) -> None:
    """Let it make up requests from a document; it must find nothing."""
    line = [sys.executable, "-m", "schemathesis.cli", "run", document, *arguments]
    line += [
        "--url",
        server.address,
        "--seed=1",
        "--no-color",
        f"--request-timeout={PATIENCE}",
        "--suppress-health-check=all",
    ]
    with TemporaryDirectory() as folder:
        done = subprocess.run(
            line, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    server.check_good()
    assert server.events("request") == []  # nothing was a failure of the server's own


@needs_schemathesis
def test_made_up_requests_get_what_the_document_says(server: Server) -> None:
    # No schema can say which bytes are a picture, or images of the right size.
    check = "--exclude-checks=positive_data_acceptance"
    run_schemathesis(server, f"{server.address}/openapi.json", check, "--max-examples=8")


@needs_schemathesis
def test_every_json_request_that_the_document_allows_is_answered(
    server: Server, tmp_path: Path
) -> None:
    document = server.get("/openapi.json").json
    document["paths"] = {
        path: item for path, item in document["paths"].items() if path.endswith("/infer")
    }
    for item in document["paths"].values():
        del item["post"]["requestBody"]["content"]["application/octet-stream"]
        del item["post"]["parameters"]
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(document))
    run_schemathesis(server, str(path), "--max-examples=8")


class Page(HTMLParser):
    """The elements, links, names and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: set[str] = set()
        self.names: set[str] = set()
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        given = dict(attrs)
        self.links.add(given.get("href") or "")
        self.names.add(given.get("id") or "")

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_shows_every_operation_and_schema_without_a_script(server: Server) -> None:
    document = server.get("/openapi.json").json
    reply = server.get("/docs")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    page = Page(reply.body.decode())
    text = "".join(page.words)
    for path, item in document["paths"].items():
        for method in item.keys() & {"get", "post"}:
            assert f"{method.upper()} {path}" in text
            assert item[method]["summary"] in text
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.names
    assert set(document["components"]["schemas"]) <= page.names
    assert not {"script", "img", "iframe", "object", "form"} & page.tags


def test_an_answer_about_a_picture_has_the_members_that_the_document_names(server: Server) -> None:
    schema = server.get("/openapi.json").json["components"]["schemas"]["Prediction"]
    answer = server.post("/predict", sample_digits()[0].read_bytes()).json
    assert list(answer) == schema["required"]
    explained = server.post("/predict?explain=1", sample_digits()[0].read_bytes()).json
    assert explained.keys() == schema["properties"].keys()


def test_every_path_of_the_document_is_there(server: Server) -> None:
    document = server.get("/openapi.json").json
    assert document["info"]["version"] == server.get("/v2").json["version"]
    (version,) = server.get("/v2/models/mnist_sgd").json["versions"]
    for path, item in document["paths"].items():
        reply = server.get(path.format(name="mnist_sgd", version=version))
        assert reply.status == (200 if "get" in item else 405)
