"""Files that are either whole or not there.

A file is written under a temporary name in its own folder, flushed to the disk and renamed over
its final name, so a crash at any moment leaves the old file or the new one, never a part. Where
the name is a link, the file that it leads to is replaced; a replaced file keeps its permissions.
A pipe or a device cannot be replaced: what was written is copied into it at the end.
"""

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

__all__ = ["atomic_path", "atomic_write", "hidden", "is_stream", "move_over", "remove_leftovers"]

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
"""Errors of writing, which name no file."""

_STANDARD = ("/dev/stdin", "/dev/stdout", "/dev/stderr")
_LONGEST = 255
"""Bytes of a name, on all usual file systems."""

_LINKS = 40
"""Links that lead to each other are followed so far, as Linux does."""


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path to write to; on success it takes the name `path`, else it is removed.

    The temporary name ends in the suffix of `path`, because some writers choose the format by it.

    Raises:
        IsADirectoryError: `path` is a folder, before anything is written.
        OSError: the file cannot be written or renamed, or is a pipe that nobody reads; the error
            names `path`.
    """
    mode = _mode(path)
    if mode is not None and stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if mode is not None and is_stream(path):
        with TemporaryDirectory() as folder, _errors_that_name(path, Path(folder)):
            temporary = Path(folder) / f"content{Path(path).suffix}"
            yield temporary
            with open(temporary, "rb") as content, _open_stream(path) as stream:
                shutil.copyfileobj(content, stream)
        return
    final = _final(path)
    temporary = hidden(final, secrets.token_hex(4))
    with _errors_that_name(path, temporary):
        try:
            if mode is not None:  # from the start, nobody reads it who could not read the old one
                os.close(os.open(temporary, os.O_CREAT | os.O_EXCL, stat.S_IMODE(mode) | 0o600))
            yield temporary
            with open(temporary, "rb+") as file:
                if mode is not None:
                    os.chmod(temporary, stat.S_IMODE(mode))
                os.fsync(file.fileno())
            os.replace(temporary, final)
        finally:
            temporary.unlink(missing_ok=True)


def atomic_write(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` as the whole of the file `path`.

    Raises:
        OSError: the file cannot be written or renamed; the error names `path`.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def move_over(source: Path, path: Path) -> None:
    """Give a whole file the name `path`; a link there stays, and a replaced file keeps its mode.

    Args:
        source: in the same folder as `path`; it is gone afterwards.
        path: an older file of this name is replaced.

    Raises:
        OSError: it cannot be renamed; both files are then as they were, but for the mode.
    """
    final, mode = _final(path), _mode(path)
    if mode is not None:
        os.chmod(source, stat.S_IMODE(mode))
    try:
        os.replace(source, final)
    except OSError as error:
        if error.errno != errno.EXDEV:  # a link that leads to another disk
            raise
        with atomic_path(path) as temporary:
            shutil.copyfile(source, temporary)
        source.unlink()


def hidden(path: Path, what: str) -> Path:
    """A hidden file next to `path`, for work on it.

    Its name has the name and the suffix of `path` in it, or if that is too long a digest.

    Args:
        path: a file, which may be there or not.
        what: of the file; at most 8 characters.
    """
    stem, suffix = path.stem, path.suffix
    if len(os.fsencode(f".{path.name}.01234567")) > _LONGEST:
        stem = blake2b(os.fsencode(path.name), digest_size=8).hexdigest()
        suffix = suffix if len(os.fsencode(suffix)) <= _LONGEST // 2 else ""
    return path.with_name(f".{stem}.{what}{suffix}")


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Whether what is written to `path` goes into a pipe, a device or a file that is open.

    A link such as one to /dev/stdout is a stream too, whatever standard output is. A stream is
    not replaced, and cannot be read again.
    """
    mode = _mode(path)
    return (mode is not None and not stat.S_ISREG(mode)) or _is_open_file(path)


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove what writers of `path` that were killed have left; no other may be at work.

    Raises:
        OSError: a leftover cannot be removed.
    """
    final = _final(path)
    before, after = re.escape(hidden(final, "*").name).split(r"\*")
    name = f"{before}[0-9a-f]{{8}}{after}"
    for leftover in final.parent.iterdir():
        if re.fullmatch(name, leftover.name):
            leftover.unlink()


def _open_stream(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a pipe or a device for writing, without waiting for somebody to read it.

    Raises:
        OSError: nobody reads the pipe.
    """

    def opener(name: str, flags: int) -> int:
        try:
            descriptor = os.open(name, flags | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            raise OSError(errno.ENXIO, "nobody reads this pipe", os.fspath(path)) from error
        os.set_blocking(descriptor, True)
        return descriptor

    return open(path, "ab", opener=opener)


def _final(path: str | os.PathLike[str]) -> Path:
    """Where a file really is: what a link leads to, whether it is there or not."""
    return Path(os.path.realpath(path) if os.path.islink(path) else path)


def _is_open_file(path: str | os.PathLike[str]) -> bool:
    """Whether it is another name of an open file, such as /dev/stdout, or a link to one."""
    name = os.path.abspath(path)
    for _ in range(_LINKS):
        if name in _STANDARD or name.startswith(("/dev/fd/", "/proc/")):
            return True
        if not os.path.islink(name):
            return False
        name = os.path.normpath(os.path.join(os.path.dirname(name), os.readlink(name)))
    return False


def _mode(path: str | os.PathLike[str]) -> int | None:
    """The mode of what is there, of a link's target; None if nothing is."""
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


@contextmanager
def _errors_that_name(path: str | os.PathLike[str], temporary: Path) -> Iterator[None]:
    """Let errors name the file that was asked for: nobody knows the temporary one."""
    try:
        yield
    except OSError as error:
        named = error.filename is not None and Path(os.fsdecode(error.filename))
        ours = named and (named == temporary or temporary in named.parents)
        if error.errno is None or not (ours or (named is False and error.errno in _DISK)):
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error
