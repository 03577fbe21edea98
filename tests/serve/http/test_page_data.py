"""What the server tells its page about the model, and to whom."""

import os
from pathlib import Path

import pytest

import onnx_models
from mnist_sgd_serve import Metadata
from mnist_sgd_serve.model.examples import BUILT_IN
from server import Server, running

METRICS = {"batch_accuracy": 0.9875, "images": 80}
METADATA = Metadata(
    classes=("phone", "umbrella"),
    threshold=0.7,
    preprocessing="fit",
    paper=213,
    model="cnn",
    metrics=METRICS,
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tmp_path / "model.onnx", METADATA)


def write(path: Path, metadata: Metadata) -> Path:
    proto = onnx_models.linear(properties=metadata.to_properties())
    new = path.with_suffix(".new")
    new.write_bytes(onnx_models.content(proto))
    os.replace(new, path)
    return path


def test_the_page_learns_all_that_it_shows_before_the_first_prediction(model: Path) -> None:
    with running(model, "--name", "things") as server:
        document = server.get("/page/model.json").json
        assert len(document.pop("version")) == 12
        assert document == {
            "name": "things",
            "model": "cnn",
            "classes": ["phone", "umbrella"],
            "positive": "umbrella",
            "threshold": 0.7,
            "preprocessing": "fit",
            "paper": 213,
            "accuracy": 0.9875,
            "images": 80,
            "examples": [],
        }


def test_examples_are_served_by_their_number_and_follow_the_model(model: Path) -> None:
    folder = model.parent / "examples"
    folder.mkdir()
    picture = (BUILT_IN / "3-1.png").read_bytes()
    for name in ("umbrella-1.png", "phone-1.png", "private.png"):
        (folder / name).write_bytes(picture)
    with running(model, "--reload-interval", "0.02") as server:
        assert examples(server) == [
            {"path": "page/examples/0", "label": "phone"},
            {"path": "page/examples/1", "label": "umbrella"},
        ]
        reply = server.get("/page/examples/1")
        assert (reply.status, reply.body) == (200, picture)
        assert reply.headers["content-type"] == "image/png"
        assert reply.headers["x-content-type-options"] == "nosniff"
        for path in ("2", "-1", "private.png", "phone-1.png", "../model.onnx", "", "00"):
            server.check_refusal(server.get(f"/page/examples/{path}"), 404, "there is nothing")
        write(model, Metadata(classes=("7", "3")))
        assert server.wait_for("model", 1)["result"] == "loaded"
        assert [each["label"] for each in examples(server)] == ["7"] * 4 + ["3"] * 4


def examples(server: Server) -> list[dict[str, str]]:
    found: list[dict[str, str]] = server.get("/page/model.json").json["examples"]
    return found


def test_a_token_protects_what_is_of_the_model_and_its_pictures(model: Path) -> None:
    """Class names and pictures of somebody's own are not for everybody."""
    write(model, Metadata(classes=("7", "3")))
    with running(model, "--token", "sesame") as server:
        for path in ("/page/model.json", "/page/examples/0"):
            assert server.get(path).status == 401
            assert server.get(path, {"Authorization": "Bearer sesame"}).status == 200
