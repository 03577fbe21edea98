"""Waiting for what must happen, on a machine that may be slow, busy, or stand still for seconds.

A test waits for an event and never for a time. `PATIENCE` only says when to give up, so that what
never happens is a failure and no hang.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

__all__ = [
    "PATIENCE",
    "again_if_late",
    "has_ended",
    "let_the_clock_tick",
    "wait_until",
    "wait_until_ended",
]

T = TypeVar("T")

PATIENCE = 300
"""Seconds before something that should have happened counts as failed."""


def wait_until(happened: Callable[[], T], otherwise: Callable[[], object] = lambda: "") -> T:
    """Wait until `happened` returns something true, and give that.

    Args:
        happened: is asked again and again.
        otherwise: gives what to say if it never does.
    """
    end = time.monotonic() + PATIENCE
    while not (found := happened()):
        assert time.monotonic() < end, f"it did not happen in {PATIENCE:g} s: {otherwise()}"
        time.sleep(0.005)
    return found


def again_if_late(seconds: float, attempt: Callable[[], T]) -> T:
    """The result of an attempt that must be over within so many seconds to prove anything.

    A server closes a connection whose client takes longer than it allows. Where the machine kept
    this process or the server waiting, that is no fault of the server's: such an attempt fails
    without a meaning, and is made again. An attempt that fails within the time fails the test.

    Args:
        seconds: that the server allows.
        attempt: raises ConnectionError or AssertionError if it fails.
    """
    end = time.monotonic() + PATIENCE
    while True:
        start = time.monotonic()
        try:
            return attempt()
        except (ConnectionError, AssertionError):
            if time.monotonic() - start < seconds or start > end:
                raise


def has_ended(process: int) -> bool:
    """Whether a process is gone, or waits for nothing but its parent's notice."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


def wait_until_ended(process: int) -> None:
    """Wait until a process has ended that need not be a child of this one."""
    wait_until(lambda: has_ended(process), lambda: f"process {process} is still there")


def let_the_clock_tick(folder: Path) -> None:
    """Wait until the file system gives a change in `folder` a later time than all before.

    Many file systems count in ticks of some milliseconds, some in seconds.
    """
    probe = folder / "clock"

    def now() -> int:
        probe.write_bytes(b"")
        return probe.stat().st_ctime_ns

    start = now()
    wait_until(lambda: now() > start)
    probe.unlink()
