"""Gives large blocks of memory back to the system as soon as they are freed.

glibc does so for blocks above a threshold, but raises that to the size of the largest block that
was freed, up to 32 MiB. Bodies then come from its heaps, of which it gives back only what is free
at the end: a server that has answered a few large requests keeps some hundreds of MiB. A threshold
that is set once stays as it is. Thresholds that the environment sets are left alone.

Source: mallopt(3).
"""

import ctypes
import os
from contextlib import suppress

__all__ = ["give_back_large_blocks"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")

LARGE_BLOCK = 2**20
"""Bytes of a block that is given back by itself; those of small requests are quicker without."""

FREE_END = 4 * 2**20
"""Bytes that may be free at the end of a heap."""


def give_back_large_blocks() -> None:
    """Set the thresholds of this process, if its C library has them and nobody chose others."""
    if any(name in os.environ for name in _CHOSEN):
        return
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, FREE_END)
