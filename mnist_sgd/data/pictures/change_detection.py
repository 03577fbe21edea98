"""Tell whether a file is still the one that was read.

Size and mtime are not enough: archives give all their files one time, and BMP files of one shape
have one size. So inode and ctime are compared as well. These also change without the content: when
a file is copied, moved, linked or given other permissions. Then it is read once more and its digest
decides; it is not decoded.
"""

from collections.abc import Callable, Mapping

from mnist_sgd.data.pictures.decoding import Record, read_content
from mnist_sgd.data.pictures.file_entries import FileEntry
from mnist_sgd.data.pictures.folders import Listing


def all_unchanged(known: Mapping[str, Record], listing: Listing) -> bool:
    """Tell whether the records, by name, are those of the listed files, all as listed now."""
    files = listing.pictures
    return len(files) == len(known) and all(_is_as_listed(known.get(f.name), f) for f in files)


def unchanged_records(
    known: Mapping[str, Record],
    listing: Listing,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Record]:
    """Return the records, by name, of the listed files whose content has not changed.

    Args:
        known: the records of files read earlier, by name.
        listing: of the same folder, now.
        on_progress: called after each file that had to be read, with the number of known files so
            far and the total.
    """
    unchanged = {}
    files = listing.pictures
    for entry in files:
        record = known.get(entry.name)
        if record is None or (record.size, record.mtime) != (entry.size, entry.mtime):
            continue
        if _is_as_listed(record, entry):
            unchanged[entry.name] = record
        elif _has_same_content(listing.folder, record):
            unchanged[entry.name] = as_listed(record, entry)
            if on_progress:
                on_progress(len(unchanged), len(files))
    return unchanged


def as_listed(record: Record, entry: FileEntry) -> Record:
    """Return a record with the ctime and the inode of a listing.

    They always come from listings, because an open file may report others: on Windows, where a
    listing has no inodes, and on overlay file systems.
    """
    return record._replace(ctime=entry.ctime, inode=entry.inode)


def _is_as_listed(record: Record | None, entry: FileEntry) -> bool:
    if record is None:
        return False
    before = (record.size, record.mtime, record.ctime, record.inode)
    return before == (entry.size, entry.mtime, entry.ctime, entry.inode)


def _has_same_content(folder: str, record: Record) -> bool:
    try:
        return read_content(folder, record.name).digest == record.digest
    except OSError:
        return False
