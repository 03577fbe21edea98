"""List a folder of pictures before any of them is read.

    FOLDER/train/three/*    FOLDER/valid/three/*      split by the user, under these or other
    FOLDER/train/seven/*    FOLDER/valid/seven/*        common names, see `split_folders`

    FOLDER/three/*          FOLDER/seven/*            or classes alone

Folders are named after their classes; the pictures of a class may lie in subfolders. Which files
count is in `file_entries`. Runs, models and logs of this package may lie next to the class folders.
"""

import os
import shlex
from dataclasses import dataclass, field

from mnist_sgd._names import is_class_name, is_ignored, near_path, printable
from mnist_sgd.data.pictures.file_entries import FileEntry, find_pictures
from mnist_sgd.data.pictures.outputs import is_output
from mnist_sgd.data.pictures.split_folders import find_split_folders, holds_folders

_MAX_NAMES = 10
"""Names that a message lists."""


class UnusableFile(ValueError):  # noqa: N818  (the name says all without "Error")
    """A file that is not a picture of its class; the message names it and says why.

    Args:
        text: the message; unprintable characters are escaped.
        files: how many files this stands for.
        refused_by: the preprocessing that refused at least one of them, if another one may accept
            it; else empty.
    """

    def __init__(self, text: str, files: int = 1, refused_by: str = "") -> None:
        super().__init__(printable(text), files, refused_by)
        self.files = files
        self.refused_by = refused_by

    def __str__(self) -> str:
        return str(self.args[0])


class UnusableClass(ValueError):  # noqa: N818
    """A class folder without a usable file; the message names it.

    Args:
        text: the message.
        refused_by: as of `UnusableFile`.
    """

    def __init__(self, text: str, refused_by: str = "") -> None:
        super().__init__(text, refused_by)
        self.refused_by = refused_by

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Listing:
    """The files of two classes in a folder.

    Attributes:
        folder: as given.
        splits: the names of the training and the validation folder, or empty.
        present: the names of all class folders, sorted.
        classes: the names of the two selected classes, sorted.
        files: of the two classes, by split, class and name, each sorted as strings.
        unexpected_files: files next to the class folders.
        notes: which folders were taken for training and validation, one sentence each.
    """

    folder: str
    splits: tuple[str, ...]
    present: list[str]
    classes: tuple[str, str]
    files: list[FileEntry] = field(repr=False)
    unexpected_files: list[UnusableFile]
    notes: list[str]

    @property
    def pictures(self) -> list[FileEntry]:
        """The files that may be pictures."""
        return [each for each in self.files if not each.problem]

    def has(self, name: str) -> bool:
        """Tell whether a path, with slashes, lies in one of the two classes."""
        return self.class_of(name) in self.classes

    def is_other_class(self, name: str) -> bool:
        """Tell whether a path lies in a class that is there but not selected."""
        return self.class_of(name) in self.present and not self.has(name)

    def is_valid(self, name: str) -> bool:
        """Tell whether a path lies in the validation split."""
        return bool(self.splits) and name.startswith(f"{self.splits[1]}/")

    def class_folder(self, name: str) -> str:
        """Return the class folder of a path; "" if it lies in none."""
        depth = 2 if self.splits else 1
        *folders, _ = name.split("/")
        outside = len(folders) < depth or (self.splits and folders[0] not in self.splits)
        return "" if outside else "/".join(folders[:depth])

    def class_of(self, name: str) -> str:
        """Return the class name of a path; "" if it lies in none."""
        return self.class_folder(name).rpartition("/")[2]


