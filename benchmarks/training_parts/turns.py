"""Worker processes, one a way, that take turns: while one trains, the others sleep."""

import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from training_parts.ways import Way

__all__ = ["Result", "Worker", "WorkerError", "working"]

WORKER = Path(__file__).parent / "worker.py"
WARM_EPOCHS = 4
"""Epochs at the start of a turn that do not count: the caches are another way's."""
EPOCHS = 20
"""Epochs of a turn that count."""


class WorkerError(RuntimeError):
    """A way cannot be run; the message is one line."""


@dataclass
class Result:
    """A way's turns: milliseconds an epoch, and why there are no more of them."""

    name: str
    epochs_ms: list[float] = field(default_factory=list)
    cpus_ms: list[float] = field(default_factory=list)
    accuracy: float | None = None
    version: str = ""
    fault: str = ""

    @property
    def median(self) -> float | None:
        """The median over the turns."""
        return statistics.median(self.epochs_ms) if self.epochs_ms else None


@dataclass(frozen=True)
class Turn:
    """What a turn gave: milliseconds an epoch, those of processor time, and what else was said."""

    epoch_ms: float
    cpu_ms: float
    accuracy: float
    version: str
    stages: dict[str, float]


@dataclass
class Worker:
    """A process that trains when it is told to; what it prints goes to a log."""

    process: subprocess.Popen[str]
    log: Path

    def turn(self) -> Turn:
        """Train anew.

        Raises:
            WorkerError: the process has ended.
        """
        if self.process.stdin is None or self.process.stdout is None:
            raise WorkerError("its pipes are closed")
        try:
            self.process.stdin.write(f"{WARM_EPOCHS + EPOCHS}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the log says why
        line = self.process.stdout.readline()
        if not line:
            lines = self.log.read_text(errors="replace").strip().split("\n")
            raise WorkerError(f"it ended with code {self.process.wait()}: {lines[-1]}")
        answer = json.loads(line)
        first, last = answer["ends"][WARM_EPOCHS - 1], answer["ends"][-1]
        epoch_ms, cpu_ms = (1e3 * (b - a) / EPOCHS for a, b in zip(first, last, strict=True))
        stages = answer.get("stages", {})
        return Turn(epoch_ms, cpu_ms, answer["accuracy"], answer["version"], stages)


@contextmanager
def working(way: Way, peers: Path | None, threads: int) -> Iterator[Worker]:
    """Start a worker, and end it afterwards.

    Raises:
        FileNotFoundError: the way is not installed.
    """
    python = way.python(peers)
    with tempfile.TemporaryDirectory(prefix="training", ignore_cleanup_errors=True) as folder:
        log = Path(folder, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(python), str(WORKER), way.loop, str(threads), way.package or "torch"],
                cwd=folder,
                env={**os.environ, "HOME": folder},  # frameworks keep settings and caches there
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )
        try:
            with process:
                yield Worker(process, log)
        finally:
            process.kill()
