"""Preprocessed pictures beside the folder that they come from, so that each is decoded once.

    .mnist_sgd/mnist/manifest.json            which files were read, and what came of each
    .mnist_sgd/mnist/0123...-images-idx3-ubyte  the preprocessed images, in the manifest's order
    .mnist_sgd/mnist/lock                     held by the one import that may write
    .mnist_sgd/mnist/journal*                 of an import that goes on, or was cut off

There is one such folder for each kind of preprocessing. A file is not opened again while all that a
listing tells of it is as in the manifest, see `unchanged`. The manifest is what counts: it takes
its name when it and the images that it names are whole, so that at every moment the cache is the
old one or the new one. Images have a name of their content, and those of the old manifest go when
the new one is there; whoever has mapped them keeps them. The manifest has a check of their bytes,
for which they are read as a whole when the cache is opened: 0.2 s for a million images that are in
the page cache, where their rows in the manifest take 2.8 s.

An import that is killed loses what its processes had in hand, a batch or two each. Of two at once
the second waits, and finds the work done.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from mnist_sgd._files import atomic_write
from mnist_sgd._lock import holding
from mnist_sgd._names import is_ignored, printable
from mnist_sgd.data.idx import IdxError, IdxWriter, read_idx
from mnist_sgd.data.pictures.decoding import Record, read_pictures
from mnist_sgd.data.pictures.folders import Listing
from mnist_sgd.data.pictures.journal import Journal
from mnist_sgd.data.pictures.unchanged import all_unchanged, as_listed, still_known

__all__ = ["Cache", "CacheError", "Contents", "cache_folder"]

_VERSION = 6
"""Of the manifest and of what preprocessing makes of a picture; another one is read anew."""

_MANIFEST = "manifest.json"
_LOCK = "lock"
_IMAGES = "images-idx3-ubyte"
_TYPES = [str, int, int, str, str, int, int, bool, bool, bool]
"""Of a record's values."""
_WRITTEN = 4096
"""Images that are gathered and written at once, 3 MB."""


class CacheError(ValueError):
    """Preprocessed pictures cannot be kept where they belong; the message says where and why."""


@dataclass(frozen=True)
class Contents:
    """What a cache holds.

    Attributes:
        records: of all files that were read, usable or not.
        images: uint8 `[n, 28, 28]`, of the usable ones in their order; mapped.
        images_name: the name of their file; "" if there is none.
        check: the CRC-32 of the images.
    """

    records: list[Record] = field(repr=False)
    images: NDArray[np.uint8] = field(repr=False)
    images_name: str = ""
    check: int = 0

    def rows(self) -> dict[str, int]:
        """The row of the image of each usable file."""
        usable = (record.name for record in self.records if not record.why)
        return {name: row for row, name in enumerate(usable)}


def cache_folder(folder: str | os.PathLike[str], cache: str | os.PathLike[str] | None) -> Path:
    """Where the preprocessed pictures of a folder are kept.

    Args:
        folder: of the pictures.
        cache: a folder for the caches of any number of folders, each told apart by its path; None
            for `.mnist_sgd` in the folder itself, which may be moved with it.

    Raises:
        ValueError: `cache` is, or lies in, the folder of the pictures, where it would be a class.
    """
    if cache is None:
        return Path(folder) / ".mnist_sgd"
    path = Path(folder).resolve()
    place = Path(cache).resolve()
    if place.is_relative_to(path) and not any(map(is_ignored, place.relative_to(path).parts)):
        raise ValueError(
            f"the cache {printable(repr(os.fspath(cache)))} lies in the folder of the pictures, "
            "where it would be taken for a class; without it they are kept in "
            f"{printable(os.fspath(folder))}/.mnist_sgd"
        )
    mark = blake2b(os.fsencode(path), digest_size=4).hexdigest()
    return Path(cache) / f"{path.name}-{mark}"


