"""Whether a file or a folder can be written, found out before the work that it is for."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp

from mnist_sgd._files import is_stream

__all__ = ["check_place", "readable_file", "writable_file", "writable_folder"]


def check_place(path: Path, check: Callable[[Path], None], advice: str) -> None:
    """Run one of the checks below.

    Raises:
        ValueError: the check failed; the message names the path and ends in the advice.
    """
    try:
        check(path)
    except OSError as error:
        at = "" if error.filename in (None, str(path)) else f"{error.filename}: "
        reason = error.strerror or str(error)
        raise ValueError(f"{path} cannot be written: {at}{reason}; {advice}") from error


def writable_file(path: Path) -> None:
    """Raise the OSError that writing a file, under another name first, would meet."""
    if path.is_dir():
        raise OSError(None, "it is a folder", str(path))
    if path.exists() and not path.is_file():  # a pipe or a device is not replaced
        if not os.access(path, os.W_OK):
            raise OSError(None, "Permission denied", str(path))
        return
    final = Path(os.path.realpath(path)) if path.is_symlink() else path
    writable_folder(final.parent, final)


def readable_file(path: Path) -> None:
    """The same for a file that is read again later, which a pipe or a device cannot be."""
    writable_file(path)
    if is_stream(path):
        raise OSError(None, "it is a pipe or a device, not a file", str(path))


def writable_folder(folder: Path, file: Path = Path("a")) -> None:
    """Raise the OSError that making a folder, and writing a file in it, would meet."""
    there = folder
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise OSError(None, "it is not a folder", str(there))
    prefix = f".{file.stem}." if there == folder else ".a."
    try:
        descriptor, name = mkstemp(file.suffix, prefix, there)
    except OSError as error:
        where = str(file) if there == folder else str(there)
        raise OSError(error.errno, error.strerror, where) from error
    with suppress(FileNotFoundError):
        os.close(descriptor)
        os.unlink(name)
