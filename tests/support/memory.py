"""How much memory a piece of work takes, whatever this process did before."""

import os
import resource
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["address_space", "traced"]


@contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """Trace what Python and NumPy allocate; gives the function of the most bytes until now."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@contextmanager
def address_space(more: int) -> Iterator[None]:
    """Let this process have so many bytes more than it has: what asks for more gets none.

    For a forked child (`processes.in_child`), so that no thread of the tests' own process fails.
    """
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
