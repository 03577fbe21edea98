"""Whether a file is still the one that was read.

Its size and the time of its last change (mtime) do not tell: an archive may give all of its files
one time, and BMP files of one shape have one size. So the inode is compared as well, and the time
when anything of the file was changed, its name and its permissions included (ctime). These also
differ where the content does not: after the file was copied, moved, linked or given other
permissions. Then the file is read once more, and its digest decides; it is not decoded.
"""

from collections.abc import Callable, Mapping

from mnist_sgd.data.pictures.decoding import Record, read_content
from mnist_sgd.data.pictures.folders import Listing
from mnist_sgd.data.pictures.listing import Found

__all__ = ["all_unchanged", "as_listed", "still_known"]


def all_unchanged(known: Mapping[str, Record], listing: Listing) -> bool:
    """Whether the records are those of the listed files, and all that the listing tells holds.

    Args:
        known: of what was read, by name.
        listing: of the same folder, now.
    """
    files = listing.pictures
    return len(files) == len(known) and all(
        _is_as_listed(known.get(one.name), one) for one in files
    )


def still_known(
    known: Mapping[str, Record],
    listing: Listing,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Record]:
    """The records, by name, of the listed files that have the content they had, as listed now.

    Args:
        known: of what was read, by name.
        listing: of the same folder, now.
        on_progress: called after each file that had to be read, with the number of files that are
            known so far and of all.
    """
    found = {}
    files = listing.pictures
    for each in files:
        record = known.get(each.name)
        if record is None or (record.size, record.mtime) != (each.size, each.mtime):
            continue
        if _is_as_listed(record, each):
            found[each.name] = record
        elif _has_same_content(listing.folder, record):
            found[each.name] = as_listed(record, each)
            if on_progress:
                on_progress(len(found), len(files))
    return found


def as_listed(record: Record, found: Found) -> Record:
    """A record with the ctime and the inode of a listing.

    They are always taken from listings, because an open file may tell others: on Windows, where a
    listing has no inodes, and on overlays of file systems.
    """
    return record._replace(ctime=found.ctime, inode=found.inode)


def _is_as_listed(record: Record | None, found: Found) -> bool:
    if record is None:
        return False
    then = (record.size, record.mtime, record.ctime, record.inode)
    return then == (found.size, found.mtime, found.ctime, found.inode)


def _has_same_content(folder: str, record: Record) -> bool:
    try:
        return read_content(folder, record.name).digest == record.digest
    except OSError:
        return False
