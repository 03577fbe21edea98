"""A turn of a contender: it trains anew, and the epochs at the end of it count."""

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.environments import interpreter
from harness.workers import Worker, working

from trainers.contenders import Contender

__all__ = ["Result", "take", "training"]

WORKER = Path(__file__).parent / "worker.py"
WARM_EPOCHS = 4
"""Epochs at the start of a turn that do not count: the caches are another contender's."""
EPOCHS = 20
"""Epochs of a turn that count."""


@dataclass
class Result:
    """A contender's turns: milliseconds an epoch, and why there are no more of them."""

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


def take(worker: Worker) -> Turn:
    """Train anew.

    Raises:
        WorkerError: the process has ended.
    """
    answer = worker.ask(WARM_EPOCHS + EPOCHS)
    first, last = answer["ends"][WARM_EPOCHS - 1], answer["ends"][-1]
    epoch_ms, cpu_ms = (1e3 * (b - a) / EPOCHS for a, b in zip(first, last, strict=True))
    stages = answer.get("stages", {})
    return Turn(epoch_ms, cpu_ms, answer["accuracy"], answer["version"], stages)


@contextmanager
def training(contender: Contender, peers: Path | None, threads: int) -> Iterator[Worker]:
    """Start a worker, and end it afterwards.

    Raises:
        FileNotFoundError: the contender is not installed.
    """
    python = interpreter(peers, contender.package)
    arguments = (contender.loop, str(threads), contender.package or "torch")
    with working(python, WORKER, *arguments) as worker:
        yield worker
