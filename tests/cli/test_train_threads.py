"""With how many threads of torch `train` computes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mnist_sgd.cli.training import threads
from mnist_sgd.cli.training.threads import CoreUse, choose_threads

NOTHING = Path("nothing")
MANY: Any = SimpleNamespace(available=lambda: 7)


@pytest.fixture(autouse=True)
def own_number(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of the user's, and torch's number as it was afterwards."""
    before = torch.get_num_threads()
    for name in threads.OWN_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    yield
    torch.set_num_threads(before)


def config(model: str, batch_size: int = 256, *, resume: bool = False) -> Any:
    return SimpleNamespace(
        model_for=lambda: model,
        recipe=SimpleNamespace(batch_size=batch_size),
        checkpoints=SimpleNamespace(resume=resume),
    )


@pytest.mark.parametrize(
    ("model", "batch_size", "expected"),
    [("linear", 256, 1), ("mlp", 256, 1), ("mlp", 8192, 7), ("cnn", 256, 7), ("nets:own", 64, 7)],
)
def test_small_work_has_one_thread_and_other_work_those_that_are_idle(
    model: str, batch_size: int, expected: int
) -> None:
    choose_threads(config(model, batch_size), MANY, NOTHING)
    assert torch.get_num_threads() == expected


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_the_users_own_number_stays(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "3")
    torch.set_num_threads(3)
    choose_threads(config("linear"), MANY, NOTHING)
    assert torch.get_num_threads() == 3


def test_a_training_that_resumes_has_the_number_that_it_had(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mnist_sgd", "train", "--epochs", "1", "--resume"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    (checkpoint,) = tmp_path.glob("checkpoint*")
    choose_threads(config("cnn", resume=True), MANY, checkpoint)
    assert torch.get_num_threads() == 1
    choose_threads(config("cnn"), MANY, checkpoint)
    assert torch.get_num_threads() == 7
    checkpoint.write_bytes(b"damaged")  # which the training itself will report
    choose_threads(config("cnn", resume=True), MANY, checkpoint)
    assert torch.get_num_threads() == 7


@pytest.mark.parametrize(("idle_ticks", "cores"), [(0, 1), (20, 1), (60, 1), (100, 2), (1000, 4)])
def test_idle_cores_count_and_busy_ones_do_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, idle_ticks: int, cores: int
) -> None:
    stat = tmp_path / "stat"
    monkeypatch.setattr(threads, "_STAT", stat)
    monkeypatch.setattr(threads, "_allowed_cores", lambda: {0, 1, 2, 3})
    moments = iter([10.0, 10.5, 10.5])
    monkeypatch.setattr(threads, "monotonic", lambda: next(moments))
    monkeypatch.setattr(threads, "process_time", lambda: 0.0)
    ticks = 100 // os.sysconf("SC_CLK_TCK")
    assert ticks == 1
    stat.write_text(
        "cpu  9 9 9 9 9\ncpu0 1 1 1 40 2 0\ncpu3 1 1 1 50 8 0\ncpu4 0 0 0 7 0\nintr 5\n"
    )
    use = CoreUse()
    stat.write_text(f"cpu0 1 1 1 {40 + idle_ticks} 2 0\ncpu3 1 1 1 50 8 0\ncpu4 0 0 0 999 0\n")
    assert use.available() == cores


def test_a_machine_whose_cores_are_all_busy_has_one() -> None:
    spin = [sys.executable, "-c", "while True: pass"]
    spinning = [subprocess.Popen(spin) for _ in os.sched_getaffinity(0)]
    try:
        assert CoreUse().available() == 1
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def test_where_nothing_can_be_measured_all_cores_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_STAT", Path("no such file"))
    assert CoreUse().available() == len(os.sched_getaffinity(0))
