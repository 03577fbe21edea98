"""Advise the kernel how the pages of a memory-mapped file will be read.

Without advice Linux reads ahead around each missing page. What is best depends on whether the
images are shuffled, and whether the file fits in memory:

- A file that fits, or is read in order, is read and mapped in pages of 2 MiB where file system and
  kernel support it: fewer reads, and fewer TLB misses per shuffled image.
- For a shuffled file that does not fit, read-ahead is wasted, so single pages are requested.

Figures, and what was tried and not used, are in benchmarks/README.md.
"""

import errno
import mmap
import os
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
from numpy.typing import NDArray

_MEMORY_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Memory limits of a container: cgroups version 2 and 1."""


def advise(images: NDArray[Any], *, shuffled: bool) -> Literal["huge", "normal", "random"] | None:
    """Tell the kernel how the file behind `images` will be read.

    If they are shuffled and the file is larger than half of the memory, single pages are requested
    (random); else pages of 2 MiB (huge) or, if the system has none, nothing special (normal). The
    advice holds for all readers of the map until the next one.

    Args:
        images: an array of `read_idx`, a `numpy.memmap`, or a view of one; other arrays are left
            alone.
        shuffled: whether they will be read in random order.

    Returns:
        The advice; None if `images` is not memory-mapped or the system takes no advice.
    """
    pages = underlying_mmap(images)
    if pages is None or not hasattr(pages, "madvise"):
        return None
    if shuffled and 2 * len(pages) > _memory():
        _advised(pages, "MADV_NOHUGEPAGE")  # which would take precedence
        pages.madvise(mmap.MADV_RANDOM)
        return "random"
    pages.madvise(mmap.MADV_NORMAL)
    return "huge" if _advised(pages, "MADV_HUGEPAGE") else "normal"


_SHUFFLED: WeakKeyDictionary[mmap.mmap, WeakSet[Any]] = WeakKeyDictionary()
"""The live readers of each map that read it in random order."""


def read_shuffled(reader: object, images: NDArray[Any], shuffled: bool) -> bool:
    """Register a reader of a map; return whether any reader reads it in random order.

    Two loaders often share a map, one shuffled for training and one in order for validation. Advice
    for random order slows the second a little, the other way round the first by far.

    Args:
        reader: what will read the images; counts while it lives.
        images: as for `advise`.
        shuffled: whether `reader` reads them in random order.
    """
    pages = underlying_mmap(images)
    if pages is None:
        return shuffled
    readers = _SHUFFLED.setdefault(pages, WeakSet())
    if shuffled:
        readers.add(reader)
    return bool(readers)


def underlying_mmap(array: NDArray[Any]) -> mmap.mmap | None:
    """Return the memory map that an array is a view of; None if there is none."""
    owner: object = array
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    return owner if isinstance(owner, mmap.mmap) else None


def _advised(pages: mmap.mmap, advice: str) -> bool:
    """Give advice that not every system supports; return whether this one does."""
    if not hasattr(mmap, advice):
        return False
    try:
        pages.madvise(getattr(mmap, advice))
    except OSError as error:
        if error.errno != errno.EINVAL:  # from a Linux without huge pages
            raise
        return False
    return True


def _memory() -> int:
    """Return the bytes of memory of the machine or of its container."""
    sizes = [os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE]
    for path in _MEMORY_LIMITS:
        try:
            sizes.append(int(path.read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return min(sizes)
