"""Cache of preprocessed pictures next to their folder, so that each picture is decoded once.

    .mnist_sgd/mnist/manifest.json            which files were read, and the result of each
    .mnist_sgd/mnist/0123...-images-idx3-ubyte  the preprocessed images, in the manifest's order
    .mnist_sgd/mnist/lock                     held by the one import that may write
    .mnist_sgd/mnist/journal*                 of an import that is running or was interrupted

There is one such folder for each preprocessing. A file is not opened again while its listing is as
in the manifest, see `change_detection`. The manifest is replaced atomically after the images that
it names are complete, so at any moment the cache is the old one or the new one. Image files are
named after their content; the old one is removed last, and whoever has mapped it keeps it. The
manifest has a CRC of the images, which is checked when the cache is opened.

An import that is killed loses a batch or two per process. Of two at once the second waits, and
finds the work done.
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
from mnist_sgd.data.pictures.change_detection import all_unchanged, as_listed, unchanged_records
from mnist_sgd.data.pictures.decoding import Record, read_pictures
from mnist_sgd.data.pictures.folders import Listing
from mnist_sgd.data.pictures.journal import Journal

_VERSION = 6
"""Of the manifest and of the preprocessing; caches of another version are rebuilt."""

_MANIFEST = "manifest.json"
_LOCK = "lock"
_IMAGES = "images-idx3-ubyte"
_TYPES = [str, int, int, str, str, int, int, bool, bool, bool]
"""Types of a record's values."""
_IMAGES_PER_WRITE = 4096


class CacheError(ValueError):
    """The preprocessed pictures cannot be written; the message says where and why."""


@dataclass(frozen=True)
class CacheContents:
    """What a cache holds.

    Attributes:
        records: of all files that were read, usable or not.
        images: uint8 `[n, 28, 28]`, of the usable ones in their order; memory-mapped.
        images_name: the name of their file; "" if there is none.
        check: the CRC-32 of the images.
    """

    records: list[Record] = field(repr=False)
    images: NDArray[np.uint8] = field(repr=False)
    images_name: str = ""
    check: int = 0

    def rows(self) -> dict[str, int]:
        """Map the name of each usable file to the row of its image."""
        usable = (record.name for record in self.records if not record.why)
        return {name: row for row, name in enumerate(usable)}


def cache_folder(folder: str | os.PathLike[str], cache: str | os.PathLike[str] | None) -> Path:
    """Return where the preprocessed pictures of a folder are kept.

    Args:
        folder: of the pictures.
        cache: a folder for the caches of any number of folders, told apart by their paths; None
            for `.mnist_sgd` in the folder itself, which moves with it.

    Raises:
        ValueError: `cache` is or lies in the folder of the pictures, where it would be a class.
    """
    if cache is None:
        return Path(folder) / ".mnist_sgd"
    path = Path(folder).resolve()
    place = Path(cache).resolve()
    if place.is_relative_to(path) and not any(map(is_ignored, place.relative_to(path).parts)):
        raise ValueError(
            f"the cache {printable(repr(os.fspath(cache)))} lies among the pictures, where it "
            "would count as a class; choose another folder, or leave it out to use "
            f"{printable(os.fspath(folder))}/.mnist_sgd"
        )
    digest = blake2b(os.fsencode(path), digest_size=4).hexdigest()
    return Path(cache) / f"{path.name}-{digest}"


