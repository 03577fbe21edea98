"""How the kernel is told in which order the pages of a mapped file will be wanted.

Without advice Linux reads around each page that is missing, as much as the device's `read_ahead_kb`
says: 128 KB usually, 8 MB on the machine measured here. What is best depends on whether the images
are shuffled and whether the file fits in memory.

One that fits, or is read in order, is read in pages of 2 MiB and mapped in them, where the file
system and the kernel can (ext4 on Linux 6.18 does; elsewhere the advice does nothing). Then it is
read whole in fewer pieces, and a shuffled image costs the processor fewer misses of its TLB.
Millions of images/s in batches of 256, shuffled, one thread, nothing in the page cache before the
first epoch; nothing advised, and huge pages:

                        read_ahead_kb   first epoch      later epochs
    1.2 million images            128   0.6     1.3      3.5     6.5
                                 8192   0.8     1.2      3.3     6.3
    12 million (9.4 GB)           128   0.6     0.7      2.6     4.4
                                 8192   1.0     1.4      2.4     4.3

Later epochs are medians of three and more, the first of 1.2 million are two runs each (one of huge
pages with 128 KB gave 0.4), those of 12 million one. In order, and where the page cache holds the
file already, the advice makes little difference.

For a shuffled file that does not fit, to read around a page is in vain: then single pages are asked
for. 12 million images, 4 s with two threads (`python benchmarks/streaming.py`):

                             first batch   images/s   bytes read an image
    shuffled, no advice         1,633 ms        623             3,260,202
    shuffled, random               24 ms     17,676                 4,829
    in order, no advice             2 ms  2,038,039                   786
    in order, random                5 ms    134,281                   785

That is the rate of the whole epoch, where one that fits is read whole within the first thousands of
images and then costs nothing: 2.7 million (2.1 GB) gave 193,000 and 292,000 images/s over 4 s, but
19,000 and 14,000 with random advice, 48,000 and 32,000 with it and eight threads, under other load.

Tried and not used: sequential advice in order, 0.7 to 2.2 times the rate in twelve alternations,
1.1 in the median; and asking for the pages of each image some batches ahead (MADV_WILLNEED), which
takes one thread from 8,000 to 38,000 images/s, as more threads do, but costs 2.6 us an image (1.6
with process_madvise) where nothing is missing and the loader takes about 1.
"""

import errno
import mmap
import os
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
from numpy.typing import NDArray

__all__ = ["advise", "map_behind", "read_shuffled"]

_MEMORY_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Where Linux says how much memory a container may have: cgroups version 2 and 1."""


def advise(images: NDArray[Any], *, shuffled: bool) -> Literal["huge", "normal", "random"] | None:
    """Tell the kernel how the file behind `images` will be read.

    If they are shuffled and the file is larger than half of the memory, single pages are asked for
    (random), else pages of 2 MiB (huge) or, from a system that does not know them, nothing special
    (normal). It holds for the whole map and all its readers until the next advice.

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
    if shuffled and 2 * len(pages) > _memory():
        _took(pages, "MADV_NOHUGEPAGE")  # earlier advice of huge pages would count for more
        pages.madvise(mmap.MADV_RANDOM)
        return "random"
    pages.madvise(mmap.MADV_NORMAL)
    return "huge" if _took(pages, "MADV_HUGEPAGE") else "normal"


_SHUFFLED: WeakKeyDictionary[mmap.mmap, WeakSet[Any]] = WeakKeyDictionary()
"""Who reads a map in random order; gone with the map, and each reader with itself."""


def read_shuffled(reader: object, images: NDArray[Any], shuffled: bool) -> bool:
    """How a map will be read once `reader` does: in random order if it or another reader does so.

    Two loaders often share a map, one for training, shuffled, and one for validation, which is not.
    What suits the first costs the second a factor; the other way round it can be one of 28.

    Args:
        reader: what will read the images; it counts while it lives.
        images: as `advise` takes them.
        shuffled: whether `reader` reads them in random order.
    """
    pages = map_behind(images)
    if pages is None:
        return shuffled
    readers = _SHUFFLED.setdefault(pages, WeakSet())
    if shuffled:
        readers.add(reader)
    return bool(readers)


def map_behind(array: NDArray[Any]) -> mmap.mmap | None:
    """The memory map that an array is a view of, None if it is of another kind."""
    owner: object = array
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    return owner if isinstance(owner, mmap.mmap) else None


def _took(pages: mmap.mmap, advice: str) -> bool:
    """Give advice that not every system knows; whether this one does."""
    if not hasattr(mmap, advice):
        return False
    try:
        pages.madvise(getattr(mmap, advice))
    except OSError as error:
        if error.errno != errno.EINVAL:  # which a Linux without huge pages gives
            raise
        return False
    return True


def _memory() -> int:
    """Bytes of memory that this process could have, the machine's or its container's."""
    sizes = [os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE]
    for path in _MEMORY_LIMITS:
        try:
            sizes.append(int(path.read_text()))
        except (OSError, ValueError):  # there is no such file, or it says "max"
            continue
    return min(sizes)
