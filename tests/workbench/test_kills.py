"""Whatever is killed, nothing that was accepted is lost, and every training ends in the truth."""

import os
import random
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from mnist_sgd.cli import main
from mnist_sgd.workbench.states import attempts
from waiting import wait_until
from workbenches import Service, drawing, service


def has_progress(run: Path) -> bool:
    path = run / "progress.jsonl"
    return path.exists() and path.read_bytes().count(b"\n") > 3


def _has_begun(run: Path, times: int) -> bool:
    return len(attempts(run)) > times


def test_a_training_outlives_its_killed_service_and_what_waits_begins_with_the_next(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    with service(home) as first:
        running = first.client.train(model="mlp", epochs=60)["id"]
        waiting = first.client.train(model="linear")["id"]
        wait_until(lambda: has_progress(home / "runs" / running))
        first.end(signal.SIGKILL)
    with service(home) as second:
        assert second.client.training(running)["state"] in ("running", "finished")
        for name in (running, waiting):
            assert second.client.wait(name, timeout=300)["state"] == "finished"
            assert len(attempts(home / "runs" / name)) == 1  # nobody started it a second time


def test_a_service_that_is_killed_while_pictures_come_has_each_accepted_one_once(
    tmp_path: Path,
) -> None:
    home, accepted = tmp_path / "home", set()
    chosen = random.Random(1)
    number = 0
    for _ in range(3):
        with service(home) as running:
            running.client.create_set("shapes", ["circle"])
            killer = threading.Timer(chosen.uniform(0.1, 0.5), running.end, [signal.SIGKILL])
            killer.start()
            try:
                while True:
                    name = f"{number}.png"
                    (verdict,) = running.client.add(
                        "shapes",
                        "circle",
                        {name: drawing("circle", number) + bytes([number % 256])},
                    )
                    accepted.add(verdict["sha256"])
                    number += 1
            except OSError:
                pass
            except Exception as error:  # the connection broke in the middle of an answer
                assert type(error).__module__ == "http.client", error
            killer.join()
    with service(home) as last:
        there = [each["sha256"] for each in last.client.pictures("shapes")]
        assert accepted <= set(there)
        assert len(there) == len(set(there))
        assert list((home / "sets/shapes/.workbench/incoming").iterdir()) == []


@pytest.mark.parametrize("seed", range(2))
def test_service_and_training_killed_at_random_moments_give_the_undisturbed_weights(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train = ["train", "--model", "mlp", "--epochs", "25"]
    assert main([*train, "--out", "whole"]) == 0
    home, chosen = tmp_path / "home", random.Random(seed)
    running = Service(home)
    try:
        name = running.client.train(model="mlp", epochs=25)["id"]
        run = home / "runs" / name
        for kill in range(3):
            wait_until(partial(_has_begun, run, kill))
            time.sleep(chosen.uniform(0, 2.5))
            if chosen.random() < 0.5:
                running.end(signal.SIGKILL)
            if attempts(run) and chosen.random() < 0.7:
                try:
                    os.killpg(attempts(run)[-1]["process"], signal.SIGKILL)
                except ProcessLookupError:
                    break  # it has finished
            if not running.is_running:
                running = Service(home)
            if running.client.training(name)["state"] == "finished":
                break
            if (
                len(attempts(run)) <= kill + 1
                and running.client.training(name)["state"] == "running"
            ):
                break
        assert running.client.wait(name, timeout=300)["state"] == "finished"
        for file in ("model.onnx", "model.safetensors"):
            assert (run / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    finally:
        if running.is_running:
            running.end()
