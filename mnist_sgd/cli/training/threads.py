"""How many threads torch computes with while it trains.

Threads of torch wait for each other by spinning. A training of two threads on two cores, one of
which another process keeps busy, takes many times as long as one of a single thread. So torch gets
as many threads as there are idle cores, and small work gets one, which is as fast. The number
changes the last digits of a convolutional network's weights: a checkpoint keeps it.
"""

import os
from pathlib import Path
from time import monotonic, process_time, sleep

from mnist_sgd.cli.training.config import TrainConfig

OWN_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""The user's own choice, which torch obeys; torchrun sets the first."""

SMALL_MODELS = {"linear", "mlp"}
SMALL_BATCH = 2048
"""Up to this many images, a batch of a small model is as fast on one thread."""

SHORTEST_SECONDS = 0.25
"""Of a measurement of the cores; the kernel counts in hundredths."""


class CoreUse:
    """Measures how many cores this process can have, from its creation on.

    It works where /proc/stat exists: on Linux. Elsewhere all cores are taken to be idle.
    """

    def __init__(self) -> None:
        self.cores = _allowed_cores()
        self._start = self._now()

    def available(self) -> int:
        """Return the number of cores that were idle or used by this process, at least 1."""
        if not _STAT.exists():
            return len(self.cores)
        sleep(max(0.0, self._start[-1] + SHORTEST_SECONDS - monotonic()))
        idle, own, time = (now - start for now, start in zip(self._now(), self._start, strict=True))
        return min(max(round((idle + own) / time), 1), len(self.cores))

    def _now(self) -> tuple[float, float, float]:
        return _idle_seconds(self.cores), process_time(), monotonic()


_STAT = Path("/proc/stat")


def _allowed_cores() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _idle_seconds(cores: set[int]) -> float:
    """Add up the time that cores were idle or waited for a disk: proc_stat(5)."""
    if not _STAT.exists():
        return 0.0
    names = {f"cpu{core}" for core in cores}
    rows = [line.split() for line in _STAT.read_text().splitlines()]
    ticks = sum(int(row[4]) + int(row[5]) for row in rows if row and row[0] in names)
    return ticks / os.sysconf("SC_CLK_TCK")


def choose_threads(config: TrainConfig, use: CoreUse, checkpoint: Path) -> None:
    """Set torch's number of threads, unless the user has set it.

    A training that resumes takes the number it had.
    """
    if any(name in os.environ for name in OWN_SETTINGS):
        return
    import torch

    from mnist_sgd.training.checkpoint import threads_of

    threads = threads_of(checkpoint) if config.checkpoints.resume else None
    if threads is None:
        small = config.model_for() in SMALL_MODELS and config.recipe.batch_size <= SMALL_BATCH
        threads = 1 if small else use.available()
    torch.set_num_threads(threads)
