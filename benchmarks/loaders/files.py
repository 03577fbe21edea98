"""The random images on disk, and whether there is room for them."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from loaders.catalogue import PIXEL_BYTES, Contender
from loaders.contenders.common import IN_MEMORY

__all__ = ["lacking", "write"]

PROCESS_BYTES = 300_000_000
"""That a worker takes without images; torch is most of it."""
CHUNK = 100_000


def write(folder: Path, images: int) -> None:
    """Write `images`, 784 random bytes each, and `labels`, a byte of 0 or 1 each, to the disk."""
    random = np.random.default_rng(0)
    with (folder / "images").open("wb") as pixels, (folder / "labels").open("wb") as labels:
        for start in range(0, images, CHUNK):
            count = min(CHUNK, images - start)
            pixels.write(random.bytes(count * PIXEL_BYTES))
            labels.write(random.integers(0, 2, count, np.uint8).tobytes())
        for file in (pixels, labels):
            file.flush()
            os.fsync(file.fileno())  # else the disk would be at work during the first turns


def lacking(folder: Path, images: int, contenders: Sequence[Contender]) -> str:
    """What is not there to measure so many images: disk or memory, or nothing."""
    needed = {"disk": images * (PIXEL_BYTES + 1), "memory": len(contenders) * PROCESS_BYTES}
    if images <= IN_MEMORY:
        needed["memory"] += images * sum(contender.bytes for contender in contenders)
    else:  # all contenders read the pages of the same file
        needed["memory"] += images * PIXEL_BYTES
    free = {"disk": shutil.disk_usage(folder).free, "memory": _available()}
    return " and ".join(
        f"{needed[what] / 1e9:.1f} GB of {what} are needed, {free[what] / 1e9:.1f} are free"
        for what in needed
        if needed[what] > free[what]
    )


def _available() -> int:
    """Bytes of memory that Linux could give without swapping."""
    for line in Path("/proc/meminfo").read_text().split("\n"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/meminfo has no MemAvailable")
