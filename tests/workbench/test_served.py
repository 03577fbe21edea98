"""What is served is always a whole, verified model, and its history is true."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from mnist_sgd.data import sample_digits
from mnist_sgd.workbench import WorkbenchError
from mnist_sgd.workbench.home import Home
from mnist_sgd.workbench.requests import TrainingRequest
from mnist_sgd.workbench.served import Served
from mnist_sgd.workbench.sets import Sets
from mnist_sgd.workbench.states import State, end
from mnist_sgd.workbench.trainings import Trainings
from server import reserved_port
from trained import TrainedFiles
from waiting import wait_until
from workbenches import Service, service


def label(address: str) -> tuple[str, str]:
    """What the inference server says of a three, and the version of its model."""
    three = next(path for path in sample_digits() if path.name == "three-1.png")
    try:
        with urlopen(Request(f"{address}predict?explain=1", three.read_bytes())) as answer:
            facts = json.loads(answer.read())
    except (URLError, ConnectionError):
        return "", ""
    return facts["label"], facts["version"]


@contextmanager
def serving(home: Path) -> Iterator[Service]:
    with reserved_port() as port:
        pass
    with service(home, "--serve-port", str(port)) as running:
        yield running


def test_a_model_is_promoted_served_improved_on_and_rolled_back_to(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as bench:
        client = bench.client
        assert client.served()["training"] is None
        with pytest.raises(WorkbenchError, match="nothing was served before"):
            client.roll_back()
        worse = client.train(model="linear", epochs=2)["id"]
        better = client.train(model="linear", epochs=10)["id"]
        for name in (worse, better):
            assert client.wait(name, timeout=300)["state"] == "finished"
        served = client.promote(worse)
        assert (served["training"], served["accuracy"]) == (worse, pytest.approx(0.8837, abs=1e-4))
        wait_until(lambda: label(served["address"])[0] == "3")
        _, first = label(served["address"])
        assert served["sha256"].startswith(first)
        assert client.promote(better)["training"] == better
        wait_until(lambda: label(served["address"])[1] != first)
        with pytest.raises(WorkbenchError) as refused:
            client.promote(worse)
        assert refused.value.status == 409
        assert str(refused.value) == (
            f"{worse} classifies 1801 of its validation pictures correctly, and {better}, which "
            "is served, 1971; replace it with force"
        )
        assert client.promote(worse, force=True)["training"] == worse
        assert client.roll_back()["training"] == better
        history = [(each["from"], each["to"]) for each in client.served_history()]
        assert history == [(worse, better), (better, worse), (worse, better), (None, worse)]
        wait_until(lambda: label(served["address"])[1] != first)
        bench.end(signal.SIGKILL)
        wait_until(lambda: label(served["address"])[0] == "")  # its server ends with it
    with serving(tmp_path / "home") as again:
        assert again.client.served()["training"] == better
        wait_until(lambda: label(again.client.served()["address"])[0] == "3")


@pytest.fixture
def trainings(tmp_path: Path) -> Trainings:
    home = Home(tmp_path)
    return Trainings(home.runs, Sets(home.sets), "1")


def finished(trainings: Trainings, content: bytes, seed: int) -> str:
    """A training that has finished with this model."""
    name, _ = trainings.create(TrainingRequest(model="linear", options={"seed": seed}))
    (trainings.run(name) / "model.onnx").write_bytes(content)
    end(trainings.run(name), State.FINISHED)
    return name


def made(trainings: Trainings) -> Served:
    return Served(trainings.folder.parent / "served", trainings, "127.0.0.1", 9)


def test_a_promotion_that_was_killed_before_its_line_is_in_the_history(
    trainings: Trainings, trained: TrainedFiles
) -> None:
    name = finished(trainings, trained.artifact.read_bytes(), 1)
    served = made(trainings)
    served.model.write_bytes(trained.artifact.read_bytes())
    (served.folder / "history.jsonl").write_text('{"from": null, "to"')
    again = made(trainings)
    assert again.facts()["training"] == name
    assert [(each["from"], each["to"]) for each in again.history()] == [(None, name)]
    assert made(trainings).history() == again.history()  # once


async def _refused(served: Served, training: str, expected: str | None = None) -> str:
    from mnist_sgd.workbench.errors import Refusal

    try:
        await served.promote(training, expected=expected)
    except Refusal as refusal:
        return f"{refusal.status} {refusal}"
    return ""


def test_what_has_no_verified_model_is_not_promoted(trainings: Trainings) -> None:
    import asyncio

    served = made(trainings)
    queued, _ = trainings.create(TrainingRequest(model="linear"))
    failed, _ = trainings.create(TrainingRequest(model="mlp"))
    end(trainings.run(failed), State.FAILED, "why")
    gone = finished(trainings, b"", 2)
    (trainings.run(gone) / "model.onnx").unlink()
    only = "only a training that has finished or was stopped has a verified model"
    for name, text in (
        (queued, f"409 {queued} is queued: {only}"),
        (failed, f"409 {failed} is failed: {only}"),
        (gone, f"409 {gone} has no model any more"),
        ("0009-none", "404 there is no training '0009-none'"),
    ):
        assert asyncio.run(_refused(served, name)) == text
    assert asyncio.run(_refused(served, gone, '"7"')) == "412 None has been promoted since"
    assert not served.model.exists()
    assert served.history() == []
