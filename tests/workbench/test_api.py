"""The API of a workbench, asked by its client and by hand, in front of a real service."""

import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from mnist_sgd.data import sample_digits
from mnist_sgd.workbench import WorkbenchError
from picture_bombs import BOMBS
from workbenches import Service, drawing, service

JSON = {"Content-Type": "application/json"}
WORST = (
    "JPEG, 1000 scans, 25 MP",
    "PNG, 1 x 25,000,000",
    "GIF, a frame of 88 MP behind an empty block",
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("bench") / "home") as running:
        yield running


def ask(
    bench: Service,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[HTTPResponse, Any]:
    connection = HTTPConnection(urlsplit(bench.address).netloc, timeout=60)
    try:
        connection.request(method, f"/api{path}", body, headers or {})
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    is_json = response.headers.get_content_type() == "application/json"
    return response, json.loads(content) if is_json and content else content


def drawings(kind: str, count: int) -> dict[str, bytes]:
    return {f"{kind} {i}.png": drawing(kind, i) for i in range(count)}


def test_from_two_heaps_of_pictures_to_a_model(bench: Service) -> None:
    client = bench.client
    made = client.create_set("shapes", ["circle", "cross"])
    assert [each["name"] for each in made["classes"]] == ["circle", "cross"]
    for kind in ("circle", "cross"):
        verdicts = client.add("shapes", kind, drawings(kind, 30))
        assert {each["verdict"] for each in verdicts} <= {"kept", "duplicate"}
    again = client.add("shapes", "cross", drawings("circle", 3))
    assert [(each["verdict"], each["class"]) for each in again] == [("duplicate", "circle")] * 3
    facts = client.set("shapes")
    assert facts["warnings"] == []
    pictures = list(client.pictures("shapes", class_name="circle", sort="name"))
    assert len(pictures) == facts["classes"][0]["pictures"]
    assert pictures == sorted(pictures, key=lambda each: each["name"])
    training = client.train("shapes", model="linear", epochs=3, key="once")
    assert client.train("shapes", model="linear", epochs=3, key="once")["id"] == training["id"]
    ended = client.wait(training["id"], timeout=300)
    assert (ended["state"], ended["set"], ended["model"]) == ("finished", "shapes", "linear")
    assert ended["progress"]["event"] == "end"
    assert ended["evaluation"]["classes"] == ["circle", "cross"]
    assert client.file(training["id"], "model.onnx").startswith(b"\x08")
    assert b"<!doctype html>" in client.file(training["id"], "report.html").lower()
    repeated = client.train("shapes", model="linear", epochs=3)
    assert (repeated["id"], repeated["same"]) == (training["id"], True)
    mine = told_of(bench, training["id"], "finished")
    assert [each["state"] for each in mine if each["event"] == "state"] == [
        "queued",
        "running",
        "finished",
    ]
    assert [each["epoch"] for each in mine if each["event"] == "epoch"] == [0, 1, 2]


def told_of(bench: Service, training: str, state: str) -> list[dict[str, Any]]:
    """The events of a training from the first until it is told to be in a state."""
    mine = []
    for _, batch in bench.client.events(0):
        for event in batch:
            if event.get("training") == training:
                mine.append(event)
                if event.get("state") == state:
                    return mine
    raise AssertionError("the service has ended")


def test_progress_is_heard_within_200_ms_and_nothing_is_missed_after_a_break(
    bench: Service,
) -> None:
    """The quickest of some: a busy machine may be late now and then."""
    client = bench.client
    name = client.train(model="mlp", epochs=40, seed=3)["id"]
    late: list[float] = []
    heard: list[dict[str, Any]] = []
    last = 0
    while not (heard and heard[-1].get("state") == "finished"):
        last, batch = next(client.events(last))  # a new connection after each message
        now = time.time()
        mine = [each for each in batch if each.get("training") == name]
        late += [now - each["time"] for each in mine if "time" in each]
        heard += mine
    assert min(late) < 0.2
    numbers = [each["id"] for each in heard if "id" in each]
    assert numbers == list(range(1, len(numbers) + 1))
    assert [each["epoch"] for each in heard if each["event"] == "epoch"] == list(range(40))


def test_the_service_loads_neither_torch_nor_the_loader() -> None:
    code = (
        "import sys, mnist_sgd.workbench.app, mnist_sgd.workbench.service as s; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "torchvision", "onnxruntime", "mnist_sgd._core"} & set(done.stdout.split())


def test_a_picture_is_sent_by_its_content_moved_and_seen_as_the_model_sees_it(
    bench: Service,
) -> None:
    client, content = bench.client, sample_digits()[0].read_bytes()
    client.create_set("digits", ["7", "3"])
    digest = sha256(content).hexdigest()
    path = f"/sets/digits/pictures/{digest}"
    for status in (201, 200):
        response, facts = ask(bench, "PUT", f"{path}?class=7&name=seven.png", content)
        assert (response.status, facts["class"], facts["sha256"]) == (status, "7", digest)
    response, facts = ask(bench, "PUT", f"{path}?class=3", content)
    assert (response.status, facts["state"]) == (409, "7")
    assert facts["error"] == "the picture is in the class '7'; move it with PATCH"
    response, given = ask(bench, "GET", path)
    assert given == content
    etag = response.headers["etag"]
    moved = json.dumps({"class": "3"}).encode()
    response, facts = ask(bench, "PATCH", path, moved, JSON | {"If-Match": etag})
    assert (response.status, facts["class"]) == (200, "3")
    response, facts = ask(bench, "PATCH", path, moved, JSON | {"If-Match": etag})
    assert (response.status, facts["error"]) == (412, "the picture has been moved since")
    assert client.move("digits", digest, None)["class"] is None
    assert client.undo("digits")["class"] == "3"
    assert client.undo("digits")["class"] == "7"
    with pytest.raises(WorkbenchError, match="there is nothing to undo"):
        client.undo("digits")
    _, shown = ask(bench, "GET", f"{path}/prepared")
    with Image.open(io.BytesIO(shown)) as image:
        assert (image.size, image.mode) == ((28, 28), "L")


def test_what_is_no_picture_or_a_bomb_is_refused_in_a_sentence_and_the_rest_is_kept(
    bench: Service,
) -> None:
    client = bench.client
    client.create_set("mixed", ["a"])
    files = {"a.png": drawing("cross", 1), "b.txt": b"no picture", "empty.png": b""}
    files |= {name: BOMBS[name]().body for name in WORST}
    verdicts = {each["file"]: each for each in client.add("mixed", "a", files)}
    assert verdicts["a.png"]["verdict"] == "kept"
    assert {each["verdict"] for name, each in verdicts.items() if name != "a.png"} == {"refused"}
    assert "are not an image" in verdicts["b.txt"]["reason"]
    assert client.set("mixed")["pictures"] == 1
    assert client.about()["version"]  # it is alive


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("GET", "/nothing", None, 404, "there is no '/api/nothing' here"),
        ("POST", "/sets", None, 405, "POST is not allowed here"),
        ("GET", "/sets/none", None, 404, "there is no set 'none'"),
        ("PUT", "/sets/a%20b", b"{}", 400, "a set's name is 1 to 64 letters"),
        ("PUT", "/sets/x", b'{"classes": "cat"}', 400, "classes must be an array of strings"),
        ("PUT", "/sets/x", b'{"classes": [".."]}', 400, "a class's name has 1 to 64 bytes"),
        ("PUT", "/sets/x", b'{"clases": []}', 400, "there is no member 'clases'; there is classes"),
        ("PUT", "/sets/x", b"{", 400, "the body is not JSON: "),
        ("PUT", "/sets/x", b"[1]", 400, "the body must be a JSON object"),
        ("PUT", "/sets/x", b"[" * 100_000, 400, "the body is not JSON: "),
        ("PUT", "/sets/x", b" " * (2**20 + 1), 413, "the body has more than 1,048,576 bytes"),
        ("GET", "/sets/bad/pictures", None, 404, "there is no set 'bad'"),
        ("POST", "/trainings", b'{"model": "os:system"}', 400, "model must be one of linear, mlp"),
        ("POST", "/trainings", b'{"set": "none"}', 404, "there is no set 'none'"),
        ("GET", "/trainings/0001-x/files/..%2Frequest.json", None, 404, "there is no"),
        ("GET", "/trainings/..", None, 404, "there is no"),
        ("POST", "/trainings/9999-mlp/stop", None, 404, "there is no training '9999-mlp'"),
        ("GET", "/events?after=x", None, 400, "the number of the last event must be a whole"),
    ],
)
def test_a_bad_request_is_refused_in_a_sentence(
    method: str, path: str, body: bytes | None, status: int, error: str, bench: Service
) -> None:
    response, facts = ask(bench, method, path, body, JSON if body else {})
    assert response.status == status
    assert facts["error"].startswith(error)
    assert response.headers["x-content-type-options"] == "nosniff"
    assert bench.is_running


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("?page=0", "page must be a whole number, 1 or more, got '0'"),
        ("?page=²", "page must be a whole number"),
        ("?sort=size", "sort must be new or name, got 'size'"),
        (f"/{'A' * 64}", "a picture is named by its SHA-256, 64 hexadecimal digits in lower case"),
        (f"/{'a' * 64}", f"there is no picture '{'a' * 64}'"),
    ],
)
def test_a_bad_question_about_pictures_is_refused(path: str, error: str, bench: Service) -> None:
    bench.client.create_set("asked")
    from urllib.parse import quote

    response, facts = ask(bench, "GET", f"/sets/asked/pictures{quote(path, '?=/')}")
    assert response.status in (400, 404)
    assert facts["error"].startswith(error)


