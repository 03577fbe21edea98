"""Write files atomically: a crash at any moment leaves the old file or the new one.

A file is written under a temporary name in its own folder, flushed to disk and renamed. A link
stays, its target is replaced; a replaced file keeps its permissions. Pipes and devices cannot be
replaced: the content is copied into them at the end.
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

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
"""Errors of writing, which do not name the file."""

_STANDARD = ("/dev/stdin", "/dev/stdout", "/dev/stderr")
_LONGEST = 255
"""Bytes of a file name, on all common file systems."""

_LINKS = 40
"""Links in a chain, at most, as on Linux."""


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path to write to; rename it to `path` on success, else remove it.

    The temporary name keeps the suffix of `path`, because some writers choose the format by it.

    Raises:
        IsADirectoryError: `path` is a folder; raised before anything is written.
        OSError: the file cannot be written or renamed, or is a pipe without a reader; the error
            names `path`.
    """
    mode = _mode(path)
    if mode is not None and stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if mode is not None and is_stream(path):
        with TemporaryDirectory() as folder, _naming_errors(path, Path(folder)):
            temporary = Path(folder) / f"content{Path(path).suffix}"
            yield temporary
            with open(temporary, "rb") as content, _open_stream(path) as stream:
                shutil.copyfileobj(content, stream)
        return
    final = _final(path)
    temporary = hidden(final, secrets.token_hex(4))
    with _naming_errors(path, temporary):
        try:
            if mode is not None:  # so it is never more readable than the old file
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
    """Write a file atomically.

    Raises:
        OSError: the file cannot be written or renamed; the error names `path`.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def move_over(source: Path, path: Path) -> None:
    """Rename a complete file to `path`; a link there stays, and a replaced file keeps its mode.

    Args:
        source: in the same folder as `path`.
        path: an existing file is replaced.

    Raises:
        OSError: it cannot be renamed; the contents of both files are unchanged.
    """
    final, mode = _final(path), _mode(path)
    if mode is not None:
        os.chmod(source, stat.S_IMODE(mode))
    try:
        os.replace(source, final)
    except OSError as error:
        if error.errno != errno.EXDEV:  # a link to another disk
            raise
        with atomic_path(path) as temporary:
            shutil.copyfile(source, temporary)
        source.unlink()


def hidden(path: Path, what: str) -> Path:
    """Return the path of a hidden auxiliary file next to `path`.

    Its name contains the name of `path`, or a digest if that is too long, and the suffix.

    Args:
        path: a file, which need not exist.
        what: the file is for; at most 8 characters.
    """
    stem, suffix = path.stem, path.suffix
    if len(os.fsencode(f".{path.name}.01234567")) > _LONGEST:
        stem = blake2b(os.fsencode(path.name), digest_size=8).hexdigest()
        suffix = suffix if len(os.fsencode(suffix)) <= _LONGEST // 2 else ""
    return path.with_name(f".{stem}.{what}{suffix}")


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Tell whether `path` is a pipe, a device, or another name of an open file (/dev/stdout).

    A stream is not replaced, and cannot be read again.
    """
    mode = _mode(path)
    return (mode is not None and not stat.S_ISREG(mode)) or _is_open_file(path)


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove the temporary files of killed writers of `path`; no other writer may be active.

    Raises:
        OSError: a file cannot be removed.
    """
    final = _final(path)
    before, after = re.escape(hidden(final, "*").name).split(r"\*")
    name = f"{before}[0-9a-f]{{8}}{after}"
    for leftover in final.parent.iterdir():
        if re.fullmatch(name, leftover.name):
            leftover.unlink()


def _open_stream(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a pipe or a device for writing, without waiting for a reader.

    Raises:
        OSError: the pipe has no reader.
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
    """Return the target of a link, whether it exists or not; other paths unchanged."""
    return Path(os.path.realpath(path) if os.path.islink(path) else path)


def _is_open_file(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path names an open file, such as /dev/stdout, or links to one."""
    name = os.path.abspath(path)
    for _ in range(_LINKS):
        if name in _STANDARD or name.startswith(("/dev/fd/", "/proc/")):
            return True
        if not os.path.islink(name):
            return False
        name = os.path.normpath(os.path.join(os.path.dirname(name), os.readlink(name)))
    return False


def _mode(path: str | os.PathLike[str]) -> int | None:
    """Return the mode of a file or of a link's target; None if it does not exist."""
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


@contextmanager
def _naming_errors(path: str | os.PathLike[str], temporary: Path) -> Iterator[None]:
    """Make errors name the requested file instead of the temporary one."""
    try:
        yield
    except OSError as error:
        named = error.filename is not None and Path(os.fsdecode(error.filename))
        ours = named and (named == temporary or temporary in named.parents)
        if error.errno is None or not (ours or (named is False and error.errno in _DISK)):
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error
