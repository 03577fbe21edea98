"""The state of a training, told by the files of its run, and what may be asked in each state.

    request.json     what was asked for; written before anything starts
    pictures.jsonl   the pictures that it is trained on: their content, class and name
    run.lock         held by the process that trains; a line for each start
    stop, cancel     wishes; they are files, so that no restart forgets them
    exit.json        how it ended; see `mnist_sgd.cli.training.ending`
    progress.jsonl   see `mnist_sgd.report.progress_log`
    train.log        what the process printed

Nothing else is known of a training: whoever reads these files knows as much as the service.
"""

import json
import time
from enum import StrEnum
from itertools import takewhile
from pathlib import Path
from typing import Any

from mnist_sgd._lock import is_locked
from mnist_sgd.report.folder import CHECKPOINT, EXIT, write_json
from mnist_sgd.workbench.errors import Refusal

LOCK, CANCEL, PICTURES = "run.lock", "cancel", "pictures.jsonl"

MAX_ATTEMPTS = 3
"""Processes that may die in a row without a new checkpoint, before the training has failed."""


class State(StrEnum):
    """What a training is doing, or how it ended."""

    QUEUED = "queued"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    """Its process has died; seen only until it is queued again."""
    FINISHED = "finished"
    STOPPED = "stopped"
    """Ended early on request; its weights are kept."""
    CANCELLED = "cancelled"
    FAILED = "failed"


ENDED = {State.FINISHED, State.STOPPED, State.CANCELLED, State.FAILED}

REFUSED: dict[str, dict[State, str]] = {
    "stop": {
        State.QUEUED: "it has not begun, so there are no weights to keep; cancel it instead",
        State.CANCELLED: "it was cancelled",
        State.FAILED: "it has failed",
    },
    "cancel": {
        State.FINISHED: "it has finished; its files can be deleted",
        State.STOPPED: "it was stopped and its weights are kept",
        State.FAILED: "it has failed",
    },
    "resume": {
        State.FINISHED: "it has finished: there is nothing to resume",
        State.CANCELLED: "it was cancelled, and its weights were discarded; start another one",
    },
}
"""Why a verb is refused in a state. In every other state it is obeyed, or has been already."""


PAST = {"stop": "stopped", "cancel": "cancelled", "resume": "resumed"}


def state_of(run: Path) -> State:
    """Tell the state of a training by its files.

    Args:
        run: its folder.

    Returns:
        Never QUEUED for a training that has begun: the service knows which of the interrupted ones
        it has queued again, all of them soon after its own start.
    """
    ended = exit_of(run).get("state")
    if ended in list(ENDED):
        return State(ended)
    if is_locked(run / LOCK):
        return State.RUNNING
    return State.INTERRUPTED if attempts(run) else State.QUEUED


def exit_of(run: Path) -> dict[str, Any]:
    """The content of `exit.json`, {} if there is none."""
    return read_json(run / EXIT)


def attempts(run: Path) -> list[dict[str, Any]]:
    """The starts of processes that train, since the training was asked for or resumed."""
    try:
        lines = (run / LOCK).read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]


def checkpoint_time(run: Path) -> int:
    """When the checkpoint was written, in nanoseconds of the clock; 0 if there is none."""
    try:
        return (run / CHECKPOINT).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def attempts_in_vain(run: Path) -> int:
    """How many processes in a row have died without a new checkpoint."""
    now = checkpoint_time(run)
    return len(list(takewhile(lambda each: each["checkpoint"] == now, reversed(attempts(run)))))


def check_allowed(verb: str, state: State) -> None:
    """Check that a verb makes sense in a state.

    Raises:
        Refusal: with status 409: it does not; the message says why.
    """
    why = REFUSED[verb].get(state)
    if why is not None:
        raise Refusal(f"the training cannot be {PAST[verb]}: {why}", 409, state)


def end(run: Path, state: State, reason: str = "") -> None:
    """Write how a training ended, for a process that could not.

    Raises:
        OSError: it cannot be written.
    """
    write_json(run / EXIT, {"state": state, "reason": reason, "time": round(time.time(), 3)})


def read_json(path: Path) -> dict[str, Any]:
    """Read an object from a file that is replaced as a whole; {} if there is none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
