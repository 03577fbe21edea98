"""One writer at a time, by `flock` locks, which the kernel drops when their process ends.

Where possible the lock is on a file or folder that exists anyway, so nothing is left behind.
Child processes never hold a lock: executed programs do not inherit the descriptor, and a forked
child gives it up at once.
"""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mnist_sgd._files import hidden

COMMANDS_FILE = "checkpoint.safetensors"
"""The file that `mnist-sgd train` rewrites, in a folder whose lock it holds."""

_HELD: set[int] = set()
"""The descriptors of the locks that this process holds."""

_WRITTEN: set[Path] = set()
"""Real paths of the files of which this process is the only writer."""


class FileInUseError(ValueError):
    """Another process is writing a file; the message names it."""


class FolderInUseError(ValueError):
    """Another training is writing into a folder; the message names it."""


@contextmanager
def holding(path: Path, on_busy: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock of a file, created if necessary, or of an existing folder.

    On Windows, which has no flock, nothing is locked.

    Args:
        path: the file or folder.
        on_busy: called if another process holds the lock, before waiting for it; may raise.

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
    """Create a folder and be the only training that writes to it.

    If an exception ends the block, a folder created here is removed if it is still empty.

    Args:
        folder: of the files.
        say: called with a message if the folder cannot be locked, as on some network file
            systems; the block then runs without a lock.

    Raises:
        FolderInUseError: another training holds the folder.
        OSError: the folder cannot be created.
    """
    there = folder.is_dir()
    if os.path.lexists(folder) and not there:
        yield  # not a folder, which its writer reports
        return
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as lock:
        try:
            lock.enter_context(holding(folder, _refusal(folder)))
        except OSError as error:
            say(
                f"{_shown(folder)}: this folder cannot be locked ({error.strerror or error}): make "
                "sure that no other training writes here"
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
            f"{_shown(folder)}: another training is writing into this folder; wait for it, or "
            "choose another folder"
        )

    return refuse


def _shown(folder: Path) -> Path:
    """Return the folder as given; the current one by its path."""
    return Path.cwd() if folder == Path() else folder


@contextmanager
def only_writer(path: Path) -> Iterator[bool]:
    """Be the only process that repeatedly replaces a file.

    A replaced file cannot hold a lock itself, so a hidden file next to it does; it is removed at
    the end, and reused after a kill. A process that holds the folder, see `one_writer`, needs none.

    Args:
        path: the file, in an existing folder.

    Returns:
        Whether leftovers of killed writers may be removed: neither another process nor another fit
        of this one is writing.

    Raises:
        FileInUseError: another process is writing the file or holds its folder.
        OSError: the folder is not writable.
    """
    real = Path(os.path.realpath(path))
    if sys.platform == "win32" or real in _WRITTEN or (real.exists() and not real.is_file()):
        yield False
        return
    lock_file = hidden(real, "writer")
    whole = _is_held(real.parent)
    if not whole and real.name == COMMANDS_FILE and is_locked(real.parent):
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
    """Hold the lock of a hidden file; False if its file system has no locks."""
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
                f"{path}: this file cannot be locked ({error.strerror or error}): make sure that "
                "no other training writes it",
                stacklevel=2,
            )
            yield False
            return
        if _is_at(descriptor, lock_file):  # else its holder has just removed it
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
        f"{path}: another training is writing this file; wait for it, or choose another file"
    )


def is_locked(path: Path) -> bool:
    """Tell whether somebody holds the lock of a file or a folder; False if it does not exist."""
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
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
    """Tell whether a descriptor is of the file at this path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _is_held(folder: Path) -> bool:
    """Tell whether this process holds the lock of a folder."""
    return any(_is_at(descriptor, folder) for descriptor in _HELD)


def _release_in_child() -> None:
    """Replace each lock's descriptor in a forked child; the parent keeps its locks."""
    _WRITTEN.clear()
    if not _HELD:
        return
    null = os.open(os.devnull, os.O_RDONLY)
    for descriptor in _HELD:
        os.dup2(null, descriptor, inheritable=False)
    os.close(null)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_child)
