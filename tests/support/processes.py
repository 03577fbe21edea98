"""Forked children that cannot hang a test, and the threads of loaders as Linux counts them."""

import os
import pickle
import signal
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from waiting import PATIENCE

T = TypeVar("T")


def in_child(work: Callable[[], T]) -> T:
    """What `work` returns in a forked child of this process.

    Raises:
        AssertionError: `work` failed there, or the child hung and was killed by its alarm.
    """
    receiving, sending = os.pipe()
    with warnings.catch_warnings():
        # Python warns of other threads of this process, which depends on the tests before.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE)
        os.close(receiving)
        with os.fdopen(sending, "wb") as pipe:
            pipe.write(_outcome(work))
        os._exit(0)
    os.close(sending)
    with os.fdopen(receiving, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the child ended with wait status {status}"
    failure, result = pickle.loads(answer)
    assert failure is None, f"in the child:\n{failure}"
    value: T = result
    return value


def _outcome(work: Callable[[], Any]) -> bytes:
    try:
        return pickle.dumps((None, work()))
    except BaseException:  # whatever it is, the parent shall see it and the child shall end
        return pickle.dumps((traceback.format_exc(), None))


def loader_threads() -> set[str]:
    """The ids of this process's threads that a loader began, and that bear its name.

    Other libraries begin and end threads when they like, in a process that has used them.
    """
    return {task.name for task in Path("/proc/self/task").iterdir() if _name(task) == "mnist_sgd"}


def _name(task: Path) -> str:
    try:
        return (task / "comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # it has ended meanwhile


def gone(new: Callable[[], set[str]]) -> bool:
    """Whether `new` becomes empty: Linux lists a thread for a moment after it was joined."""
    end = time.monotonic() + PATIENCE
    while new() and time.monotonic() < end:
        time.sleep(0.001)
    return not new()
