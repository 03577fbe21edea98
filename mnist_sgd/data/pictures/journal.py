"""Write-ahead log of an import, so that an interrupted one resumes where it stopped.

    journal         a line for each batch: [check, [record, ...]]
    journal-images  784 bytes for each usable picture of these lines, in their order

A line is written after its images, so a kill loses only the batch being written. The check, a
digest of the line's records and images, detects images that never reached the disk (after a power
failure) and writes of another process; the journal ends there.
"""

import json
import os
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from mnist_sgd.data.pictures.decoding import Record

_LINES = "journal"
_IMAGES = "journal-images"
_PIXELS = 28 * 28
_CHECK_BYTES = 8


class Journal:
    """The journal of one import; resumes the one that an earlier import left.

    Args:
        folder: of its files; no other process may write there.
        version: of the cache; lines of another version are dropped.

    Attributes:
        records: of the files read so far, by name.
        rows: the row of the image of each usable file, by name.

    Raises:
        OSError: a file cannot be read or written.
    """

    def __init__(self, folder: Path, version: int) -> None:
        self.folder = folder
        self.records: dict[str, Record] = {}
        self.rows: dict[str, int] = {}
        self._version = version
        self._count = 0

    def __enter__(self) -> Self:
        """Read the complete lines, truncate the rest, and open the files for appending."""
        self._lines = _open(self.folder / _LINES)
        self._images = _open(self.folder / _IMAGES)
        whole = sum(len(line) for line in iter(self._read_line, b""))
        self._lines.truncate(whole)
        self._images.truncate(self._count * _PIXELS)
        self._lines.seek(0, os.SEEK_END)
        self._images.seek(0, os.SEEK_END)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the files; they stay."""
        self._lines.close()
        self._images.close()

    def append(self, records: list[Record], images: NDArray[np.uint8]) -> None:
        """Log a batch.

        Args:
            records: of its files; those without a digest could not be read and are left out.
            images: uint8 `[n, 28, 28]`, of the usable ones in their order.
        """
        kept = [record for record in records if record.digest]
        pixels = images.tobytes()
        self._images.write(pixels)
        self._images.flush()
        text = json.dumps(kept)
        self._lines.write(f'["{self._check(text, pixels)}", {text}]\n'.encode())
        self._lines.flush()
        self._add(kept)

    def images(self) -> NDArray[np.uint8]:
        """Map all images so far, uint8 `[n, 28, 28]`."""
        if not self._count:
            return np.empty((0, 28, 28), np.uint8)
        mapped = np.memmap(self.folder / _IMAGES, np.uint8, "r", shape=(self._count, 28, 28))
        return mapped.view(np.ndarray)

    def _read_line(self) -> bytes:
        """Read and record the next line; empty at the end, or if the line is incomplete."""
        line = self._lines.readline()
        try:
            check, rows = json.loads(line)
            records = [Record(*row) for row in rows]
            pixels = self._images.read(_PIXELS * sum(not record.why for record in records))
            whole = line.endswith(b"\n") and check == self._check(json.dumps(rows), pixels)
        except (ValueError, TypeError, RecursionError):
            whole = False
        if not whole:
            return b""
        self._add(records)
        return line

    def _check(self, text: str, pixels: bytes) -> str:
        content = f"{self._version} {text}".encode() + pixels
        return blake2b(content, digest_size=_CHECK_BYTES).hexdigest()

    def _add(self, records: list[Record]) -> None:
        for record in records:
            self.records[record.name] = record
            if not record.why:
                self.rows[record.name] = self._count
                self._count += 1


def _open(path: Path) -> BinaryIO:
    """Open a file for reading and appending; create it if necessary."""
    path.touch()
    return path.open("rb+")
