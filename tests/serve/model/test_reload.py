"""Another model takes over while clients ask, and what is no model changes nothing."""

import asyncio
import json
import os
import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mnist_sgd_serve import Predictor
from mnist_sgd_serve.model.batcher import Batcher
from mnist_sgd_serve.model.manager import ModelManager
from onnx_models import content, linear, with_float_images
from server import INFER, Server, message, running
from waiting import wait_until

IMAGE = np.full((1, 28, 28), 200, np.uint8)
BODY = json.dumps(
    {
        "inputs": [
            {
                "name": "image",
                "datatype": "UINT8",
                "shape": list(IMAGE.shape),
                "data": IMAGE.ravel().tolist(),
            }
        ]
    }
).encode()
MODELS = [content(linear(bias=bias / 4)) for bias in range(8)]
REFUSED = 'mnist_sgd_model_reloads_total{result="refused"}'
LOADED = 'mnist_sgd_model_reloads_total{result="loaded"}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(MODELS[0])
    return path


@pytest.fixture
def server(path: Path) -> Iterator[Server]:
    """One that looks at its file all the time."""
    with running(path, "--reload-interval", "0.02") as server:
        yield server


def version(model: bytes) -> str:
    return Predictor(model).artifact.sha256[:12]


def replace(path: Path, model: bytes) -> None:
    """Put another file in the place of one, at once."""
    new = path.with_name("new")
    new.write_bytes(model)
    os.replace(new, path)


def answering(server: Server) -> str:
    """The version that answers."""
    given: str = server.post(INFER, BODY).json["model_version"]
    return given


def hammer(server: Server, stop: threading.Event, answers: list[tuple[str, float]]) -> None:
    """Ask without a pause; an answer that is not 200 is noted as one too."""
    with server.connect() as client:
        while not stop.is_set():
            for _ in range(8):  # so that several wait at once
                client.send(message("POST", INFER, BODY))
            for _ in range(8):
                reply = client.reply()
                if reply.status != 200:
                    answers.append((reply.error, float("nan")))
                    continue
                document = reply.json
                answers.append((document["model_version"], document["outputs"][0]["data"][0]))


def all_go_on_from(answers: list[list[tuple[str, float]]], old: list[str]) -> bool:
    """Whether the last that each client got is something else than an old model's answer."""
    return all(given[-1][0] not in old for given in answers)


def test_models_take_over_while_clients_ask_and_no_answer_fails_or_is_anothers(
    server: Server, path: Path
) -> None:
    expected = {version(model): float(Predictor(model).probabilities(IMAGE)[0]) for model in MODELS}
    assert len(set(expected.values())) == len(MODELS)
    stop = threading.Event()
    answers: list[list[tuple[str, float]]] = [[] for _ in range(4)]
    clients = [threading.Thread(target=hammer, args=(server, stop, given)) for given in answers]
    for client in clients:
        client.start()
    wait_until(lambda: all(answers))
    try:
        for number, model in enumerate(MODELS[1:], 1):
            replace(path, model)
            assert server.wait_for("model", number)["result"] == "loaded"
            assert answering(server) == version(model)
            wait_until(partial(all_go_on_from, answers, [version(old) for old in MODELS[:number]]))
    finally:
        stop.set()
        for client in clients:
            client.join()
    for given in answers:
        wrong = [
            (name, value)
            for name, value in given
            # Runs of several images differ in the last digits from a run of one.
            if name not in expected or abs(expected[name] - value) > 1e-6
        ]
        assert wrong == []
        order = list(dict.fromkeys(name for name, _ in given))
        assert order == list(expected)  # every one, and never back to an old one
    assert server.metric(LOADED) == len(MODELS) - 1
    assert server.metric(REFUSED) == 0


def test_a_large_request_is_answered_by_one_model_however_often_the_file_is_replaced(
    path: Path,
) -> None:
    """Here after each of its pieces."""
    images = np.random.default_rng(1).integers(0, 256, (12, 28, 28), np.uint8)
    loads: list[str] = []
    models = ModelManager(path, lambda result, text: loads.append(result))

    def on_batch(requests: int, count: int, seconds: float, queued: float) -> None:
        replace(path, MODELS[len(loads) + 1])
        models.reload()

    batcher = Batcher(
        lambda: models.model,
        max_batch_size=3,
        max_queue_size=100,
        queue_timeout=3600,
        on_batch=on_batch,
        on_queue_size=lambda count: None,
    )
    model, probabilities = asyncio.run(batcher.infer(images, lambda: False))
    assert loads == ["loaded"] * 4
    assert model.version == version(MODELS[0])
    assert models.model.version == version(MODELS[4])
    np.testing.assert_allclose(probabilities, Predictor(MODELS[0]).probabilities(images), atol=1e-6)


