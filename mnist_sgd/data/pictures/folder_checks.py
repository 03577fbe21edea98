"""Error messages for a folder without a name, or without anything that can be loaded."""

import os
from pathlib import Path

from mnist_sgd._names import is_ignored, printable
from mnist_sgd.data.idx_folder import FILE_NAMES
from mnist_sgd.data.pictures.split_folders import find_split_folders, folder_names

_MAX_NAMES = 5
"""Names that a message lists."""

_ADVICE = {
    ".csv": "CSV files are not supported",
    ".parquet": "Parquet files are not supported",
    ".npz": "NumPy files are not supported: make an ImageSet of the arrays",
    ".zip": "unpack the archive first",
    ".tar": "unpack the archive first",
    ".tgz": "unpack the archive first",
    ".7z": "unpack the archive first",
}

_PICTURES = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".heic")
"""Suffixes that suggest a class folder was given; any file may be a picture, whatever its name."""


def check_loadable(path: Path, classes: tuple[str, str] | None) -> None:
    """Reject a folder that is no packed set, holds no IDX files and has no class folders.

    Args:
        path: the folder.
        classes: the names of the two selected classes; None for any.

    Raises:
        ValueError: the message says what was expected, what is there, and what may help.
    """
    if path.is_file():
        raise ValueError(
            f"{printable(str(path))}: this is a file, need a folder with {_expected(classes)}"
            f"{_advice([path.name])}"
        )
    try:
        held = sorted(name for name in os.listdir(path) if not is_ignored(name))
    except OSError:
        return  # listing the pictures reports it
    folders = folder_names(path)
    if folders and (
        classes is None or {*classes} & {*folders} or find_split_folders(str(path), classes)
    ):
        return
    shown = ", ".join(map(repr, held[:_MAX_NAMES])) + (", ..." if len(held) > _MAX_NAMES else "")
    raise ValueError(
        f"{printable(str(path))}: nothing to load here: need {_expected(classes)}; it holds "
        f"{shown or 'nothing'}{_suggestion(path, folders, held)}{_advice(held)}"
    )


def check_named(folder: str | os.PathLike[str]) -> Path:
    """Return the path of a folder; reject an empty text, whose `Path` would be the current folder.

    Raises:
        TypeError: it is no path.
        ValueError: the text is empty.
    """
    if not isinstance(folder, str | os.PathLike):
        raise TypeError(f"the folder must be a path, got {type(folder).__name__}")
    if not os.fspath(folder):
        raise ValueError("the name of the folder is empty; '.' is the current folder")
    return Path(folder)


def _expected(classes: tuple[str, str] | None) -> str:
    named = "two class folders" if classes is None else f"folders {classes[0]!r} and {classes[1]!r}"
    return f"{named} (in it, or in train and valid), a packed set (set.json), or {FILE_NAMES}"


def _suggestion(path: Path, folders: list[str], held: list[str]) -> str:
    """Suggest the parent of what looks like a class folder."""
    above = path.resolve().parent
    pictures = any(Path(name).suffix.lower() in _PICTURES for name in held)
    if folders or not pictures or len(folder_names(above)) != 2:
        return ""
    return f"; did you mean {printable(str(path.parent if path.parent.name else above))}?"


def _advice(names: list[str]) -> str:
    suffixes = {Path(name).suffix.lower() for name in names}
    advice = dict.fromkeys(text for suffix, text in _ADVICE.items() if suffix in suffixes)
    return "".join(f"; {text}" for text in advice)
