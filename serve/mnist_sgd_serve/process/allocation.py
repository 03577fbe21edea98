"""Returns large blocks of memory to the system as soon as they are freed.

glibc does so for blocks above a threshold, but raises it to the size of the largest freed block, up
to 32 MiB. Smaller bodies then come from its heaps, of which it returns only the free end, so a
server keeps hundreds of MiB after a few large requests. A threshold that is set explicitly stays.
Thresholds of the environment take precedence.

Source: mallopt(3).
"""

import ctypes
import os
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")

LARGE_BLOCK = 2**20
"""Bytes of a block that is returned by itself; smaller ones are faster from the heap."""

FREE_END = 4 * 2**20
"""Bytes that may stay free at the end of a heap."""


def return_large_blocks() -> None:
    """Set the thresholds of this process, where the C library has them, unless the user did."""
    if any(name in os.environ for name in _CHOSEN):
        return
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, FREE_END)
