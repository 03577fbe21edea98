"""What a folder of pictures holds, before any of them is read.

    FOLDER/train/three/*    FOLDER/valid/three/*      parts: as the user shared them out, under
    FOLDER/train/seven/*    FOLDER/valid/seven/*      these or other names, see `data.parts`

    FOLDER/three/*          FOLDER/seven/*            or classes alone

The names of the folders are those of the classes; the pictures of a class may lie in folders in
its folder. Which files count, `listing` says; the cache of preprocessed pictures is
hidden. What this package writes may lie next to the folders of the classes: runs, models and logs.
"""

import os
from dataclasses import dataclass, field

from mnist_sgd._names import is_class_name, is_ignored, printable
from mnist_sgd.data.pictures.listing import Found, find_pictures
from mnist_sgd.data.pictures.outputs import is_output
from mnist_sgd.data.pictures.parts import find_parts, holds_folders

__all__ = ["Found", "Listing", "UnusableClass", "UnusableFile", "list_folder"]


class UnusableFile(ValueError):  # noqa: N818  (the name says all without "Error")
    """A file that is no picture of its class; the message names it and says why.

    Args:
        text: the message, in which what cannot be printed is escaped.
        files: how many files this is: those of a folder where only pictures may be, else 1.
        refused_by: the preprocessing that refused at least one of them, though it is a picture in
            which another kind of preprocessing may find something to show; else empty.
    """

    def __init__(self, text: str, files: int = 1, refused_by: str = "") -> None:
        super().__init__(printable(text), files, refused_by)
        self.files = files
        self.refused_by = refused_by

    def __str__(self) -> str:
        return str(self.args[0])


class UnusableClass(ValueError):  # noqa: N818
    """A folder of a class in which no file is usable; the message names it.

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
    """What a folder holds.

    Attributes:
        folder: as it was given.
        parts: the names of the training and the validation part, or nothing.
        present: the names of all class folders, sorted.
        classes: the names of the two classes that are wanted, sorted.
        files: those of the two classes, by part, class and name, each sorted as strings.
        strangers: what lies next to the folders of the classes.
        notes: what should be said of the choice of the parts, a sentence each.
    """

    folder: str
    parts: tuple[str, ...]
    present: list[str]
    classes: tuple[str, str]
    files: list[Found] = field(repr=False)
    strangers: list[UnusableFile]
    notes: list[str]

    @property
    def pictures(self) -> list[Found]:
        """Those of the files that may be pictures."""
        return [each for each in self.files if not each.problem]

    def has(self, name: str) -> bool:
        """Whether a file of this name, with slashes, would be one of the two classes'."""
        return self.class_of(name) in self.classes

    def passes_over(self, name: str) -> bool:
        """Whether it would be of a class that is there, but not wanted now."""
        return self.class_of(name) in self.present and not self.has(name)

    def is_valid(self, name: str) -> bool:
        """Whether a file of this name lies in the validation part."""
        return bool(self.parts) and name.startswith(f"{self.parts[1]}/")

    def class_folder(self, name: str) -> str:
        """The folder of the class that a file of this name would belong to; "" if of none."""
        depth = 2 if self.parts else 1
        *folders, _ = name.split("/")
        outside = len(folders) < depth or (self.parts and folders[0] not in self.parts)
        return "" if outside else "/".join(folders[:depth])

    def class_of(self, name: str) -> str:
        """The name of that class."""
        return self.class_folder(name).rpartition("/")[2]


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
    found = find_parts(root, wanted)
    parts = (found.train, found.valid) if found else ()
    strangers: list[UnusableFile] = []
    each = [_class_names(_path(root, part), strangers) for part in parts or [""]]
    if wanted is None:
        _check_same_classes(root, parts, each)
    first, last = sorted(wanted or _only_two(root, each[0]))
    if first == last:
        raise ValueError(f"two different classes are needed, got {first!r} twice")
    for part, present in zip(parts or [""], each, strict=True):
        _check_classes(_path(root, part), present, (first, last))
    files = []
    for part in parts or [""]:
        for name in (first, last):
            inside = _files(root, f"{part}/{name}" if part else name)
            if not inside:
                raise ValueError(
                    f"{printable(_path(root, part, name))}: the folder of this class is empty"
                )
            files += inside
    if wanted is None:
        _check_not_too_high(root, parts, (first, last), files)
    present = sorted({name for names in each for name in names})
    notes = found.notes(root) if found else []
    return Listing(root, parts, present, (first, last), files, strangers, notes)


