"""What a folder of pictures holds, before any of them is read.

    FOLDER/train/three/*    FOLDER/valid/three/*      parts: as the user shared them out
    FOLDER/train/seven/*    FOLDER/valid/seven/*      (what else FOLDER holds is not looked at)

    FOLDER/three/*          FOLDER/seven/*            or classes alone

The names of the folders are those of the classes. Names that begin with a dot are passed over:
systems leave them everywhere, and the cache of prepared pictures is one. Listing costs a `stat` a
file, about 5 us.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Found", "Listing", "UnusableFile", "holds_folders", "list_folder"]

PARTS = ("train", "valid")


class UnusableFile(ValueError):  # noqa: N818  (the name says all without "Error")
    """A file that is no picture of its class; the message names it and says why."""


class Found(NamedTuple):
    """A name in the folder of a class.

    Attributes:
        name: its path from the folder on, with slashes.
        size: in bytes.
        mtime: when it was last changed, in nanoseconds.
        problem: why it can be no picture, where that is known without reading it; else empty.
    """

    name: str
    size: int
    mtime: int
    problem: str = ""


@dataclass(frozen=True)
class Listing:
    """What a folder holds.

    Attributes:
        folder: as it was given.
        parts: "train" and "valid", or nothing.
        present: the names of all class folders, sorted.
        classes: the names of the two classes that are wanted, sorted.
        files: those of the two classes, by part, class and name, each sorted as strings.
        strangers: what lies beside the folders of the classes.
    """

    folder: str
    parts: tuple[str, ...]
    present: list[str]
    classes: tuple[str, str]
    files: list[Found] = field(repr=False)
    strangers: list[UnusableFile]

    def has(self, name: str) -> bool:
        """Whether a file of this name, with slashes, would be one of the two classes'."""
        return self._class_of(name) in self.classes

    def passes_over(self, name: str) -> bool:
        """Whether it would be of a class that is there, but not wanted now."""
        return self._class_of(name) in self.present and not self.has(name)

    def _class_of(self, name: str) -> str:
        *parts, label, _ = name.split("/")
        return label if bool(parts) == bool(self.parts) else ""


def list_folder(folder: str | os.PathLike[str], wanted: tuple[str, str] | None = None) -> Listing:
    """List the pictures of two classes.

    Args:
        folder: as described above.
        wanted: the names of the two classes; None where the folder has only two.

    Raises:
        ValueError: a folder cannot be read, or there are other classes than wanted, or a class
            without files; or the parts have different classes, or one is missing.
    """
    root = os.fspath(folder)
    parts = _parts(root)
    strangers: list[UnusableFile] = []
    present = _same_classes([_class_names(_path(root, part), strangers) for part in parts or [""]])
    first, last = sorted(wanted or _only_two(root, present))
    for name in (first, last):
        if name not in present:
            raise ValueError(
                f"{root}: there is no class {name!r}; the classes are {_shown(present)}"
            )
        if not name.isprintable():
            raise ValueError(f"{root}: the name of a class must be printable, got {name!r}")
    if first == last:
        raise ValueError(f"two different classes are needed, got {first!r} twice")
    files = []
    for part in parts or [""]:
        for name in (first, last):
            inside = sorted(_files(root, f"{part}/{name}" if part else name))
            if not inside:
                raise ValueError(f"{_path(root, part, name)}: the folder of this class is empty")
            files += inside
    return Listing(root, parts, present, (first, last), files, strangers)


def holds_folders(path: str | os.PathLike[str]) -> bool:
    """Whether there is a folder of this path with a folder in it that is not hidden."""
    try:
        with os.scandir(path) as entries:
            return any(entry.is_dir() and not entry.name.startswith(".") for entry in entries)
    except OSError:
        return False


def _path(root: str, *names: str) -> str:
    return os.path.join(root, *filter(None, names))


def _parts(root: str) -> tuple[str, ...]:
    """Whether classes lie in train/ and valid/: a train/ that holds files is a class itself."""
    train, valid = (os.path.join(root, part) for part in PARTS)
    if not holds_folders(train):
        return ()
    if not os.path.isdir(valid):
        raise ValueError(
            f"{valid}: it is missing, beside {train} with its folders; give the folder of the "
            f"validation pictures this name, or let {train} alone be shared out"
        )
    return PARTS


def _class_names(folder: str, strangers: list[UnusableFile]) -> list[str]:
    """The sorted names of the folders in `folder`; anything else there is a stranger."""
    names = []
    try:
        found = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise ValueError(f"{folder}: it cannot be read: {error.strerror}") from error
    for name in found:
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            names.append(name)
        else:
            strangers.append(UnusableFile(f"{path}: it is not in the folder of a class"))
    return names


def _same_classes(each: list[list[str]]) -> list[str]:
    """The class names of all parts, which must be the same."""
    if each[0] != each[-1]:
        raise ValueError(
            "train and valid must have folders for the same classes, "
            f"got {_shown(each[0])} and {_shown(each[-1])}"
        )
    return each[0]


def _only_two(root: str, present: list[str]) -> tuple[str, str]:
    if len(present) != 2:
        raise ValueError(
            f"{root}: it must hold two folders, one for each class, it holds "
            f"{len(present) or 'none'}{': ' if present else ''}{_shown(present)}"
            f"{'; classes picks two of them' if len(present) > 2 else ''}"
        )
    return present[0], present[1]


def _shown(names: list[str]) -> str:
    return ", ".join(map(repr, names[:10])) + (", ..." if len(names) > 10 else "")


def _files(root: str, inside: str) -> Iterator[Found]:
    """What the folder `inside` of `root` holds, in no order."""
    folder = os.path.join(root, inside)
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    yield _found(entry, f"{inside}/{entry.name}")
    except OSError as error:
        raise ValueError(f"{folder}: it cannot be read: {error.strerror}") from error


def _found(entry: "os.DirEntry[str]", name: str) -> Found:
    try:
        status = entry.stat()
    except OSError as error:  # a link that leads nowhere or round in a circle
        return Found(name, 0, 0, f"it cannot be read: {error.strerror}")
    if stat.S_ISREG(status.st_mode):
        return Found(name, status.st_size, status.st_mtime_ns)
    kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a special file"
    return Found(name, 0, 0, f"it is {kind}, not a picture")