def test_a_body_of_another_type_is_refused(bench: Service) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        response, facts = ask(bench, "POST", "/trainings", b"{}", {"Content-Type": kind})
        assert (response.status, facts["error"]) == (
            415,
            "the Content-Type must be application/json",
        )
    response, facts = ask(bench, "POST", "/sets/shapes/pictures?class=a", b"x")
    assert response.status in (404, 415)


def test_no_other_site_reaches_the_workbench(bench: Service) -> None:
    for headers, error in (
        ({"Host": "evil.example"}, "the host 'evil.example' is not a name of this server"),
        ({"Origin": "https://evil.example"}, "a page of another site may not send this"),
        ({"Sec-Fetch-Site": "cross-site"}, "a page of another site may not send this"),
    ):
        response, facts = ask(bench, "DELETE", "/sets/digits", None, headers)
        assert response.status == 403
        assert facts["error"].startswith(error)


def test_a_double_click_starts_one_training(bench: Service) -> None:
    body = json.dumps({"model": "mlp", "options": {"epochs": 500, "seed": 7}}).encode()
    headers = JSON | {"Idempotency-Key": "a double click"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: ask(bench, "POST", "/trainings", body, headers), range(8))
        )
    assert {response.status for response, _ in answers} == {202}
    (name,) = {facts["id"] for _, facts in answers}
    assert {response.headers["location"] for response, _ in answers} == {f"/api/trainings/{name}"}
    other = json.dumps({"model": "mlp", "options": {"epochs": 501}}).encode()
    response, facts = ask(bench, "POST", "/trainings", other, headers)
    assert response.status == 422
    assert facts["error"].startswith("the Idempotency-Key was used for another request")
    assert bench.client.cancel(name)["state"] == "cancelled"
    with pytest.raises(WorkbenchError, match="it was cancelled") as refused:
        bench.client.stop(name)
    assert (refused.value.status, refused.value.state) == (409, "cancelled")


def test_a_token_is_asked_for_and_becomes_a_cookie(tmp_path: Path) -> None:
    with service(tmp_path / "home", token="secret") as locked:
        assert locked.client.about()["sets"] == []
        response, facts = ask(locked, "GET", "")
        assert (response.status, response.headers["www-authenticate"]) == (401, "Bearer")
        assert "Bearer" in facts["error"]
        connection = HTTPConnection(urlsplit(locked.address).netloc, timeout=60)
        connection.request("GET", "/?token=secret")
        response = connection.getresponse()
        response.read()
        cookie = response.headers["set-cookie"]
        connection.close()
        assert (response.status, response.headers["location"]) == (303, ".")
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        response, _ = ask(locked, "GET", "", None, {"Cookie": cookie.partition(";")[0]})
        assert response.status == 200
        response, _ = ask(locked, "GET", "", None, {"Cookie": "mnist_sgd_workbench=wrong"})
        assert response.status == 401
