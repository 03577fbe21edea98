"""IDX files, the format of the MNIST database: read as memory maps, written as a stream.

A plain file is mapped, so opening it costs microseconds and no memory whatever its size; its
pages are read when they are used. A gzipped one, known by its content and not by its name, is
inflated into memory: its header first, then the bytes which the header states and no more, so a
file cannot make the reader hold more than it announces. A writer takes items as they come, holds
none of them, and writes their number into the header at the end. Only unsigned bytes are read and
written.

A header is two zero bytes, a code for the type of the items, the number of dimensions, and each
dimension as a big-endian unsigned 32-bit number (http://yann.lecun.com/exdb/mnist/).
"""

import gzip
import math
import mmap
import os
import shutil
import stat
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from mnist_sgd._files import atomic_path
from mnist_sgd._names import printable

_GZIP_MAGIC = b"\x1f\x8b"
_UINT8 = 0x08
_ITEM_SIZES = {_UINT8: 1, 0x09: 1, 0x0B: 2, 0x0C: 4, 0x0D: 4, 0x0E: 8}
_OTHER_FORMATS = {
    _GZIP_MAGIC: "gzip data",
    b"\x89P": "a PNG image",
    b"\xff\xd8": "a JPEG image",
    b"PK": "a zip archive",
}
_MOST_DIMENSIONS = 4
_LONGEST_HEADER = 4 + 4 * _MOST_DIMENSIONS
_PIECE = 2**20
# No deflate stream grows by more (zlib's technical notes, https://zlib.net/zlib_tech.html).
_DEFLATE_RATIO = 1032
_INFLATED_PIECE = 2**16


class IdxError(ValueError):
    """A file is not an IDX file that can be used; the message names it and says why."""

    def __init__(self, text: str) -> None:
        super().__init__(printable(text))


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


class IdxWriter:
    """An IDX file that is written as a stream, however long it grows.

        with IdxWriter("images-idx3-ubyte", (28, 28)) as out:
            for batch in batches:
                out.append(batch)

    The file takes its name when the block ends, whole; after an exception in it there is no file,
    or the older one as it was. Items go to the file as they come: what is held beside them is a
    copy of a megabyte or of one item, whichever is more. If the name ends in .gz, they first take
    their full size in an unnamed file beside it and are deflated at the end, because the header,
    with which the gzip stream begins, states their number.

    Args:
        path: the file to write or replace.
        item_shape: the shape of one item, 0 to 3 dimensions, each from 1 to 2**32 - 1; `()` is
            that of a label.

    Raises:
        IdxError: the shape is another; or, at the end of the block, there are no items, or one is
            incomplete because its writing had failed.
        OSError: the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], item_shape: tuple[int, ...] = ()) -> None:
        self.path = Path(path)
        self.item_shape = tuple(item_shape)
        self._count = 0
        self._file: IO[bytes] | None = None
        if len(item_shape) >= _MOST_DIMENSIONS or not all(1 <= n < 2**32 for n in item_shape):
            raise IdxError(
                f"{self.path}: an item must have 0 to {_MOST_DIMENSIONS - 1} dimensions, "
                f"each 1 to 2**32 - 1, got {list(item_shape)}"
            )

    def __len__(self) -> int:
        """Count the items so far."""
        return self._count

    def __enter__(self) -> Self:
        """Open a file beside the final one."""
        self._count = 0
        self._opened = self._open()
        self._file = self._opened.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write the header and give the file its name, or after an exception remove it."""
        self._file = None
        self._opened.__exit__(kind, error, traceback)

    def append(self, items: NDArray[np.uint8]) -> None:
        """Write one item, or any number of them along a first axis.

        Args:
            items: uint8 `[*item_shape]` or `[n, *item_shape]`, of any layout in memory.

        Raises:
            IdxError: they are of another type or shape, or with them there are more than
                2**32 - 1. Nothing is written then.
            OSError: they cannot be written.
            RuntimeError: this is not inside the `with` block.
        """
        if self._file is None:
            raise RuntimeError(f"{self.path}: an IdxWriter takes items inside its with block only")
        many = items[np.newaxis] if items.shape == self.item_shape else items
        if items.dtype != np.uint8 or many.shape[1:] != self.item_shape:
            many_shape = ", ".join(["n", *map(str, self.item_shape)])
            raise IdxError(
                f"{self.path}: items must be uint8 {list(self.item_shape)} or [{many_shape}], "
                f"got {items.dtype} {list(items.shape)}"
            )
        if len(many) == 0:
            return
        count = self._count + len(many)
        _header(self.path, (count, *self.item_shape))
        step = max(1, _PIECE // math.prod(self.item_shape))
        for start in range(0, len(many), step):
            self._file.write(np.ascontiguousarray(many[start : start + step]).data)
        self._count = count

    @contextmanager
    def _open(self) -> Iterator[IO[bytes]]:
        """Give a file for the items, which afterwards becomes the one of the name `path`."""
        packed = self.path.suffix == ".gz"
        with (
            atomic_path(self.path) as temporary,
            temporary.open("wb") as final,
            TemporaryFile(dir=self.path.parent) if packed else nullcontext(final) as file,
        ):
            file.write(bytes(4 + 4 * (1 + len(self.item_shape))))
            yield file
            self._finish(file)
            if packed:
                file.seek(0)
                with _deflated(final) as out:
                    shutil.copyfileobj(file, out, _PIECE)

    def _finish(self, file: IO[bytes]) -> None:
        """Write the header over the zeros that hold its place."""
        shape = (self._count, *self.item_shape)
        header = _header(self.path, shape)
        if file.tell() != len(header) + math.prod(shape):
            raise IdxError(f"{self.path}: an item was not written whole, so the file is not kept")
        file.seek(0)
        file.write(header)


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
    if array.dtype != np.uint8 or not 1 <= array.ndim <= _MOST_DIMENSIONS:
        raise IdxError(
            f"{os.fspath(path)}: an IDX file is written from uint8 in 1 to {_MOST_DIMENSIONS} "
            f"dimensions, got {array.dtype} in {array.ndim}"
        )
    with IdxWriter(path, array.shape[1:]) as out:
        out.append(array)


def _header(path: Path, shape: tuple[int, ...]) -> bytes:
    """Give the header of a file of unsigned bytes in this shape."""
    if not all(1 <= size < 2**32 for size in shape):
        raise IdxError(f"{path}: each dimension must be 1 to 2**32 - 1, got {list(shape)}")
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, _UINT8, len(shape), *shape)


