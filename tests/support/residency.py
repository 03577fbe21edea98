"""What Linux holds in memory of a process and of a mapped file."""

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Mapping", "anonymous_memory", "mapping"]


@dataclass(frozen=True)
class Mapping:
    """A file's map in this process: bytes that are resident, and the kernel's flags."""

    resident: int
    flags: set[str]


def mapping(path: str | os.PathLike[str]) -> Mapping:
    """This process's one map of the file, from /proc/self/smaps."""
    blocks: list[list[str]] = []
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line[0].islower() or line[0].isdigit():
            blocks.append([])
        blocks[-1].append(line)
    (block,) = (block for block in blocks if block[0].endswith(" " + os.path.realpath(path)))
    facts = dict(line.split(":", 1) for line in block[1:])
    return Mapping(1024 * int(facts["Rss"].split()[0]), set(facts["VmFlags"].split()))


def anonymous_memory() -> int:
    """Bytes of this process's memory that are no page of a file: RssAnon of /proc/self/status."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("RssAnon:")[1].split()[0])
