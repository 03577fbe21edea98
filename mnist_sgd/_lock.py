"""One writer at a time, by locks that the kernel drops when their process ends, however it ends.

A lock is one of `flock` on a file or a folder that is there anyway, so it leaves nothing behind. A
process that this one starts has no part in it: a program that is executed never inherits the
descriptor, and a forked child gives it up at once.
"""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mnist_sgd._files import hidden

__all__ = ["FileInUseError", "FolderInUseError", "holding", "one_writer", "only_writer"]

COMMANDS_FILE = "checkpoint.safetensors"
"""What `mnist-sgd train` writes again and again, in a folder that it holds."""

_HELD: set[int] = set()
"""The descriptors of the locks that this process holds."""

_WRITTEN: set[Path] = set()
"""The files of which this process is the only writer, by their real paths."""


class FileInUseError(ValueError):
    """Another process writes a file; the message names it."""


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


@contextmanager
def only_writer(path: Path) -> Iterator[bool]:
    """Be the only process that replaces a file again and again.

    The file itself cannot hold the lock, as it is another one each time: a hidden file next to it
    does, and is removed at the end. What a killed process left of it is taken over. A process that
    holds the whole folder, see `one_writer`, needs none.

    Args:
        path: the file; its folder is there.

    Returns:
        Whether what killed writers left may be removed: nobody else writes, neither another process
        nor another fit of this one.

    Raises:
        FileInUseError: another process writes it, or the folder that the command writes to.
        OSError: the folder cannot be written to.
    """
    real = Path(os.path.realpath(path))
    if sys.platform == "win32" or real in _WRITTEN or (real.exists() and not real.is_file()):
        yield False
        return
    lock_file = hidden(real, "writer")
    whole = _is_held(real.parent)
    if not whole and real.name == COMMANDS_FILE and _others_hold(real.parent):
        raise _in_use(path)
    with ExitStack() as lock:
        safe = True
        if lock_file.exists() or not whole:
            safe = lock.enter_context(_hidden_lock(path, lock_file))
        _WRITTEN.add(real)
        lock.callback(_WRITTEN.discard, real)
        yield safe


@contextmanager
def _hidden_lock(path: Path, lock_file: Path) -> Iterator[bool]:
    """Hold the lock of a hidden file, made for this; False if its file system has no locks."""
    import fcntl

    while True:
        try:
            descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise _in_use(path) from None
            lock_file.unlink(missing_ok=True)
            warnings.warn(
                f"{path}: this file cannot be locked ({error.strerror or error}): see that no "
                "other training writes it",
                stacklevel=2,
            )
            yield False
            return
        if _is_at(descriptor, lock_file):  # else its holder has removed it meanwhile
            break
        os.close(descriptor)
    _HELD.add(descriptor)
    try:
        yield True
    finally:
        if _is_at(descriptor, lock_file):
            lock_file.unlink()
        _HELD.discard(descriptor)
        os.close(descriptor)


def _in_use(path: Path) -> FileInUseError:
    return FileInUseError(
        f"{path}: another training writes this file; wait until it has ended, or choose another "
        "file"
    )


def _others_hold(folder: Path) -> bool:
    """Whether another process holds the lock of a folder."""
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # its file system has no locks
        return False
    finally:
        os.close(descriptor)
    return False


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file has this path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _is_held(folder: Path) -> bool:
    """Whether this process holds the lock of a folder."""
    return any(_is_at(descriptor, folder) for descriptor in _HELD)


def _give_up() -> None:
    """Put another file in the place of each lock, in a forked child; its parent keeps them."""
    _WRITTEN.clear()
    if not _HELD:
        return
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor in _HELD:
        os.dup2(nothing, descriptor, inheritable=False)
    os.close(nothing)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_give_up)
