"""A process that trains: it imports torch, waits for one training, and ends with it.

    python -m mnist_sgd.workbench.worker

Standard input gives one line of JSON, {"run": FOLDER, "cwd": FOLDER, "arguments": [...]}. When the
process holds the run's lock it answers `started` on standard output, or `busy` if another process
trains this run. From then on what it prints goes to `train.log`, and the lock tells that it lives:
the kernel drops it however the process ends.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import BinaryIO

from mnist_sgd.report.folder import EXIT
from mnist_sgd.workbench.states import LOCK, State, checkpoint_time, end

LOG = "train.log"

BUSY = 3
"""The exit code if another process trains the run."""

_WARM = (
    "mnist_sgd.cli.train",
    "mnist_sgd.data.source",
    "mnist_sgd.export.trial",
    "mnist_sgd.report.writer",
    "mnist_sgd.training.learner",
    "matplotlib.figure",
    "onnx",
    "onnxruntime",
)
"""What every training imports."""


def main() -> int:
    """Wait for a training, and run it."""
    for name in _WARM:
        importlib.import_module(name)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    answers.write(b"ready\n")
    line = sys.stdin.readline()
    if not line.endswith("\n"):  # the service has ended
        return 0
    task = json.loads(line)
    run = Path(task["run"])
    lock = _taken(run)
    if lock is None:
        answers.write(b"busy\n")
        return BUSY
    with lock:
        answers.write(b"started\n")
        answers.close()
        return _train(run, task["cwd"], task["arguments"])


def _taken(run: Path) -> BinaryIO | None:
    """Take the run's lock and note the attempt; None if another process has it."""
    import fcntl

    lock = open(run / LOCK, "ab", buffering=0)  # noqa: SIM115  (it is returned)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    attempt = {
        "process": os.getpid(),
        "time": round(time.time(), 3),
        "checkpoint": checkpoint_time(run),
    }
    lock.write(f"{json.dumps(attempt)}\n".encode())
    os.fsync(lock.fileno())
    return lock


def _train(run: Path, cwd: str, arguments: list[str]) -> int:
    log = os.open(run / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.chdir(cwd)
    from mnist_sgd.cli import main as command

    try:
        code = command(["train", *arguments])
    except SystemExit as left:  # by a signal, or a wrong argument
        code = left.code if isinstance(left.code, int) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    if 0 < code < 128 and not (run / EXIT).exists():  # it failed before its first batch
        end(run, State.FAILED, _last_words(run / LOG))
    return code


def _last_words(log: Path) -> str:
    """What the command said last of its error."""
    lines = log.read_text(errors="replace").splitlines()
    said = [line.removeprefix("mnist-sgd: ") for line in lines if line.startswith("mnist-sgd: ")]
    return said[-1] if said else "it failed without a word; see train.log"


if __name__ == "__main__":
    sys.exit(main())
