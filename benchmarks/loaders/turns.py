"""The contenders take turns over the same images; what each gave is its `Result`."""

import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.environments import interpreter
from harness.machine import busy
from harness.workers import Worker, WorkerError, working

from loaders.catalogue import Contender

__all__ = ["Result", "measure"]

WORKER = Path(__file__).parent / "worker.py"
KEPT = 3
"""Of a contender's variants, those that were best in the first turn."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""So that torch computes on the thread that calls it."""


@dataclass
class Result:
    """A contender's turns: images a second by variant, and why there are no more of them.

    Attributes:
        name: of the contender.
        variants: those that went on after the first turn; the contender's figures are the best
            one's.
        first: what each variant gave in the first turn, which does not count.
        version: of the package.
        fault: why the contender was not measured, or not to the end.
    """

    name: str
    variants: dict[str, list[float]] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    version: str = ""
    fault: str = ""

    @property
    def best(self) -> str:
        """The variant with the highest median; none if no turn was measured."""
        medians = {name: statistics.median(rates) for name, rates in self.variants.items() if rates}
        return max(medians, key=lambda name: medians[name], default="")

    @property
    def rates(self) -> list[float]:
        """Its images a second, turn by turn."""
        return self.variants.get(self.best, [])

    @property
    def median(self) -> float:
        """Of them; only if there are any."""
        return statistics.median(self.rates)


def measure(
    contenders: Sequence[Contender],
    folder: Path,
    images: int,
    peers: Path | None,
    turns: int,
    seconds: float,
) -> tuple[dict[str, Result], list[float]]:
    """Let the contenders take turns over so many images: results, and what else ran.

    A contender with a fault takes no more turns. The first turn is short and does not count; a
    contender of several variants goes on with those that were best in it.
    """
    results = {contender.name: Result(contender.name) for contender in contenders}
    others = []
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for contender in contenders:
            try:
                worker = stack.enter_context(_loading(contender, folder, images, peers))
                _first_turn(worker, results[contender.name], seconds)
                workers[contender.name] = worker
            except (FileNotFoundError, WorkerError) as error:
                results[contender.name].fault = str(error)
        for number in range(turns):
            others.append(busy())
            for name, worker in workers.items():
                if not results[name].fault:
                    _turn(worker, results[name], seconds)
            print(f"{images:,} images, turn {number + 1} of {turns}", file=sys.stderr)
    return results, others


@contextmanager
def _loading(
    contender: Contender, folder: Path, images: int, peers: Path | None
) -> Iterator[Worker]:
    arguments = (
        contender.file,
        contender.setting,
        contender.package,
        str(folder),
        str(contender.images or images),
    )
    with working(
        interpreter(peers, contender.package), WORKER, *arguments, env=ONE_THREAD
    ) as worker:
        yield worker


def _first_turn(worker: Worker, result: Result, seconds: float) -> None:
    """All variants; the best of them are to go on."""
    answer = worker.ask({"seconds": seconds / 4, "variants": []})
    result.first, result.version = answer["rates"], answer["version"]
    ranked = sorted(result.first, key=lambda name: -result.first[name])
    result.variants = {name: [] for name in ranked[:KEPT]}


def _turn(worker: Worker, result: Result, seconds: float) -> None:
    try:
        answer = worker.ask({"seconds": seconds, "variants": list(result.variants)})
    except WorkerError as error:
        result.fault = str(error)
        return
    for name, rate in answer["rates"].items():
        result.variants[name].append(rate)