def _deflated(file: BinaryIO) -> gzip.GzipFile:
    """Open a gzip stream into `file` that records neither a name nor a time."""
    return gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=file, mtime=0)


def _parsed(path: Path, head: bytes) -> tuple[tuple[int, ...], int]:
    """Parse a file's first bytes into the shape of its data and the offset where they begin."""
    _check_prefix(path, head)
    item_type, dimensions = head[2], head[3]
    offset = 4 + 4 * dimensions
    if len(head) < offset:
        raise IdxError(f"{path}: its header ends after {len(head)} of {offset} bytes")
    shape = struct.unpack_from(f">{dimensions}I", head, 4)
    if 0 in shape:
        raise IdxError(f"{path}: it holds nothing: dimension {shape.index(0)} is 0")
    if math.prod(shape) * _ITEM_SIZES[item_type] > sys.maxsize:
        stated = " x ".join(map(str, shape))
        raise IdxError(f"{path}: its header states {stated} items, more than any file can hold")
    if item_type != _UINT8:
        raise IdxError(
            f"{path}: its items are of IDX type 0x{item_type:02X}, "
            f"only unsigned bytes, type 0x{_UINT8:02X}, are read"
        )
    return shape, offset


def _check_prefix(path: Path, head: bytes) -> None:
    """Check the first four bytes: two zeros, the type of the items, the number of dimensions."""
    if len(head) < 4:
        raise IdxError(
            f"{path}: its header ends after {len(head)} bytes, that of an IDX file has 8 or more"
        )
    if head[:2] != b"\0\0":
        known = _OTHER_FORMATS.get(head[:2])
        guess = f"; it looks like {known}" if known else ""
        start = head[:2].hex(" ").upper()
        raise IdxError(f"{path}: it starts with the bytes {start}, an IDX file with 00 00{guess}")
    if head[2] not in _ITEM_SIZES:
        raise IdxError(
            f"{path}: its type code is 0x{head[2]:02X}, "
            "an IDX file has 0x08, 0x09, 0x0B, 0x0C, 0x0D or 0x0E"
        )
    if not 1 <= head[3] <= _MOST_DIMENSIONS:
        raise IdxError(
            f"{path}: its header states {head[3]} dimensions, 1 to {_MOST_DIMENSIONS} are read"
        )


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
    while count := stream.readinto(data[filled : filled + _INFLATED_PIECE].data):
        filled += count
    return filled
