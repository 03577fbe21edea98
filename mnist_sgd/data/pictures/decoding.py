"""Read, hash and preprocess pictures in several processes.

Processes, not threads: the preprocessing of a small picture is many short NumPy calls, which hold
the GIL. This process takes part and starts at once, while the others are still starting.
"""

import os
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, as_completed
from functools import partial
from hashlib import blake2b
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mnist_sgd.data.pictures.drawn_characters import looks_drawn
from mnist_sgd.data.pictures.file_entries import FileEntry
from mnist_sgd.data.pictures.workers import Workers, available
from mnist_sgd_serve.images.decode import OWN_BYTES, decode_own
from mnist_sgd_serve.images.errors import BlankImage, ImageError
from mnist_sgd_serve.images.preprocessing import preprocess

BATCH_FILES = 64
BATCH_BYTES = 2**20
"""Limits of a batch: large enough to hide the cost of sending it, small enough for an interrupt not
to wait long for photographs."""

PREFETCH = 2
"""Batches queued for each other process, including the one it works on."""

DIGEST_BYTES = 16


class Record(NamedTuple):
    """What is known of a file that was read.

    Attributes:
        name: its path relative to the folder, with slashes.
        size: in bytes, when it was read.
        mtime: in nanoseconds, when it was read.
        digest: BLAKE2b digest of its bytes, 32 hexadecimal digits; empty if it could not be read,
            which may succeed the next time.
        why: why it is not a usable picture; empty if it is.
        ctime: from the listing of its folder, see `FileEntry`.
        inode: from the listing.
        refused: whether it is a picture that the preprocessing refused.
        drawn: whether it looks like a drawn character; known only for `mnist`.
        blank: whether it was refused, and every other preprocessing would refuse it too.
    """

    name: str
    size: int
    mtime: int
    digest: str
    why: str
    ctime: int = 0
    inode: int = 0
    refused: bool = False
    drawn: bool = False
    blank: bool = False


class Content(NamedTuple):
    """The bytes of a file, at most one more than a picture may have.

    Attributes:
        status: of the file, before it was read.
        content: the bytes.
        digest: their BLAKE2b digest, 32 hexadecimal digits.
    """

    status: os.stat_result
    content: bytes
    digest: str


BatchResult: TypeAlias = tuple[list[Record], NDArray[np.uint8]]
"""Records of some files, and the preprocessed images uint8 `[n, 28, 28]` of the usable ones."""


def read_pictures(
    folder: str, files: Sequence[FileEntry], preprocessing: str, workers: int
) -> Generator[BatchResult]:
    """Read and preprocess files; batches come in any order.

    Args:
        folder: names in `files` are relative to it.
        files: what to read.
        preprocessing: see `mnist_sgd_serve.preprocess`.
        workers: processes, this one included; a frozen program has only this one.

    Raises:
        RuntimeError: another process cannot be started, or was killed.
    """
    batches = list(_batches(files))
    read = partial(_read_batch, folder, preprocessing)
    others = min(workers, len(batches)) - 1 if available() else 0
    yield from _map_in_processes(read, batches, others) if others > 0 else map(read, batches)


def _batches(files: Sequence[FileEntry]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for each in files:
        if len(batch) == BATCH_FILES or (batch and size + each.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(each.name)
        size += each.size
    if batch:
        yield batch


def _map_in_processes(
    read: Callable[[list[str]], BatchResult], batches: list[list[str]], others: int
) -> Generator[BatchResult]:
    """Send batches to the other processes as fast as they take them, and read the rest here."""
    with Workers(others, read) as pool:
        waiting: set[Future[BatchResult]] = set()
        for batch in batches:
            done = {future for future in waiting if future.done()}
            waiting -= done
            yield from (future.result() for future in done)
            if len(waiting) < PREFETCH * others:
                waiting.add(pool.submit(batch))
            else:
                yield read(batch)
        yield from (future.result() for future in as_completed(waiting))


def _read_batch(folder: str, preprocessing: str, names: list[str]) -> BatchResult:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about TIFF tags; errors are in the record
        read = [_read_file(folder, name, preprocessing) for name in names]
    images = [image for _, image in read if image is not None]
    stacked = np.stack(images) if images else np.empty((0, 28, 28), np.uint8)
    return [record for record, _ in read], stacked


def read_content(folder: str, name: str) -> Content:
    """Read a file.

    Raises:
        OSError: it cannot be read.
    """
    with open(os.path.join(folder, name), "rb") as file:
        status = os.fstat(file.fileno())
        content = file.read(OWN_BYTES + 1)
    return Content(status, content, blake2b(content, digest_size=DIGEST_BYTES).hexdigest())


def _read_file(
    folder: str, name: str, preprocessing: str
) -> tuple[Record, NDArray[np.uint8] | None]:
    """Preprocess a file as `predict` would; any problem goes into the record."""
    try:
        status, content, digest = read_content(folder, name)
    except OSError as error:
        return Record(name, 0, 0, "", f"cannot be read: {error.strerror}"), None
    record = Record(name, status.st_size, status.st_mtime_ns, digest, "")
    picture = None
    try:
        picture = decode_own(content)
        image = preprocess(picture, preprocessing).image
        drawn = preprocessing == "mnist" and looks_drawn(image, picture)
        return record._replace(drawn=drawn), image
    except ImageError as error:
        refused = isinstance(error, BlankImage)
        blank = refused and (picture is None or picture.min() == picture.max())
        return record._replace(why=str(error), refused=refused, blank=bool(blank)), None
