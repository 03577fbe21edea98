"""Files that are either whole or not there.

A file is written under a temporary name in its own folder, flushed to the disk and renamed over
its final name, so a crash at any moment leaves the old file or the new one, never a part.
"""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["atomic_path", "atomic_write", "remove_leftovers"]


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path to write to; on success it takes the name `path`, else it is removed.

    The temporary name ends in the suffix of `path`, because some writers choose the format by it.

    Raises:
        OSError: the file cannot be written or renamed.
    """
    final = Path(path)
    temporary = final.with_name(f".{final.stem}.{secrets.token_hex(4)}{final.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` as the whole of the file `path`.

    Raises:
        OSError: the file cannot be written or renamed.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove what writers of `path` that were killed have left; no other may be at work.

    Raises:
        OSError: a leftover cannot be removed.
    """
    final = Path(path)
    name = rf"\.{re.escape(final.stem)}\.[0-9a-f]{{8}}{re.escape(final.suffix)}"
    for leftover in final.parent.iterdir():
        if re.fullmatch(name, leftover.name):
            leftover.unlink()
