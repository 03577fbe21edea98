"""Which files of a folder count as pictures, for `train`, `evaluate`, `pack` and `predict` alike.

Every file counts, in the folder and in the folders in it, whatever its name: only its content tells
what it is, and one that is no picture is named. Not so hidden names, what operating systems leave
in folders (see `_names`), and what this package writes (see `_outputs`). Links are followed, and
each folder is read once, wherever links lead to it. Listing costs a `stat` a file, about 5 us.
"""

import os
import stat
from typing import NamedTuple

from mnist_sgd._names import is_ignored
from mnist_sgd.data.pictures.outputs import is_output

__all__ = ["Found", "find_pictures"]


class Found(NamedTuple):
    """A file that counts, or a name in whose place there can be no picture.

    Attributes:
        name: its path from the folder on, with slashes.
        size: in bytes.
        mtime: when it was last changed, in nanoseconds.
        problem: why it can be no picture, where that is known without reading it; else empty.
        files: how many files it is: 1.
        ctime: when anything of it was last changed, its name and permissions included, in
            nanoseconds; on Windows when it was made.
        inode: its number in the file system; 0 where there is none, as on Windows.
    """

    name: str
    size: int
    mtime: int
    problem: str = ""
    files: int = 1
    ctime: int = 0
    inode: int = 0


def find_pictures(root: str, inside: str = "") -> list[Found]:
    """Find the files that count.

    Args:
        root: the folder from which names begin.
        inside: the folder in it that is searched, with slashes; empty for all of it.

    Returns:
        The files, and what was found in the place of some, sorted by name.

    Raises:
        OSError: the folder that is searched cannot be read. Of one in it, that is a problem.
    """
    search = _Search(root, inside)
    search.look_into(inside)
    while search.folders or search.links:
        place = (search.folders or search.links).pop()
        try:
            search.look_into(place)
        except OSError as error:
            search.found.append(Found(place, 0, 0, f"it cannot be read: {error.strerror}"))
    return sorted(search.found)


class _Search:
    """What was found so far, and the folders that are still to be looked into.

    Those that links lead to come last, so that what is read once has its own name, if it has one
    here. No link leads back to the folder that is searched, or to those above it up to the root.
    """

    def __init__(self, root: str, inside: str) -> None:
        self.root = root
        self.found: list[Found] = []
        self.folders: list[str] = []
        self.links: list[str] = []
        parts = inside.split("/") if inside else []
        above = ["/".join(parts[:count]) for count in range(len(parts))]
        self.entered = {_identity(os.stat(os.path.join(root, each))) for each in above}

    def look_into(self, place: str) -> None:
        """Take up what the folder `place` holds, unless it was entered before.

        Raises:
            OSError: it cannot be read.
        """
        path = os.path.join(self.root, place)
        identity = _identity(os.stat(path))
        if identity in self.entered:
            return
        with os.scandir(path) as entries:
            self.entered.add(identity)
            for entry in entries:
                if not is_ignored(entry.name):
                    self._take_up(entry, f"{place}/{entry.name}" if place else entry.name)

    def _take_up(self, entry: "os.DirEntry[str]", name: str) -> None:
        try:
            status = entry.stat()
        except OSError as error:  # a link that leads nowhere or round in a circle
            self.found.append(Found(name, 0, 0, f"it cannot be read: {error.strerror}"))
            return
        if is_output(entry.path):
            return
        if stat.S_ISDIR(status.st_mode):
            (self.links if entry.is_symlink() else self.folders).append(name)
        elif stat.S_ISREG(status.st_mode):
            changed, touched = status.st_mtime_ns, status.st_ctime_ns
            self.found.append(
                Found(name, status.st_size, changed, ctime=touched, inode=status.st_ino)
            )
        else:
            self.found.append(Found(name, 0, 0, "it is a special file, not a picture"))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