def _check_classes(folder: str, present: list[str], classes: tuple[str, str]) -> None:
    """Refuse classes that are not there, or have a name that cannot be shown."""
    for name in classes:
        if name not in present:
            raise ValueError(
                f"{printable(folder)}: there is no class {name!r}; the classes are "
                f"{_shown(present)}"
            )
        if not is_class_name(name):
            raise ValueError(
                f"{printable(folder)}: the name of a class must be printable, got {name!r}"
            )


def _path(root: str, *names: str) -> str:
    return os.path.join(root, *filter(None, names))


def _class_names(folder: str, strangers: list[UnusableFile]) -> list[str]:
    """The sorted names of the class folders in `folder`; any other file there is a stranger."""
    names = []
    try:
        found = sorted(name for name in os.listdir(folder) if not is_ignored(name))
    except OSError as error:
        raise ValueError(f"{printable(folder)}: it cannot be read: {error.strerror}") from error
    for name in found:
        path = os.path.join(folder, name)
        if is_output(path):
            continue
        if os.path.isdir(path):
            names.append(name)
        else:
            strangers.append(UnusableFile(f"{path}: it is not in the folder of a class"))
    return names


def _check_same_classes(root: str, parts: tuple[str, ...], each: list[list[str]]) -> None:
    """Refuse parts with different classes."""
    if each[0] != each[-1]:
        raise ValueError(
            f"{printable(root)}: {printable(' and '.join(parts))} must have folders for the same "
            f"classes, got {_shown(each[0])} and {_shown(each[-1])}"
        )


def _only_two(root: str, present: list[str]) -> tuple[str, str]:
    if len(present) == 2:
        return present[0], present[1]
    advice = "; classes (--classes A B) picks two of them" if len(present) > 2 else ""
    if len(present) == 1 and holds_folders(os.path.join(root, present[0])):
        advice = f"; did you mean {printable(os.path.join(root, present[0]))}?"
    raise ValueError(
        f"{printable(root)}: it must hold two folders, one for each class, it holds "
        f"{len(present) or 'none'}{': ' if present else ''}{_shown(present)}{advice}"
    )


def _check_not_too_high(
    root: str, parts: tuple[str, ...], classes: tuple[str, str], files: list[Found]
) -> None:
    """Refuse folders that hold the classes' folders each, in which the classes would be mixed."""
    place = len(parts[:1])
    held: dict[str, set[str]] = {name: set() for name in classes}
    for each in files:
        *folders, _ = each.name.split("/")
        held[folders[place]].add("/".join(folders[place + 1 : place + 2]))
    one, other = held.values()
    if one == other and len(one) > 1 and "" not in one:
        folder, (first, last) = _path(root, *parts[:1]), classes
        raise ValueError(
            printable(
                f"{folder}: {first!r} and {last!r} hold folders of the same names, "
                f"{_shown(sorted(one))}, and no pictures next to them; if these are the classes, "
                f"give {os.path.join(folder, first)}, else name {first!r} and {last!r} as the "
                "classes (--classes)"
            )
        )


def _shown(names: list[str]) -> str:
    return ", ".join(map(repr, names[:10])) + (", ..." if len(names) > 10 else "")


def _files(root: str, inside: str) -> list[Found]:
    """What the folder `inside` of `root` holds."""
    try:
        return find_pictures(root, inside)
    except OSError as error:
        folder = os.path.join(root, inside)
        raise ValueError(f"{printable(folder)}: it cannot be read: {error.strerror}") from error
