"""Which folders in a folder are its training and its validation split.

    train/  valid/              as in fastai's MNIST_SAMPLE
    training/  testing/         as in its MNIST
    train/  val/  test/         and other common names, in any case: see `_ROLES`

They count as splits if the training folder holds class folders.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from mnist_sgd._names import is_ignored, printable
from mnist_sgd.data.pictures.outputs import is_output

_SUFFIX = r"(?:[-_ ]?(?:set|data|images?|pictures?|photos?))?[-_ ]?\d*"
_ROLES = {
    "training": re.compile(r"train(?:ing)?" + _SUFFIX, re.IGNORECASE),
    "validation": re.compile(
        r"(?:val(?:id(?:ation)?)?|dev|eval(?:uation)?)" + _SUFFIX, re.IGNORECASE
    ),
    "test": re.compile(r"test(?:ing)?" + _SUFFIX, re.IGNORECASE),
}
_PREFERRED = ("train", "valid", "validation", "val", "test", "testing")
"""Of several folders with one role, the first of these is taken."""


@dataclass(frozen=True)
class SplitFolders:
    """The names of two folders with class folders in them.

    Attributes:
        train: the training split.
        valid: the validation split.
        unused: other splits, which are not read.
    """

    train: str
    valid: str
    unused: tuple[str, ...] = ()

    def notes(self, root: str) -> list[str]:
        """Describe the choice, one sentence each; nothing for plain train and valid."""
        notes = []
        if (self.train, self.valid) != ("train", "valid"):
            notes.append(f"{root}: using {self.train!r} for training, {self.valid!r} to validate")
        if self.unused:
            notes.append(f"{root}: not using {', '.join(map(repr, self.unused))}")
        return list(map(printable, notes))


def find_split_folders(root: str, wanted: tuple[str, str] | None) -> SplitFolders | None:
    """Find the splits of a folder.

    Args:
        root: the folder.
        wanted: the names of the two classes, if the user chose them.

    Returns:
        None if the folders in `root` are classes.

    Raises:
        ValueError: folders are named like splits but do not hold class folders.
    """
    names = [name for name in folder_names(root) if _role(name)]
    holding = [name for name in names if holds_folders(os.path.join(root, name))]
    train = _with_role(holding, "training")
    if not train:
        _check_not_splits(root, names, holding, wanted)
        return None
    if len(train) > 1 and train[0] != "train":
        raise ValueError(
            printable(
                f"{root}: both {train[0]!r} and {train[1]!r} look like the training split; rename "
                "the one to train on to train"
            )
        )
    others = [*_with_role(holding, "validation"), *_with_role(holding, "test")]
    if not others:
        raise ValueError(printable(_no_validation_split(root, train[0], names)))
    return SplitFolders(train[0], others[0], tuple(sorted(others[1:])))


def folder_names(path: str | os.PathLike[str]) -> list[str]:
    """List the folders in a folder, sorted, without ignored ones and this package's output."""
    return sorted(_folders(path))


def holds_folders(path: str | os.PathLike[str]) -> bool:
    """Tell whether `path` is a folder with a folder in it that counts."""
    return any(True for _ in _folders(path))


def class_folders(root: str) -> list[str]:
    """List the paths of the class folders in `root` or in its splits."""
    found = []
    for name in folder_names(root):
        path = os.path.join(root, name)
        inside = folder_names(path) if _role(name) else []
        found += [os.path.join(path, each) for each in inside] or [path]
    return found


def _folders(path: str | os.PathLike[str]) -> Iterator[str]:
    with suppress(OSError), os.scandir(path) as entries:
        for entry in entries:
            if not is_ignored(entry.name) and _is_folder(entry) and not is_output(entry.path):
                yield entry.name


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links
        return False


def _role(name: str) -> str | None:
    return next((role for role, names in _ROLES.items() if names.fullmatch(name)), None)


def _with_role(names: Iterable[str], role: str) -> list[str]:
    """Return the names with this role, the preferred ones first."""
    ranks = {name: rank for rank, name in enumerate(_PREFERRED)}
    found = [name for name in names if _role(name) == role]
    return sorted(found, key=lambda name: (ranks.get(name, len(ranks)), name))


def _check_not_splits(
    root: str, names: list[str], holding: list[str], wanted: tuple[str, str] | None
) -> None:
    """Reject splits without class folders, which would be learned as classes."""
    if len({_role(name) for name in names}) < 2 or (wanted and {*wanted} <= {*names}):
        return
    first, *_, last = sorted(names, key=lambda name: list(_ROLES).index(_role(name) or ""))
    if holding:
        why = f"{holding[0]!r} holds class folders, but there is no train with the same ones"
    else:
        why = (
            f"{first!r} and {last!r} are names of splits, not of classes; put the pictures of each "
            f"class into {first}/CLASS and {last}/CLASS or, if these are your classes, name both "
            "with --classes"
        )
    raise ValueError(printable(f"{root}: {why}"))


def _no_validation_split(root: str, train: str, names: list[str]) -> str:
    path = os.path.join(root, train)
    flat = [*_with_role(names, "validation"), *_with_role(names, "test")]
    if flat:
        return (
            f"{os.path.join(root, flat[0])} holds no class folders, but {path} does; create the "
            f"same ones, or give {path} alone to split it automatically"
        )
    return (
        f"{os.path.join(root, 'valid')} is missing next to {path}, which holds class folders; "
        f"rename your validation folder to valid, or give {path} alone to split it automatically"
    )
