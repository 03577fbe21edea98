"""One writer at a time, by locks that the kernel drops when their process ends, however it ends.

A lock is one of `flock` on a file or a folder that is there anyway, so it leaves nothing behind. A
process that this one starts has no part in it: a program that is executed never inherits the
descriptor, and a forked child gives it up at once.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

__all__ = ["FolderInUseError", "holding", "one_writer"]

_HELD: set[int] = set()
"""The descriptors of the locks that this process holds."""


class FolderInUseError(ValueError):
    """Another training writes into a folder; the message names it."""


@contextmanager
def holding(path: Path, on_busy: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock of a file, which is made if need be, or of a folder, which is there.

    On Windows, which has no flock, nothing is locked.

    Args:
        path: the file or folder.
        on_busy: called if another process holds the lock, before this one waits for it; what it
            raises is raised instead.

    Raises:
        OSError: the path cannot be opened, or its file system has no locks.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags, 0o666)
    _HELD.add(descriptor)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if on_busy:
                on_busy()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        _HELD.discard(descriptor)
        os.close(descriptor)


@contextmanager
def one_writer(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Make a folder and be the only training that writes there.

    A folder that is made here and is still empty when an exception ends the block is removed.

    Args:
        folder: where the files go.
        say: told if the folder cannot be locked, as on some network file systems; the block then
            runs without a lock.

    Raises:
        FolderInUseError: another process is in such a block of the same folder.
        OSError: the folder cannot be made.
    """
    there = folder.is_dir()
    if os.path.lexists(folder) and not there:
        yield  # whoever writes there refuses what is no folder
        return
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as lock:
        try:
            lock.enter_context(holding(folder, _refusal(folder)))
        except OSError as error:
            say(
                f"{_shown(folder)}: this folder cannot be locked ({error.strerror or error}): see "
                "that no other training writes here"
            )
        try:
            yield
        except BaseException:
            if not there and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
            raise


def _refusal(folder: Path) -> Callable[[], None]:
    def refuse() -> None:
        raise FolderInUseError(
            f"{_shown(folder)}: another training writes into this folder; wait until it has "
            "ended, or choose another folder"
        )

    return refuse


def _shown(folder: Path) -> Path:
    """The folder as it was named; the current one by its path."""
    return Path.cwd() if folder == Path() else folder


def _give_up() -> None:
    """Put another file in the place of each lock, in a forked child; its parent keeps them."""
    if not _HELD:
        return
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor in _HELD:
        os.dup2(nothing, descriptor, inheritable=False)
    os.close(nothing)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_give_up)