class Cache:
    """The preprocessed pictures of one folder with one preprocessing.

    Args:
        folder: of the caches, see `cache_folder`.
        preprocessing: see `mnist_sgd_serve.preprocess`.
    """

    def __init__(self, folder: Path, preprocessing: str) -> None:
        self.folder = folder / preprocessing
        self.preprocessing = preprocessing

    def load(self) -> CacheContents:
        """Read the cache; empty if there is none, or one that is damaged or of another version.

        Needs no lock: another import may be running.
        """
        empty = CacheContents([], np.empty((0, 28, 28), np.uint8))
        try:
            facts: Any = json.loads((self.folder / _MANIFEST).read_bytes())
            if [facts["version"], facts["preparation"]] != [_VERSION, self.preprocessing]:
                return empty
            records = [_record(row) for row in facts["files"]]
            usable = sum(not record.why for record in records)
            images = read_idx(self.folder / facts["images"]) if usable else empty.images
        except (OSError, IdxError, ValueError, TypeError, LookupError, RecursionError):
            return empty
        if images.shape != (usable, 28, 28) or crc32(images.data) != facts.get("check"):
            return empty
        return CacheContents(records, images, facts["images"] if usable else "", facts["check"])

    def update(
        self,
        listing: Listing,
        sort_key: Callable[[Record], Any],
        *,
        workers: int = 1,
        on_progress: Callable[[int, int], None] | None = None,
        on_wait: Callable[[], None] | None = None,
    ) -> tuple[CacheContents, list[Record]]:
        """Read new and changed files, and drop files that are gone.

        Classes that are there but not selected now are kept.

        Args:
            listing: of the folder.
            sort_key: of the records.
            workers: processes that decode, see `read_pictures`.
            on_progress: called with the number of files known so far and the total.
            on_wait: called before waiting for another import of the same folder.

        Returns:
            The new contents, and the records of files that could not be read, which are not kept.

        Raises:
            CacheError: something must be written, but the folder is not writable.
            RuntimeError: another process was killed.
        """
        before = self.load()
        known = {record.name: record for record in before.records if listing.has(record.name)}
        if all_unchanged(known, listing):
            return before, []
        try:
            return self._update(listing, sort_key, workers, on_progress, on_wait)
        except CacheError:
            all_known = len(known) == len(listing.pictures)
            if not all_known or len(unchanged_records(known, listing)) < len(known):
                raise
            return before, []  # only ctimes and inodes are out of date

    def _update(
        self,
        listing: Listing,
        sort_key: Callable[[Record], Any],
        workers: int,
        on_progress: Callable[[int, int], None] | None,
        on_wait: Callable[[], None] | None,
    ) -> tuple[CacheContents, list[Record]]:
        with self._locked(on_wait), Journal(self.folder, _VERSION) as journal:
            before = self.load()  # another import may have finished meanwhile
            known = {record.name: record for record in before.records} | journal.records
            files = {each.name: each for each in listing.pictures}
            current = unchanged_records(known, listing, on_progress)
            missing = [each for each in files.values() if each.name not in current]
            unreadable: list[Record] = []
            done = len(current)
            for batch, images in read_pictures(
                listing.folder, missing, self.preprocessing, workers
            ):
                records = [as_listed(record, files[record.name]) for record in batch]
                journal.append(records, images)
                current |= {record.name: record for record in records if record.digest}
                unreadable += [record for record in records if not record.digest]
                done += len(records)
                if on_progress:
                    on_progress(done, len(files))
            others = [record for record in before.records if listing.is_other_class(record.name)]
            records = sorted([*others, *current.values()], key=sort_key)
            return self._write(records, before, journal), unreadable

    @contextmanager
    def _locked(self, on_wait: Callable[[], None] | None) -> Iterator[None]:
        """Hold the lock for writing until the block or the process ends."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with holding(self.folder / _LOCK, on_wait):
                yield
        except OSError as error:
            raise CacheError(
                f"{printable(str(self.folder))}: cannot cache the preprocessed pictures here: "
                f"{error.strerror or error}"
            ) from error

    def _write(
        self, records: list[Record], before: CacheContents, journal: Journal
    ) -> CacheContents:
        """Replace the contents of the cache."""
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
        return CacheContents(records, images, name, check)

    def _write_images(self, records: list[Record], before: CacheContents, journal: Journal) -> str:
        """Write the images of the usable records; return the file's name, "" if there are none."""
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
    """Return the names and digests of the usable files, which determine their images."""
    return [(record.name, record.digest) for record in records if not record.why]


def _gather(
    path: Path, old: NDArray[np.uint8], new: NDArray[np.uint8], sources: NDArray[np.intp]
) -> None:
    """Write an IDX file of rows of `old` followed by `new`, without concatenating them."""
    with IdxWriter(path, (28, 28)) as out:
        for start in range(0, len(sources), _IMAGES_PER_WRITE):
            rows = sources[start : start + _IMAGES_PER_WRITE]
            images = np.empty((len(rows), 28, 28), np.uint8)
            from_old = rows < len(old)
            images[from_old] = old[rows[from_old]]
            images[~from_old] = new[rows[~from_old] - len(old)]
            out.append(images)
