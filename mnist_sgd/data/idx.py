"""IDX files, the format of the MNIST database: read as memory maps, written whole.

A plain file is mapped, so opening it costs microseconds and no memory whatever its size; its
pages are read when they are used. A gzipped one, known by its content and not by its name, is
inflated into memory: its header first, then the bytes which the header states and no more, so a
file cannot make the reader hold more than it announces. The header itself is parsed by the C++
core. Only unsigned bytes are read and written.
"""

import gzip
import math
import mmap
import os
import stat
import struct
import zlib
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from mnist_sgd._files import atomic_path

try:
    from mnist_sgd._core import parse_idx_header
except ImportError as error:
    raise ImportError(
        f"the training side of mnist_sgd needs its C++ extension, which is missing here ({error}); "
        "pip install . without MNIST_SGD_WITHOUT_EXTENSION installs it and torch"
    ) from error

__all__ = ["IdxError", "read_idx", "write_idx"]

_UINT8 = 0x08
_MOST_DIMENSIONS = 4
_LONGEST_HEADER = 4 + 4 * _MOST_DIMENSIONS
_GZIP_MAGIC = b"\x1f\x8b"
# No deflate stream grows by more (zlib's technical notes, https://zlib.net/zlib_tech.html).
_DEFLATE_RATIO = 1032
_PIECE = 2**16


class IdxError(ValueError):
    """A file is not an IDX file that can be used; the message names it and says why."""


def read_idx(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, plain or gzipped.

    Returns:
        A read-only, C-contiguous array in the file's shape. For a plain file it is a memory map,
        and the file must not be shortened while the array lives.

    Raises:
        IdxError: the file cannot be opened, is not an IDX file of unsigned bytes, or is shorter or
            longer than its header states; or its gzip stream is cut short or damaged.
    """
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise IdxError(f"{path}: it is not a regular file; an IDX file is needed")
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP_MAGIC
            file.seek(0)
            return _inflated(path, file) if packed else _mapped(path, file)
    except OSError as error:
        raise IdxError(f"{path}: it cannot be read: {error.strerror or error}") from error


def write_idx(path: str | os.PathLike[str], array: NDArray[np.uint8]) -> None:
    """Write `array` as the IDX file `path`, gzipped if the name ends in .gz.

    The file is written atomically. Its bytes depend on the array alone; those of a gzipped one
    also on the version of zlib.

    Args:
        path: the file to write or replace.
        array: uint8, 1 to 4 dimensions, each from 1 to 2**32 - 1.

    Raises:
        IdxError: the array is of another type or shape.
        OSError: the file cannot be written.
    """
    path = Path(path)
    shape = array.shape
    if array.dtype != np.uint8 or not 1 <= len(shape) <= _MOST_DIMENSIONS:
        raise IdxError(
            f"{path}: an IDX file is written from uint8 in 1 to {_MOST_DIMENSIONS} dimensions, "
            f"got {array.dtype} in {len(shape)}"
        )
    if not all(1 <= size < 2**32 for size in shape):
        raise IdxError(f"{path}: each dimension must be 1 to 2**32 - 1, got {list(shape)}")
    header = struct.pack(f">BBBB{len(shape)}I", 0, 0, _UINT8, len(shape), *shape)
    wrap = _deflated if path.suffix == ".gz" else nullcontext
    with atomic_path(path) as temporary, temporary.open("wb") as file, wrap(file) as out:
        out.write(header)
        out.write(np.ascontiguousarray(array).data)


def _deflated(file: BinaryIO) -> gzip.GzipFile:
    """Open a gzip stream into `file` that records neither a name nor a time."""
    return gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=file, mtime=0)


def _parsed(path: Path, head: bytes) -> tuple[tuple[int, ...], int]:
    """Give the shape that a file's first bytes state, and the offset of its data."""
    try:
        item_type, shape, offset = parse_idx_header(head)
    except ValueError as error:
        raise IdxError(f"{path}: {error}") from error
    if item_type != _UINT8:
        raise IdxError(
            f"{path}: its items are of IDX type 0x{item_type:02X}, "
            f"only unsigned bytes, type 0x{_UINT8:02X}, are read"
        )
    return shape, offset


def _mapped(path: Path, file: BinaryIO) -> NDArray[np.uint8]:
    """Give the data of a plain file, as a view of its memory map."""
    shape, offset = _parsed(path, file.read(_LONGEST_HEADER))
    stated, size = offset + math.prod(shape), os.fstat(file.fileno()).st_size
    if size != stated:
        raise IdxError(
            f"{path}: it has {size:,} bytes, but its header states {stated:,}: "
            f"{offset} for itself and {list(shape)} for the data"
        )
    pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(pages, np.uint8, offset=offset).reshape(shape)


def _inflated(path: Path, file: BinaryIO) -> NDArray[np.uint8]:
    """Give the data of a gzipped file, holding at most what its header states."""
    with gzip.GzipFile(fileobj=file) as stream:
        try:
            shape, offset = _parsed(path, stream.read(_LONGEST_HEADER))
            stated, size = math.prod(shape), os.fstat(file.fileno()).st_size
            if stated > size * _DEFLATE_RATIO:
                raise IdxError(
                    f"{path}: its header states {stated:,} bytes of data, "
                    f"more than {size:,} gzipped bytes can hold"
                )
            stream.seek(offset)
            data = np.empty(stated, np.uint8)
            filled = _fill(data, stream)
            beyond = stream.read(1)  # also makes gzip compare the checksum
        except EOFError as error:
            raise IdxError(f"{path}: its gzip stream is cut short") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise IdxError(f"{path}: its gzip stream is damaged: {error}") from error
    if filled != stated or beyond:
        held = "more" if beyond else f"only {filled:,}"
        raise IdxError(f"{path}: its header states {stated:,} bytes of data, but it holds {held}")
    data.flags.writeable = False
    return data.reshape(shape)


def _fill(data: NDArray[np.uint8], stream: gzip.GzipFile) -> int:
    """Read bytes into `data` until it is full or the stream ends; give their number.

    In pieces, for gzip inflates all that was asked for once more beside it.
    """
    filled = 0
    while count := stream.readinto(data[filled : filled + _PIECE].data):
        filled += count
    return filled
