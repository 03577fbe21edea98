"""Pictures read, told apart by their content and preprocessed, by several processes.

Pictures are decoded in processes, not threads. Pillow releases the GIL while it decodes, and two
threads take photographs 1.4 to 2 times as fast as one; but the preprocessing of a small picture is
many short calls of NumPy, which hold it: 0.8 to 1.05 times, for pictures of 28x28 and 280x280.

This process is one of them and begins at once, while the others start: a new process needs
0.2 s, in which a thousand small pictures are done.
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

from mnist_sgd.data.pictures.drawn import looks_drawn
from mnist_sgd.data.pictures.listing import Found
from mnist_sgd.data.pictures.workers import Workers, available
from mnist_sgd_serve.images.decode import OWN_BYTES, decode_own
from mnist_sgd_serve.images.errors import BlankImage, ImageError
from mnist_sgd_serve.images.preprocessing import preprocess

__all__ = ["Content", "Outcome", "Record", "read_content", "read_pictures"]

BATCH_FILES = 64
BATCH_BYTES = 2**20
"""What a process takes at once, at most: enough to hide what the exchange costs, little enough that
an interrupt does not wait long for photographs."""

AHEAD = 2
"""Batches that wait for each of the other processes, the one that it has begun included."""

DIGEST_BYTES = 16


class Record(NamedTuple):
    """What is known of a file that was read.

    Attributes:
        name: its path from the folder on, with slashes.
        size: in bytes, as it was read.
        mtime: when it was last changed, in nanoseconds, as it was read.
        digest: the BLAKE2b digest of its bytes, 32 hexadecimal digits; empty where it could not be
            read, which may be otherwise the next time.
        why: why it is no usable picture; empty where it is one.
        ctime: as a listing of its folder told it, see `mnist_sgd.data.pictures.listing.Found`.
        inode: likewise.
        refused: whether it is a picture in which the preprocessing finds nothing to show.
        drawn: whether it looks like a drawn character; known where it was preprocessed by `mnist`.
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
    """A file's bytes, at most one more than a picture may have, with their digest.

    Attributes:
        status: of the file, before it was read.
        content: the bytes.
        digest: their BLAKE2b digest, 32 hexadecimal digits.
    """

    status: os.stat_result
    content: bytes
    digest: str


Outcome: TypeAlias = tuple[list[Record], NDArray[np.uint8]]
"""The records of some files, and the preprocessed images uint8 `[n, 28, 28]` of the usable ones."""


def read_pictures(
    folder: str, files: Sequence[Found], preprocessing: str, workers: int
) -> Generator[Outcome]:
    """Read files and preprocess them, in any order, a batch at a time.

    Args:
        folder: the names in `files` begin there.
        files: what to read.
        preprocessing: see `mnist_sgd_serve.preprocess`.
        workers: processes that decode, this one included; a frozen program decodes alone. The
            others do not import the program that calls this, see `mnist_sgd.data.pictures.workers`.

    Raises:
        RuntimeError: one of the other processes cannot be started, or was killed.
    """
    batches = list(_batches(files))
    read = partial(_read_batch, folder, preprocessing)
    others = min(workers, len(batches)) - 1 if available() else 0
    yield from _shared_out(batches, read, others) if others > 0 else map(read, batches)


def _batches(files: Sequence[Found]) -> Iterator[list[str]]:
    batch: list[str] = []
    held = 0
    for each in files:
        if len(batch) == BATCH_FILES or (batch and held + each.size > BATCH_BYTES):
            yield batch
            batch, held = [], 0
        batch.append(each.name)
        held += each.size
    if batch:
        yield batch


def _shared_out(
    batches: list[list[str]], read: Callable[[list[str]], Outcome], others: int
) -> Generator[Outcome]:
    """Give batches to other processes as fast as they take them, and do the rest here."""
    with Workers(others, read) as pool:
        waiting: set[Future[Outcome]] = set()
        for batch in batches:
            done = {future for future in waiting if future.done()}
            waiting -= done
            yield from (future.result() for future in done)
            if len(waiting) < AHEAD * others:
                waiting.add(pool.submit(batch))
            else:
                yield read(batch)
        yield from (future.result() for future in as_completed(waiting))


def _read_batch(folder: str, preprocessing: str, names: list[str]) -> Outcome:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's of TIFF: what is wrong is in the record
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
    """Preprocess a file as `predict` would, whatever it is."""
    try:
        status, content, digest = read_content(folder, name)
    except OSError as error:
        return Record(name, 0, 0, "", f"it cannot be read: {error.strerror}"), None
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
