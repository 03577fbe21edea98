"""The state of a training is what its files say, and each verb has its answer in each state."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest

from mnist_sgd._lock import holding
from mnist_sgd.workbench.errors import Refusal
from mnist_sgd.workbench.home import Home, HomeInUseError
from mnist_sgd.workbench.requests import TrainingRequest
from mnist_sgd.workbench.runner import Runner
from mnist_sgd.workbench.sets import Sets
from mnist_sgd.workbench.states import (
    ENDED,
    LOCK,
    State,
    attempts_in_vain,
    check_allowed,
    end,
    state_of,
)
from mnist_sgd.workbench.trainings import Trainings

ATTEMPT = '{"process": 1, "time": 0, "checkpoint": %d}\n'


def in_state(run: Path, state: State, held: ExitStack) -> None:
    """Let the files of a run say that it is in a state."""
    if state is not State.QUEUED:
        (run / LOCK).write_text(ATTEMPT % 0)
    if state is State.RUNNING:
        held.enter_context(holding(run / LOCK))
    if state in ENDED:
        end(run, state, "why")


@pytest.fixture
def trainings(tmp_path: Path) -> Trainings:
    home = Home(tmp_path)
    return Trainings(home.runs, Sets(home.sets), "1")


@pytest.fixture
def name(trainings: Trainings) -> str:
    return trainings.create(TrainingRequest(model="linear"))[0]


@pytest.mark.parametrize("state", State)
def test_the_files_tell_the_state(state: State, trainings: Trainings, name: str) -> None:
    with ExitStack() as held:
        in_state(trainings.run(name), state, held)
        assert state_of(trainings.run(name)) is state
        facts = trainings.facts(name)
        assert facts["state"] == state
        assert facts["reason"] == ("why" if state in ENDED else "")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"state": "running"}', '{"state": 3}'])
def test_an_ending_that_cannot_be_read_is_none(
    content: str, trainings: Trainings, name: str
) -> None:
    (trainings.run(name) / "exit.json").write_text(content)
    assert state_of(trainings.run(name)) is State.QUEUED


WHY = {
    ("stop", State.QUEUED): "stopped: it has not begun, so there are no weights to keep; cancel it",
    ("stop", State.CANCELLED): "stopped: it was cancelled",
    ("stop", State.FAILED): "stopped: it has failed",
    ("cancel", State.FINISHED): "cancelled: it has finished; its files can be deleted",
    ("cancel", State.STOPPED): "cancelled: it was stopped and its weights are kept",
    ("cancel", State.FAILED): "cancelled: it has failed",
    ("resume", State.FINISHED): "resumed: it has finished: there is nothing to resume",
    ("resume", State.CANCELLED): "resumed: it was cancelled, and its weights were discarded; start",
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("verb", ["stop", "cancel", "resume"])
def test_a_verb_that_makes_no_sense_in_a_state_is_refused_with_the_state(
    verb: str, state: State
) -> None:
    if (verb, state) not in WHY:
        check_allowed(verb, state)
        return
    with pytest.raises(Refusal) as refused:
        check_allowed(verb, state)
    assert str(refused.value).startswith(f"the training cannot be {WHY[verb, state]}")
    assert (refused.value.status, refused.value.state) == (409, state)


@pytest.mark.parametrize(
    ("verb", "state", "after"),
    [
        ("stop", State.RUNNING, State.RUNNING),  # its process will see the wish
        ("stop", State.STOPPED, State.STOPPED),
        ("stop", State.FINISHED, State.FINISHED),
        ("cancel", State.CANCELLED, State.CANCELLED),
        ("cancel", State.QUEUED, State.CANCELLED),
        ("resume", State.QUEUED, State.QUEUED),
        ("resume", State.RUNNING, State.RUNNING),
        ("resume", State.STOPPED, State.QUEUED),
        ("resume", State.FAILED, State.QUEUED),
    ],
)
def test_a_verb_is_obeyed_once_and_a_second_time_changes_nothing(
    verb: str, state: State, after: State, trainings: Trainings, name: str
) -> None:
    async def obeyed() -> None:
        runner = Runner(trainings, jobs=0)
        with ExitStack() as held:
            in_state(trainings.run(name), state, held)
            if state is State.QUEUED:
                runner.submit(name)
            for _ in range(2):
                found = getattr(runner, verb)(name)
                if asyncio.iscoroutine(found):
                    await found
                assert runner.state(name) is after
            wish = (trainings.run(name) / "stop").exists()
            assert wish == (verb == "stop" and state is State.RUNNING)
        await runner.close()

    asyncio.run(obeyed())


def test_deaths_count_only_while_the_checkpoint_stays_the_same(tmp_path: Path) -> None:
    assert attempts_in_vain(tmp_path) == 0
    (tmp_path / LOCK).write_text((ATTEMPT % 0) * 2)
    assert attempts_in_vain(tmp_path) == 2
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.touch()
    assert attempts_in_vain(tmp_path) == 0
    time = checkpoint.stat().st_mtime_ns
    (tmp_path / LOCK).write_text((ATTEMPT % 0) * 2 + ATTEMPT % time)
    assert attempts_in_vain(tmp_path) == 1


def test_a_second_service_of_a_home_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with (
        home.only_service(),
        pytest.raises(HomeInUseError, match="another workbench is running here"),
    ):
        home.only_service().__enter__()
    with home.only_service():
        pass
