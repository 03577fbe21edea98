"""Which files of a folder count as pictures, for `train`, `evaluate`, `pack` and `predict` alike.

Every file counts, in the folder and its subfolders, whatever its name: its content decides whether
it is a picture. Ignored are hidden names, what operating systems leave behind (see `_names`) and
output of this package (see `outputs`). Links are followed, and each folder is read once.
"""

import os
import stat
from typing import NamedTuple

from mnist_sgd._names import is_ignored
from mnist_sgd.data.pictures.outputs import is_output


class FileEntry(NamedTuple):
    """A file that counts, or something in its place that cannot be a picture.

    Attributes:
        name: its path relative to the folder, with slashes.
        size: in bytes.
        mtime: time of the last change of the content, in nanoseconds.
        problem: why it cannot be a picture, if that is known without reading it; else empty.
        ctime: time of the last change of content, name or permissions, in nanoseconds; on Windows
            of the creation.
        inode: its number in the file system; 0 if there is none, as on Windows.
    """

    name: str
    size: int
    mtime: int
    problem: str = ""
    ctime: int = 0
    inode: int = 0


def find_pictures(root: str, inside: str = "") -> list[FileEntry]:
    """Find the files that count, sorted by name.

    Args:
        root: the folder that names are relative to.
        inside: the subfolder to search, with slashes; empty for all of `root`.

    Raises:
        OSError: the folder to search cannot be read. For a subfolder that is a `problem`.
    """
    search = _Search(root, inside)
    search.visit(inside)
    while search.folders or search.links:
        folder = (search.folders or search.links).pop()
        try:
            search.visit(folder)
        except OSError as error:
            search.add_problem(folder, f"cannot be read: {error.strerror}")
    return sorted(search.found)


class _Search:
    """The files found so far, and the folders still to visit.

    Links come last, so that a folder is listed under its own name if it has one here. No link
    leads back to the searched folder or to those above it up to the root.
    """

    def __init__(self, root: str, inside: str) -> None:
        self.root = root
        self.found: list[FileEntry] = []
        self.folders: list[str] = []
        self.links: list[str] = []
        parts = inside.split("/") if inside else []
        above = ["/".join(parts[:count]) for count in range(len(parts))]
        self.visited = {_identity(os.stat(os.path.join(root, each))) for each in above}

    def visit(self, folder: str) -> None:
        """Add the entries of a folder, unless it was visited before."""
        path = os.path.join(self.root, folder)
        identity = _identity(os.stat(path))
        if identity in self.visited:
            return
        with os.scandir(path) as entries:
            self.visited.add(identity)
            for entry in entries:
                if not is_ignored(entry.name):
                    self._add(entry, f"{folder}/{entry.name}" if folder else entry.name)

    def add_problem(self, name: str, problem: str) -> None:
        """Add something that cannot be a picture."""
        self.found.append(FileEntry(name, 0, 0, problem))

    def _add(self, entry: "os.DirEntry[str]", name: str) -> None:
        try:
            status = entry.stat()
        except OSError as error:  # a broken link, or a loop of links
            self.add_problem(name, f"cannot be read: {error.strerror}")
            return
        if is_output(entry.path):
            return
        if stat.S_ISDIR(status.st_mode):
            (self.links if entry.is_symlink() else self.folders).append(name)
        elif stat.S_ISREG(status.st_mode):
            modified, changed = status.st_mtime_ns, status.st_ctime_ns
            self.found.append(
                FileEntry(name, status.st_size, modified, ctime=changed, inode=status.st_ino)
            )
        else:
            self.add_problem(name, "a special file, not a picture")


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