class Cache:
    """The preprocessed pictures of one folder by one kind of preprocessing.

    Args:
        folder: the cache's own.
        preprocessing: see `mnist_sgd_serve.preprocess`.
    """

    def __init__(self, folder: Path, preprocessing: str) -> None:
        self.folder = folder / preprocessing
        self.preprocessing = preprocessing

    def load(self) -> Contents:
        """What was kept: nothing without a cache, or with a damaged one or another version's.

        Another import may be at work meanwhile.
        """
        nothing = Contents([], np.empty((0, 28, 28), np.uint8))
        try:
            facts: Any = json.loads((self.folder / _MANIFEST).read_bytes())
            if [facts["version"], facts["preparation"]] != [_VERSION, self.preprocessing]:
                return nothing
            records = [_record(row) for row in facts["files"]]
            usable = sum(not record.why for record in records)
            images = read_idx(self.folder / facts["images"]) if usable else nothing.images
        except (OSError, IdxError, ValueError, TypeError, LookupError, RecursionError):
            return nothing
        if images.shape != (usable, 28, 28) or crc32(images.data) != facts.get("check"):
            return nothing
        return Contents(records, images, facts["images"] if usable else "", facts["check"])

    def update(
        self,
        listing: Listing,
        order: Callable[[Record], Any],
        *,
        workers: int = 1,
        on_progress: Callable[[int, int], None] | None = None,
        on_wait: Callable[[], None] | None = None,
    ) -> tuple[Contents, list[Record]]:
        """Read what is new or changed, and let go of what is no more.

        Classes that are not listed now, but are there, are kept as they were.

        Args:
            listing: of the folder.
            order: the key by which the records are sorted.
            workers: processes that decode, see `read_pictures`.
            on_progress: called with the number of files that are known and of all.
            on_wait: called if another import is at work, before this one waits for its end.

        Returns:
            What the cache holds now, and the records of files that could not be read at all, of
            which it remembers nothing.

        Raises:
            CacheError: the folder cannot be written to, and there is something to write.
            RuntimeError: one of the other processes was killed.
        """
        before = self.load()
        known = {record.name: record for record in before.records if listing.has(record.name)}
        if all_unchanged(known, listing):
            return before, []
        try:
            return self._update(listing, order, workers, on_progress, on_wait)
        except CacheError:
            if len(known) != len(listing.pictures) or len(still_known(known, listing)) < len(known):
                raise
            return before, []  # all that had to be written is what a listing tells now

    def _update(
        self,
        listing: Listing,
        order: Callable[[Record], Any],
        workers: int,
        on_progress: Callable[[int, int], None] | None,
        on_wait: Callable[[], None] | None,
    ) -> tuple[Contents, list[Record]]:
        with self._locked(on_wait), Journal(self.folder, _VERSION) as journal:
            before = self.load()  # another import may have ended meanwhile
            known = {record.name: record for record in before.records} | journal.records
            files = {each.name: each for each in listing.pictures}
            current = still_known(known, listing, on_progress)
            missing = [each for each in files.values() if each.name not in current]
            unreadable: list[Record] = []
            done = len(current)
            for found, images in read_pictures(
                listing.folder, missing, self.preprocessing, workers
            ):
                records = [as_listed(record, files[record.name]) for record in found]
                journal.append(records, images)
                current |= {record.name: record for record in records if record.digest}
                unreadable += [record for record in records if not record.digest]
                done += len(records)
                if on_progress:
                    on_progress(done, len(files))
            others = [record for record in before.records if listing.passes_over(record.name)]
            records = sorted([*others, *current.values()], key=order)
            return self._write(records, before, journal), unreadable

    @contextmanager
    def _locked(self, on_wait: Callable[[], None] | None) -> Iterator[None]:
        """Be the only one that writes, until the block or the process ends."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with holding(self.folder / _LOCK, on_wait):
                yield
        except OSError as error:
            raise CacheError(
                f"{printable(str(self.folder))}: preprocessed pictures cannot be kept here: "
                f"{error.strerror or error}"
            ) from error

    def _write(self, records: list[Record], before: Contents, journal: Journal) -> Contents:
        """Make these records and their images what the cache holds."""
        name, images, check = before.images_name, before.images, before.check
        if _usable(records) != _usable(before.records):
            name = self._write_images(records, before, journal)
            images = read_idx(self.folder / name) if name else images[:0]
            check = crc32(images.data)
        text = ",\n".join(json.dumps(record) for record in records)
        facts = {
            "version": _VERSION,
            "preparation": self.preprocessing,
            "images": name,
            "check": check,
        }
        head = json.dumps(facts | {"files": []})
        atomic_write(self.folder / _MANIFEST, f"{head[:-2]}\n{text}\n]}}\n".encode())
        for path in self.folder.iterdir():
            if path.name not in (_MANIFEST, _LOCK, name):
                path.unlink(missing_ok=True)
        return Contents(records, images, name, check)

    def _write_images(self, records: list[Record], before: Contents, journal: Journal) -> str:
        """Write the images of records in their order; the name of the file, "" without an image."""
        usable = _usable(records)
        if not usable:
            return ""
        name = f"{blake2b(json.dumps(usable).encode(), digest_size=8).hexdigest()}-{_IMAGES}"
        rows, old, new = before.rows(), len(before.images), {*_usable(journal.records.values())}
        sources = [
            old + journal.rows[file] if (file, digest) in new else rows[file]
            for file, digest in usable
        ]
        _gather(self.folder / name, before.images, journal.images(), np.array(sources))
        return name


def _record(row: list[Any]) -> Record:
    types = [type(value) for value in row]
    if types != _TYPES or "/" not in row[0]:
        raise TypeError("a row of the manifest is damaged")
    return Record(*row)


def _usable(records: Iterable[Record]) -> list[tuple[str, str]]:
    """The names and the digests of the usable files, which their images follow from."""
    return [(record.name, record.digest) for record in records if not record.why]


def _gather(
    path: Path, old: NDArray[np.uint8], new: NDArray[np.uint8], sources: NDArray[np.intp]
) -> None:
    """Write images as an IDX file: by their rows in `old`, or from there on in `new`."""
    with IdxWriter(path, (28, 28)) as out:
        for start in range(0, len(sources), _WRITTEN):
            rows = sources[start : start + _WRITTEN]
            images = np.empty((len(rows), 28, 28), np.uint8)
            from_old = rows < len(old)
            images[from_old] = old[rows[from_old]]
            images[~from_old] = new[rows[~from_old] - len(old)]
            out.append(images)
