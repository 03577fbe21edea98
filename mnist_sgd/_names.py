"""Names of files and classes: which are ignored, and how they are printed.

A file name may hold any byte but "/" and NUL: invalid UTF-8, newlines, and escape sequences that a
terminal would obey. Python represents undecodable bytes as lone surrogates.
"""

import os

_SYSTEM_FILES = {
    "$recycle.bin",
    "__macosx",
    "@eadir",
    "desktop.ini",
    "lost+found",
    "system volume information",
    "thumbs.db",
}
"""Files and folders of macOS, Windows, Synology and ext4, in lower case."""

_JOINERS = {"\u200c", "\u200d", *map(chr, range(0xE0020, 0xE0080))}
"""Invisible, but part of some words and emoji: a family, the flag of Wales."""


def is_ignored(name: str) -> bool:
    """Tell whether a name in a folder is ignored: hidden, or left by an operating system."""
    return name.startswith(".") or name.casefold() in _SYSTEM_FILES


def near_path(path: str | os.PathLike[str]) -> str:
    """Propose the neighbour of a missing path with the nearest name; "" if none is near."""
    from difflib import get_close_matches  # here: only an error needs it

    folder, name = os.path.split(os.path.normpath(path))
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return ""
    near = get_close_matches(name, names, n=1)
    return f" (did you mean {printable(os.path.join(folder, near[0]))}?)" if near else ""


def is_class_name(name: str) -> bool:
    """Tell whether a name can be a class: shown on terminals, on pages, in a model file."""
    return bool(name) and all(_is_shown(character) for character in name)


def printable(text: str) -> str:
    r"""Escape unprintable characters, such as `\x1b`, and undecodable bytes, such as `\xff`."""
    if text.isprintable():
        return text
    return "".join(each if _is_shown(each) else _escape(each) for each in text)


def _is_shown(character: str) -> bool:
    return character.isprintable() or character in _JOINERS


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
