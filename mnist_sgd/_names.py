"""Names of files and classes: which ones count, and how they are shown.

A name on a disk may hold any byte but "/" and NUL: bytes that are not UTF-8, newlines, and escape
sequences that a terminal would obey. Python keeps bytes that it cannot decode as lone surrogates.
"""

__all__ = ["is_class_name", "is_ignored", "printable"]

_LEFT_BY_SYSTEMS = {
    "$recycle.bin",
    "__macosx",
    "@eadir",
    "desktop.ini",
    "lost+found",
    "system volume information",
    "thumbs.db",
}
"""What macOS, Windows, Synology and ext4 leave in folders; in lower case."""

_JOINERS = {"\u200c", "\u200d", *map(chr, range(0xE0020, 0xE0080))}
"""Invisible, but part of how some words and emoji are written: a family, the flag of Wales."""


def is_ignored(name: str) -> bool:
    """Whether a name in a folder is passed over: hidden, or left there by an operating system."""
    return name.startswith(".") or name.casefold() in _LEFT_BY_SYSTEMS


def is_class_name(name: str) -> bool:
    """Whether a name can be shown wherever a class is: on terminals, on pages, in a model file."""
    return bool(name) and all(_is_shown(character) for character in name)


def printable(text: str) -> str:
    r"""The text with an escape, such as `\x1b`, for whatever a terminal would obey or cannot show.

    A byte that is not UTF-8 is shown as itself, such as `\xff`.
    """
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
