"""The command in processes that start at once and are killed at a chosen moment.

They are forked off a server that has imported what training needs, so that a start costs a fraction
of a second instead of several.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from mnist_sgd._state_file import parse
from mnist_sgd.cli import main
from waiting import PATIENCE

__all__ = ["batches_done", "kill", "start", "wait_for", "wait_for_batches"]

_FORKING = get_context("forkserver")
_FORKING.set_forkserver_preload(["killing", "mnist_sgd.training.learner", "torch.onnx"])


def start(arguments: list[str], output: Path, cwd: Path | None = None) -> ForkServerProcess:
    """Start the command with `arguments`, its output and errors going to the file `output`.

    It runs in the folder `cwd`, or in that of the tests.
    """
    process = _FORKING.Process(target=_run, args=(arguments, output, cwd))
    process.start()
    return process


def batches_done(checkpoint: Path) -> int:
    """How many batches of the whole training a checkpoint has; 0 if there is none."""
    return len(parse(checkpoint.read_bytes())["recorder"]["lrs"]) if checkpoint.exists() else 0


def wait_for(process: ForkServerProcess, what: Callable[[], bool]) -> None:
    """Wait until `what` is true; a run that ends before that has failed."""
    end = time.monotonic() + PATIENCE
    while not what():
        assert process.is_alive() or what(), "the run ended by itself"
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.001)


def wait_for_batches(process: ForkServerProcess, checkpoint: Path, more: int) -> None:
    """Wait until a training's checkpoint has this many more batches than now."""
    before = batches_done(checkpoint)
    wait_for(process, lambda: batches_done(checkpoint) >= before + more)


def kill(process: ForkServerProcess) -> bool:
    """Kill a run; gives whether it was still there."""
    process.kill()
    process.join(PATIENCE)
    assert process.exitcode in (-signal.SIGKILL, 0)
    return process.exitcode != 0


def _run(arguments: list[str], output: Path, cwd: Path | None) -> None:
    if cwd is not None:
        os.chdir(cwd)
    with output.open("w", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
        code = main(arguments)
    sys.exit(code)
