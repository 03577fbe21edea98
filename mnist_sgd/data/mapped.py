"""How the kernel is told in which order the pages of a mapped file will be wanted.

Without advice Linux reads around each page that is missing, as much as the device's `read_ahead_kb`
says: 128 KB usually, 8 MB on the machine measured here. What is best follows from two questions:
are the images shuffled, and does the file fit in memory? Measured on a file of 2.7 million images
(2.1 GB), none of it in the page cache, batches of 256, two threads, two rounds:

    shuffled   no advice    first batch after 1,130 and 1,400 ms, which read up to 8 MB an image;
                            193,000 and 292,000 images/s over 4 s, for soon the whole file was read
               random       first batch after 59 and 39 ms; 19,000 and 14,000 images/s, each of
                            1.2 pages on average; with 8 threads 48,000 and 32,000
    in order   no advice    421,000 and 316,000 images/s
               sequential   942,000 and 646,000 images/s
               random       88,000 and 98,000 images/s

So no advice is best for shuffled images that fit in memory: what is read too much is soon wanted.
Where they do not fit it is dropped before it is wanted, and each image goes on costing what it
does in the first batch, 4 to 5 ms; random advice makes that 0.05. With the file in the page cache
none of them changed anything.

To ask for the pages of each image some batches ahead (MADV_WILLNEED) was tried: it takes one thread
from 8,000 to 38,000 images/s, which more threads do as well, and it costs 2.6 us an image (1.6 us
with process_madvise) where nothing is missing and the loader takes 0.1. MADV_HUGEPAGE does nothing
for the files of usual file systems.
"""

import mmap
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["advise", "map_behind"]

_MEMORY_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Where Linux says how much memory a container may have: cgroups version 2 and 1."""


def advise(
    images: NDArray[Any], *, shuffled: bool
) -> Literal["normal", "random", "sequential"] | None:
    """Tell the kernel how the file behind `images` will be read.

    In order: sequential. Shuffled: random if the file is larger than half of the memory, and
    normal, that is nothing special, if it is not. The advice holds for the whole map and all its
    readers until the next.

    Args:
        images: an array of `read_idx`, a `numpy.memmap` or a view of one; or any other array,
            for which nothing is done.
        shuffled: whether they will be read in random order.

    Returns:
        The advice that was given; None if `images` is no mapped file or the system takes none.
    """
    pages = map_behind(images)
    if pages is None or not hasattr(pages, "madvise"):
        return None
    if not shuffled:
        pages.madvise(mmap.MADV_SEQUENTIAL)
        return "sequential"
    if 2 * len(pages) > _memory():
        pages.madvise(mmap.MADV_RANDOM)
        return "random"
    pages.madvise(mmap.MADV_NORMAL)
    return "normal"


def map_behind(array: NDArray[Any]) -> mmap.mmap | None:
    """The memory map that an array is a view of, None if it is of another kind."""
    owner: object = array
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    return owner if isinstance(owner, mmap.mmap) else None


def _memory() -> int:
    """Bytes of memory that this process could have, the machine's or its container's."""
    sizes = [os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE]
    for path in _MEMORY_LIMITS:
        try:
            sizes.append(int(path.read_text()))
        except (OSError, ValueError):  # there is no such file, or it says "max"
            continue
    return min(sizes)
