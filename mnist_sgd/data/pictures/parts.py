"""Which folders in a folder are its training and its validation part.

    train/  valid/              as fastai's MNIST_SAMPLE has them
    training/  testing/         as its MNIST has them
    train/  val/  test/         and other usual names, in any case: see `_ROLES`

The names count as those of parts where the training part holds folders, those of the classes.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from mnist_sgd._names import is_ignored, printable
from mnist_sgd.data.pictures.outputs import is_output

__all__ = ["Parts", "class_folders", "find_parts", "folder_names", "holds_folders"]

_WHAT = r"(?:[-_ ]?(?:set|data|images?|pictures?|photos?))?[-_ ]?\d*"
_ROLES = {
    "training": re.compile(r"train(?:ing)?" + _WHAT, re.IGNORECASE),
    "validation": re.compile(
        r"(?:val(?:id(?:ation)?)?|dev|eval(?:uation)?)" + _WHAT, re.IGNORECASE
    ),
    "test": re.compile(r"test(?:ing)?" + _WHAT, re.IGNORECASE),
}
_PREFERRED = ("train", "valid", "validation", "val", "test", "testing")
"""Of several folders with one role, the first of these is taken."""


@dataclass(frozen=True)
class Parts:
    """The names of two folders with class folders in them.

    Attributes:
        train: the training part.
        valid: the validation part.
        unused: other parts, which are not read.
    """

    train: str
    valid: str
    unused: tuple[str, ...] = ()

    def notes(self, root: str) -> list[str]:
        """What should be said of the choice; nothing of a plain train and valid."""
        said = []
        if (self.train, self.valid) != ("train", "valid"):
            said.append(
                f"{root}: {self.train!r} is taken for training, {self.valid!r} for validation"
            )
        if self.unused:
            said.append(f"{root}: {', '.join(map(repr, self.unused))} is not used")
        return list(map(printable, said))


def find_parts(root: str, wanted: tuple[str, str] | None) -> Parts | None:
    """Find the parts of a folder.

    Args:
        root: the folder.
        wanted: the names of the two classes, if the user chose them.

    Returns:
        None where the folders in `root` are classes.

    Raises:
        ValueError: folders have the names of parts, but do not hold class folders as parts do.
    """
    names = [name for name in folder_names(root) if _role(name)]
    holding = [name for name in names if holds_folders(os.path.join(root, name))]
    train = _of_role(holding, "training")
    if not train:
        _refuse_as_classes(root, names, holding, wanted)
        return None
    if len(train) > 1 and train[0] != "train":
        raise ValueError(
            printable(
                f"{root}: {train[0]!r} and {train[1]!r} could both be the training part; give the "
                "one to train with the name train"
            )
        )
    others = [*_of_role(holding, "validation"), *_of_role(holding, "test")]
    if not others:
        raise ValueError(printable(_lacks_valid(root, train[0], names)))
    return Parts(train[0], others[0], tuple(sorted(others[1:])))


def folder_names(path: str | os.PathLike[str]) -> list[str]:
    """The names of the folders in a folder, sorted, without ignored ones and this package's own."""
    return sorted(_folders(path))


def holds_folders(path: str | os.PathLike[str]) -> bool:
    """Whether there is a folder of this path with a folder in it that is not passed over."""
    return any(True for _ in _folders(path))


def class_folders(root: str) -> list[str]:
    """The paths of the folders that count as classes, in `root` or in its parts."""
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
    except OSError:  # a link that leads round in a circle
        return False


def _role(name: str) -> str | None:
    return next((role for role, names in _ROLES.items() if names.fullmatch(name)), None)


def _of_role(names: Iterable[str], role: str) -> list[str]:
    """Those with this role, the preferred ones first."""
    found = [name for name in names if _role(name) == role]
    places = {name: place for place, name in enumerate(_PREFERRED)}
    return sorted(found, key=lambda name: (places.get(name, len(places)), name))


def _refuse_as_classes(
    root: str, names: list[str], holding: list[str], wanted: tuple[str, str] | None
) -> None:
    """Refuse parts that would be learned as classes, for want of class folders in them."""
    if len({_role(name) for name in names}) < 2 or (wanted and {*wanted} <= {*names}):
        return
    first, *_, last = sorted(names, key=lambda name: list(_ROLES).index(_role(name) or ""))
    if holding:
        why = f"{holding[0]!r} holds class folders, and no folder train does; train needs them too"
    else:
        why = (
            f"{first!r} and {last!r} are names of parts, not of classes; put the pictures of each "
            f"class into a folder of its own, as in {first}/CLASS and {last}/CLASS, or, if these "
            "are your classes, name both"
        )
    raise ValueError(printable(f"{root}: {why}"))


def _lacks_valid(root: str, train: str, names: list[str]) -> str:
    path = os.path.join(root, train)
    flat = [*_of_role(names, "validation"), *_of_role(names, "test")]
    if flat:
        return (
            f"{os.path.join(root, flat[0])}: it holds no class folders, next to {path} with "
            f"its folders; give it the same ones, or let {path} alone be shared out"
        )
    return (
        f"{os.path.join(root, 'valid')}: it is missing, beside {path} with its folders; give the "
        f"folder of the validation pictures this name, or let {path} alone be shared out"
    )
