"""A training ends in a state that is true, and with the same weights, whatever is killed."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mnist_sgd._lock import is_locked
from mnist_sgd.report.folder import ARTIFACT, WEIGHTS
from mnist_sgd.workbench import runner as module
from mnist_sgd.workbench.errors import Refusal
from mnist_sgd.workbench.home import Home
from mnist_sgd.workbench.requests import TrainingRequest
from mnist_sgd.workbench.runner import Runner
from mnist_sgd.workbench.sets import PictureSet, Sets
from mnist_sgd.workbench.states import LOCK, State, attempts, exit_of
from mnist_sgd.workbench.trainings import Trainings
from pictures import fill
from trained import TrainedFiles
from waiting import PATIENCE

LONG = TrainingRequest(model="mlp", options={"epochs": 2000})
QUICK = TrainingRequest(model="linear")


@pytest.fixture
def trainings(tmp_path: Path) -> Trainings:
    home = Home(tmp_path / "home")
    return Trainings(home.runs, Sets(home.sets), "1")


@asynccontextmanager
async def running(trainings: Trainings, jobs: int = 1) -> AsyncIterator[Runner]:
    runner = Runner(trainings, jobs)
    runner.start()
    try:
        yield runner
    finally:
        left = runner.running()
        await runner.close()
        for run in map(trainings.run, left):  # a test leaves no process
            if is_locked(run / LOCK):
                os.killpg(attempts(run)[-1]["process"], signal.SIGKILL)


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not happened():
            await asyncio.sleep(0.01)


def drawn_set(trainings: Trainings, folder: Path) -> PictureSet:
    """A set of 20 drawn characters in each of two classes."""
    fill(folder / "drawn", {"a": 20, "b": 20})
    pictures = trainings.sets.create("drawn", ["a", "b"])
    for path in sorted((folder / "drawn").glob("*/*.png")):
        pictures.add(path.read_bytes(), path.name, path.parent.name, ".png")
    return pictures


def has_progress(run: Path) -> bool:
    path = run / "progress.jsonl"
    return path.exists() and path.read_bytes().count(b"\n") > 3


def test_a_training_gives_the_files_that_train_gives_and_the_queue_goes_on(
    trainings: Trainings, trained: TrainedFiles
) -> None:
    async def both() -> None:
        async with running(trainings) as runner:
            first, _ = trainings.create(QUICK)
            second, _ = trainings.create(TrainingRequest(model="linear", options={"seed": 1}))
            runner.submit(first)
            runner.submit(second)
            assert (runner.place(first), runner.place(second)) == (None, 0)
            await until(lambda: runner.state(second) is State.FINISHED)
            assert runner.state(first) is State.FINISHED
            run = trainings.run(first)
            assert (run / ARTIFACT).read_bytes() == trained.artifact.read_bytes()
            assert (run / WEIGHTS).read_bytes() == trained.weights.read_bytes()
            assert (run / "report.html").is_file()
            assert "correct: 1,971 of 2,038" in (run / "train.log").read_text()
            assert trainings.create(QUICK) == (first, False)  # it would give the same

    asyncio.run(both())


def test_a_training_whose_process_is_killed_goes_on_by_itself_to_the_same_weights(
    trainings: Trainings,
) -> None:
    request = TrainingRequest(model="mlp", options={"epochs": 30})

    async def killed() -> None:
        async with running(trainings) as runner:
            whole, _ = trainings.create(request)
            runner.submit(whole)
            await until(lambda: runner.state(whole) is State.FINISHED)
            name, _ = trainings.create(
                TrainingRequest(model="mlp", options={"epochs": 30, "drop_last": False})
            )
            runner.submit(name)
            run = trainings.run(name)
            await until(lambda: has_progress(run))
            os.killpg(attempts(run)[-1]["process"], signal.SIGKILL)
            await until(lambda: len(attempts(run)) == 2)
            await until(lambda: runner.state(name) is State.FINISHED)
            for file in (ARTIFACT, WEIGHTS):
                assert (run / file).read_bytes() == (trainings.run(whole) / file).read_bytes()

    asyncio.run(killed())


def test_a_training_is_stopped_with_its_weights_resumed_and_cancelled_without(
    trainings: Trainings,
) -> None:
    async def told() -> None:
        async with running(trainings) as runner:
            name, _ = trainings.create(LONG)
            runner.submit(name)
            run = trainings.run(name)
            waiting, _ = trainings.create(QUICK)
            runner.submit(waiting)
            await runner.cancel(waiting)
            assert runner.state(waiting) is State.CANCELLED
            await until(lambda: has_progress(run))
            runner.stop(name)
            assert trainings.facts(name)["stopping"]
            await until(lambda: runner.state(name) is State.STOPPED)
            assert (run / ARTIFACT).is_file()
            await runner.resume(name)
            assert runner.state(name) is not State.STOPPED
            await until(lambda: attempts(run) and (run / LOCK).exists() and _resumed(run))
            await runner.cancel(name)
            assert runner.state(name) is State.CANCELLED
            left = {path.name for path in run.iterdir()}
            assert not left & {ARTIFACT, WEIGHTS, "checkpoint.safetensors", "report.html"}
            assert {"request.json", "progress.jsonl", "train.log", "exit.json"} <= left

    asyncio.run(told())


def _resumed(run: Path) -> bool:
    return (run / "progress.jsonl").read_text().count('"start"') == 2


def test_a_cancellation_that_was_asked_for_before_a_restart_is_not_forgotten(
    trainings: Trainings,
) -> None:
    name, _ = trainings.create(QUICK)
    (trainings.run(name) / "cancel").touch()

    async def restarted() -> None:
        async with running(trainings) as runner:
            assert runner.state(name) is State.CANCELLED

    asyncio.run(restarted())


def test_a_training_whose_process_always_dies_has_failed_with_the_reason(
    trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dying() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "import sys; sys.exit(1)"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )

    monkeypatch.setattr(module, "_worker", dying)

    async def tried() -> None:
        async with running(trainings) as runner:
            name, _ = trainings.create(QUICK)
            runner.submit(name)
            await until(lambda: runner.state(name) is State.FAILED)
            assert exit_of(trainings.run(name))["reason"] == (
                "its process has died 3 times without getting on; see train.log"
            )

    asyncio.run(tried())


def test_a_training_has_the_pictures_that_its_set_had_when_it_was_asked_for(
    trainings: Trainings, tmp_path: Path
) -> None:
    pictures = drawn_set(trainings, tmp_path)
    request = TrainingRequest(set="drawn", model="linear", options={"epochs": 1})

    async def frozen() -> None:
        async with running(trainings) as runner:
            name, _ = trainings.create(request)
            moved = [each for each in pictures.pictures().values() if each.class_name == "a"][:5]
            for picture in moved[:3]:
                pictures.move(picture.sha256, "b")
            for picture in moved[3:]:
                pictures.move(picture.sha256, None)
            runner.submit(name)
            await until(lambda: runner.state(name) is State.FINISHED)
            run = trainings.run(name)
            data = json.loads((run / "config.json").read_text())["data"]
            counts = [data[part]["classes"] for part in ("train", "valid")]
            assert {key: sum(each[key] for each in counts) for key in "ab"} == {"a": 20, "b": 20}
            assert data["train"]["name"] == "drawn, train"
            gone, _ = trainings.create(request)
            assert gone != name  # the pictures are others
            next(iter(pictures.pictures().values())).path.unlink()
            runner.submit(gone)
            await until(lambda: runner.state(gone) is State.FAILED)
            assert "is not in the set 'drawn' any more" in exit_of(trainings.run(gone))["reason"]

    asyncio.run(frozen())


def test_a_training_that_train_refuses_has_failed_with_its_sentence(
    trainings: Trainings, tmp_path: Path
) -> None:
    drawn_set(trainings, tmp_path)
    request = TrainingRequest(set="drawn", options={"positive": "c"})

    async def refused() -> None:
        async with running(trainings) as runner:
            name, _ = trainings.create(request)
            runner.submit(name)
            await until(lambda: runner.state(name) is State.FAILED)
            assert (
                "there is no class 'c'; the classes are 'a' and 'b'"
                in (exit_of(trainings.run(name))["reason"])
            )

    asyncio.run(refused())


def test_a_repeated_request_makes_one_training(trainings: Trainings) -> None:
    name, is_new = trainings.create(LONG, "key")
    assert is_new
    assert trainings.create(LONG, "key") == (name, False)
    again = Trainings(trainings.folder, trainings.sets, "1")  # after a restart
    assert again.create(LONG, "key") == (name, False)
    with pytest.raises(Refusal, match="was used for another request") as refused:
        again.create(QUICK, "key")
    assert refused.value.status == 422
    assert again.create(LONG, "other")[1]
    assert again.create(LONG)[1]
    assert len(again.ids()) == 3


def test_a_set_that_cannot_be_trained_on_is_refused(trainings: Trainings) -> None:
    trainings.sets.create("pets", ["cat", "dog"]).add(b"one", "a.png", "cat", ".png")
    with pytest.raises(Refusal, match="must have pictures in two classes to train on, has them in"):
        trainings.create(TrainingRequest(set="pets"))
    with pytest.raises(Refusal, match="there is no set 'none'"):
        trainings.create(TrainingRequest(set="none"))
    assert trainings.ids() == []