def list_folder(folder: str | os.PathLike[str], wanted: tuple[str, str] | None = None) -> Listing:
    """List the pictures of two classes.

    Args:
        folder: as described above.
        wanted: the names of the two classes; None if the folder has only two.

    Raises:
        ValueError: a folder cannot be read; or there are not two classes, or not the requested
            ones, or one is empty; or the splits have different classes, or one is missing.
    """
    root = os.fspath(folder)
    found = find_split_folders(root, wanted)
    splits = (found.train, found.valid) if found else ()
    unexpected_files: list[UnusableFile] = []
    by_split = [_class_names(_path(root, split), unexpected_files) for split in splits or [""]]
    if wanted is None and by_split[0] != by_split[-1]:
        raise ValueError(
            f"{printable(root)}: {printable(' and '.join(splits))} must hold the same class "
            f"folders, got {_shown(by_split[0])} and {_shown(by_split[-1])}"
        )
    first, last = sorted(wanted or _only_two(root, by_split[0]))
    if first == last:
        raise ValueError(f"two different classes are needed, got {first!r} twice")
    files = []
    for split, present in zip(splits or [""], by_split, strict=True):
        _check_classes(_path(root, split), present, (first, last))
        for name in (first, last):
            inside = _files(root, f"{split}/{name}" if split else name)
            if not inside:
                raise ValueError(f"{printable(_path(root, split, name))}: this class is empty")
            files += inside
    if wanted is None:
        _check_not_too_high(root, splits, (first, last), files)
    present = sorted({name for names in by_split for name in names})
    notes = found.notes(root) if found else []
    return Listing(root, splits, present, (first, last), files, unexpected_files, notes)


def cannot_read(error: OSError) -> str:
    """Say why a folder cannot be read."""
    if isinstance(error, FileNotFoundError):
        near = near_path(error.filename) if error.filename else ""
        return f"there is no such folder{near}"
    return f"cannot be read: {error.strerror}"


def _check_classes(folder: str, present: list[str], classes: tuple[str, str]) -> None:
    """Reject classes that are missing or have an unprintable name."""
    for name in classes:
        if name not in present:
            raise ValueError(
                f"{printable(folder)}: there is no class {name!r}; the classes are "
                f"{_shown(present)}"
            )
        if not is_class_name(name):
            raise ValueError(f"{printable(folder)}: class names must be printable, got {name!r}")


def _path(root: str, *names: str) -> str:
    return os.path.join(root, *filter(None, names))


def _class_names(folder: str, unexpected_files: list[UnusableFile]) -> list[str]:
    """List the class folders in `folder`, sorted; collect any other file there."""
    names = []
    try:
        found = sorted(name for name in os.listdir(folder) if not is_ignored(name))
    except OSError as error:
        raise ValueError(f"{printable(folder)}: {cannot_read(error)}") from error
    for name in found:
        path = os.path.join(folder, name)
        if is_output(path):
            continue
        if os.path.isdir(path):
            names.append(name)
        else:
            unexpected_files.append(UnusableFile(f"{path}: not in a class folder"))
    return names


def _only_two(root: str, present: list[str]) -> tuple[str, str]:
    if len(present) == 2:
        return present[0], present[1]
    names = ", ".join(present[:_MAX_NAMES]) + (", ..." if len(present) > _MAX_NAMES else "")
    found = f"{len(present)} class folder{'' if len(present) == 1 else 's'} ({names})"
    advice = ""
    if len(present) > 2:
        advice = f": choose with --classes {shlex.join(present[:2])}"
    elif present and holds_folders(os.path.join(root, present[0])):
        advice = f"; did you mean {os.path.join(root, present[0])}?"
    found = found if present else "no class folders"
    raise ValueError(printable(f"{root}: found {found}, need 2{advice}"))


def _check_not_too_high(
    root: str, splits: tuple[str, ...], classes: tuple[str, str], files: list[FileEntry]
) -> None:
    """Reject two folders that each hold the class folders, which would mix the classes."""
    depth = len(splits[:1])
    held: dict[str, set[str]] = {name: set() for name in classes}
    for each in files:
        *folders, _ = each.name.split("/")
        held[folders[depth]].add("/".join(folders[depth + 1 : depth + 2]))
    one, other = held.values()
    if one == other and len(one) > 1 and "" not in one:
        folder, (first, last) = _path(root, *splits[:1]), classes
        raise ValueError(
            printable(
                f"{folder}: {first!r} and {last!r} hold the same folders, {_shown(sorted(one))}, "
                f"and no pictures of their own; if those are the classes, give "
                f"{os.path.join(folder, first)}, else confirm with --classes "
                f"{shlex.join(classes)}"
            )
        )


def _shown(names: list[str]) -> str:
    return ", ".join(map(repr, names[:_MAX_NAMES])) + (", ..." if len(names) > _MAX_NAMES else "")


def _files(root: str, inside: str) -> list[FileEntry]:
    try:
        return find_pictures(root, inside)
    except OSError as error:
        folder = os.path.join(root, inside)
        raise ValueError(f"{printable(folder)}: {cannot_read(error)}") from error