def test_the_version_in_urls_goes_with_the_model(server: Server, path: Path) -> None:
    old, new = version(MODELS[0]), version(MODELS[1])
    base = "/v2/models/mnist_sgd/versions"
    assert server.get(f"{base}/{old}").json["versions"] == [old]
    replace(path, MODELS[1])
    server.wait_for("model")
    assert server.get(f"{base}/{new}").json["versions"] == [new]
    assert f"of version '{new}'" in server.get(f"{base}/{old}").error
    assert f'version="{new}"' in server.get("/metrics").body.decode()


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b"", "it is empty"),
        (MODELS[1][:-100], "is not a usable artifact: "),
        (content(with_float_images()), "its input must be image: tensor(uint8)"),
    ],
    ids=["empty", "cut off", "another signature"],
)
def test_a_bad_file_is_refused_logged_and_counted_while_the_old_model_answers(
    bad: bytes, says: str, server: Server, path: Path
) -> None:
    replace(path, bad)
    event = server.wait_for("model")
    assert (event["level"], event["result"]) == ("warning", "refused")
    assert event["text"].startswith(f"{path} is not a usable artifact: ")
    assert says in event["text"]
    assert event["text"].endswith(f"; {version(MODELS[0])} still answers")
    assert answering(server) == version(MODELS[0])
    assert server.get("/v2/health/ready").status == 200
    assert (server.metric(REFUSED), server.metric(LOADED)) == (1, 0)
    replace(path, MODELS[1])
    assert server.wait_for("model", 2)["result"] == "loaded"
    assert answering(server) == version(MODELS[1])


def test_a_file_that_is_written_in_place_is_loaded_when_it_is_whole(
    server: Server, path: Path
) -> None:
    half = len(MODELS[1]) // 2
    with open(path, "wb", buffering=0) as file:
        file.write(MODELS[1][:half])
        assert server.wait_for("model")["result"] == "refused"
        assert answering(server) == version(MODELS[0])
        file.write(MODELS[1][half:])
        while server.events("model")[-1]["result"] != "loaded":
            server.wait_for("model", len(server.events("model")) + 1)
    assert answering(server) == version(MODELS[1])


def test_a_deleted_file_changes_nothing_until_it_is_back(server: Server, path: Path) -> None:
    path.unlink()
    event = server.wait_for("model")
    assert event["result"] == "refused"
    assert event["text"].startswith(f"{path} cannot be read: No such file or directory; ")
    assert answering(server) == version(MODELS[0])
    path.write_bytes(MODELS[1])
    server.wait_for("model", 2)
    while server.events("model")[-1]["result"] != "loaded":  # it may have been seen half-written
        server.wait_for("model", len(server.events("model")) + 1)
    assert answering(server) == version(MODELS[1])


def test_a_file_of_the_same_size_and_time_is_still_another(server: Server, path: Path) -> None:
    assert len(MODELS[0]) == len(MODELS[1])
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    new = path.with_name("new")
    new.write_bytes(MODELS[1])
    os.utime(new, ns=times)
    os.replace(new, path)
    assert server.wait_for("model")["result"] == "loaded"
    assert answering(server) == version(MODELS[1])


def test_a_pipe_in_the_place_of_the_file_is_refused_and_nobody_waits_for_it(
    server: Server, path: Path
) -> None:
    pipe = path.with_name("pipe")
    os.mkfifo(pipe)
    os.replace(pipe, path)
    event = server.wait_for("model")
    assert event["result"] == "refused"
    assert event["text"] == (
        f"{path} is not a regular file and is read only once; {version(MODELS[0])} still answers"
    )
    assert answering(server) == version(MODELS[0])
    replace(path, MODELS[1])
    assert server.wait_for("model", 2)["result"] == "loaded"


def test_a_link_that_points_elsewhere_is_followed(tmp_path: Path) -> None:
    """As Kubernetes replaces the files of a ConfigMap or a Secret."""
    for number in (0, 1):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "model.onnx").write_bytes(MODELS[number])
    data, new = tmp_path / "data", tmp_path / "new"
    data.symlink_to("0")
    with running(data / "model.onnx", "--reload-interval", "0.02") as server:
        new.symlink_to("1")
        os.replace(new, data)
        assert server.wait_for("model")["result"] == "loaded"
        assert answering(server) == version(MODELS[1])


def test_sighup_loads_the_file_without_waiting_for_a_look(path: Path) -> None:
    with running(path, "--reload-interval", "3600") as server:
        replace(path, MODELS[1])
        assert answering(server) == version(MODELS[0])
        server.process.send_signal(signal.SIGHUP)
        assert server.wait_for("model")["result"] == "loaded"
        assert answering(server) == version(MODELS[1])
        replace(path, b"no model")
        server.process.send_signal(signal.SIGHUP)
        assert server.wait_for("model", 2)["result"] == "refused"
        assert answering(server) == version(MODELS[1])
