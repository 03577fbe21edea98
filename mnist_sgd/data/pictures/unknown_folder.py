"""What to say where no folder was named, or one in which nothing was found to load."""

import os
from pathlib import Path

from mnist_sgd._names import is_ignored, printable
from mnist_sgd.data.idx_folder import LOOKED_FOR
from mnist_sgd.data.pictures.parts import find_parts, folder_names

__all__ = ["check_known", "named_folder"]

_SHOWN = 5
"""Names that a message lists."""

_ADVICE = {
    ".csv": "CSV files are not read",
    ".parquet": "Parquet files are not read",
    ".npz": "NumPy's files are not read: make an ImageSet of the arrays",
    ".zip": "unpack the archive first",
    ".tar": "unpack the archive first",
    ".tgz": "unpack the archive first",
    ".7z": "unpack the archive first",
}

_PICTURES = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".heic")
"""By which the folder of a class is guessed at; which files count, no suffix tells."""


def check_known(path: Path, classes: tuple[str, str] | None) -> None:
    """Refuse a folder, neither packed nor of IDX files, in which no class folders are.

    Args:
        path: the folder.
        classes: the names of the two that are wanted; None for any.

    Raises:
        ValueError: the message says what was looked for, what is there, and what may help.
    """
    if path.is_file():
        raise ValueError(
            f"{printable(str(path))}: it is a file; a folder is needed, {_wanted(classes)}"
            f"{_advice([path.name])}"
        )
    try:
        held = sorted(name for name in os.listdir(path) if not is_ignored(name))
    except OSError:
        return  # who lists the pictures says why
    folders = folder_names(path)
    if folders and (classes is None or {*classes} & {*folders} or find_parts(str(path), classes)):
        return
    shown = ", ".join(map(repr, held[:_SHOWN])) + (", ..." if len(held) > _SHOWN else "")
    raise ValueError(
        f"{printable(str(path))}: nothing was found that can be loaded; looked for "
        f"{_wanted(classes)}; it holds {shown or 'nothing'}{_meant(path, folders, held)}"
        f"{_advice(held)}"
    )


def named_folder(folder: str | os.PathLike[str]) -> Path:
    """The path of a folder; an empty text names none, though a `Path` of it would be here.

    Raises:
        ValueError: the text is empty.
    """
    if not os.fspath(folder):
        raise ValueError("the folder has no name: an empty text was given; '.' is this folder")
    return Path(folder)


def _wanted(classes: tuple[str, str] | None) -> str:
    named = "for each of two classes" if classes is None else f"{classes[0]!r} and {classes[1]!r}"
    kind = "a folder" if classes is None else "the folders"
    return (
        f"{kind} {named}, in it or in train and valid, or set.json of a packed set, or {LOOKED_FOR}"
    )


def _meant(path: Path, folders: list[str], held: list[str]) -> str:
    """The folder above, if this one looks like the folder of a class."""
    above = path.resolve().parent
    pictures = any(Path(name).suffix.lower() in _PICTURES for name in held)
    if folders or not pictures or len(folder_names(above)) != 2:
        return ""
    return f"; did you mean {printable(str(path.parent if path.parent.name else above))}?"


def _advice(names: list[str]) -> str:
    suffixes = {Path(name).suffix.lower() for name in names}
    said = {text: suffix for suffix, text in _ADVICE.items() if suffix in suffixes}
    return "".join(f"; {text}" for text in said)
