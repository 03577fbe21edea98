"""What Linux says about processes and processors, see proc(5), and the machine in one line."""

import os
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["busy", "cpu_seconds", "descendants", "machine_text", "megabytes", "processor"]

UTIME, STIME, RSS = 11, 12, 21
"""Where `_stat` has them."""


def descendants(root: int) -> list[int]:
    """A process and all below it, whichever still run."""
    found = [root]
    for pid in found:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except (FileNotFoundError, ProcessLookupError):
                continue  # the thread ended meanwhile
    return found


def megabytes(root: int) -> tuple[float, int]:
    """The resident memory of a process and all below it, added up, and their number.

    Pages that several of them share count once for each.
    """
    pages = [int(fields[RSS]) for fields in _stat(root)]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6, len(pages)


def cpu_seconds(root: int) -> float:
    """The processor time that a process and all below it have used so far."""
    ticks = sum(int(fields[UTIME]) + int(fields[STIME]) for fields in _stat(root))
    return ticks / os.sysconf("SC_CLK_TCK")


def busy(seconds: float = 0.3) -> float:
    """The share of all processors that is in use, 0 to 1, while this waits."""
    before = _ticks()
    time.sleep(seconds)
    idle, total = (now - then for now, then in zip(_ticks(), before, strict=True))
    return 1 - idle / total if total else 0.0


def processor() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().split("\n"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def machine_text(others: Sequence[float], *also: str) -> str:
    """Say what it was measured on, with what, and what else ran there.

    Args:
        others: what `busy` gave between the turns.
        also: versions and settings.
    """
    return (
        f"{os.cpu_count()} processors, {platform.machine()}, "
        f"{', '.join([f'Python {platform.python_version()}', *also])}; other work took "
        f"{statistics.median(others):.0%} of the processors between the turns "
        f"(up to {max(others):.0%})"
    )


def _stat(root: int) -> Iterator[list[str]]:
    """The fields of /proc/PID/stat from the third on: the second is a name, spaces and all."""
    for pid in descendants(root):
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        yield text.rpartition(") ")[2].split()


def _ticks() -> tuple[int, int]:
    """The processors' idle and total time so far."""
    times = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return times[3] + times[4], sum(times)
