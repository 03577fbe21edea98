"""Six small tasks of pictures that Debian and npm have: icons, emoji and printed letters.

Each is two lists of pictures, which `write` puts into a folder as files. Nothing is downloaded.
"""

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

__all__ = ["Sources", "Task", "tasks"]

MOST = 250
"""Pictures of a class."""

PICTOGRAMS = ("Activities", "Animals & Nature", "Food & Drink", "Objects", "Travel & Places")
"""The kinds of emoji of which the vendors' tasks are made: no people, whose skins repeat."""

SERIF = (
    "C059",
    "Caladea",
    "Charis SIL",
    "DejaVu Serif",
    "FreeSerif",
    "GFS Didot",
    "Gentium",
    "Junicode Two Beta",
    "Liberation Serif",
    "Linux Libertine O",
    "Nimbus Roman",
    "Old Standard TT",
    "P052",
    "Vollkorn",
)
SANS = (
    "Cabin",
    "Cantarell",
    "Comfortaa",
    "DejaVu Sans",
    "FreeSans",
    "Lato",
    "Liberation Sans",
    "Linux Biolinum O",
    "Nimbus Sans",
    "Open Sans",
    "Quicksand",
    "Roboto",
    "Tuffy",
    "URW Gothic",
)
UPRIGHT = ("Regular", "Book", "Roman")
SLANTED = ("Italic", "Oblique", "Book Oblique")
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Sources:
    """Where the pictures are.

    Attributes:
        icons: a folder of icon themes, as /usr/share/icons.
        fonts: a folder of fonts, as /usr/share/fonts.
        emoji: a folder of npm packages, as node_modules.
    """

    icons: Path
    fonts: Path
    emoji: Path


@dataclass(frozen=True)
class Task:
    """Two kinds of pictures.

    Attributes:
        name: in the table.
        classes: the names of the two.
        pictures: of each, the bytes of its files, all different, in the same order each time.
    """

    name: str
    classes: tuple[str, str]
    pictures: tuple[list[bytes], list[bytes]]

    def write(self, folder: Path, seed: int, share: float = 0.2) -> None:
        """Write train and valid folders; the seed chooses the share that is for validation."""
        draw = random.Random(seed)
        for name, pictures in zip(self.classes, self.pictures, strict=True):
            valid = set(draw.sample(range(len(pictures)), round(share * len(pictures))))
            for number, content in enumerate(pictures):
                inside = folder / ("valid" if number in valid else "train") / name
                inside.mkdir(parents=True, exist_ok=True)
                (inside / f"{number:04}.png").write_bytes(content)


def tasks(sources: Sources) -> list[Task]:
    """All six tasks.

    Raises:
        FileNotFoundError: an icon theme, a font or a package is not there.
    """
    every = SERIF + SANS
    return [
        _task("icons", _icons(sources, "actions"), _icons(sources, "mimetypes")),
        _task("icon themes", *_both_themes(sources)),
        _task("emoji vendors", *_vendors(sources)),
        _task("emoji kinds", _emoji(sources, "Animals & Nature"), _emoji(sources, "Food & Drink")),
        _task("serifs", _letters(sources, SANS, UPRIGHT), _letters(sources, SERIF, UPRIGHT)),
        _task("italics", _letters(sources, every, SLANTED), _letters(sources, every, UPRIGHT)),
    ]


CLASSES = {
    "icons": ("actions", "mimetypes"),
    "icon themes": ("gnome", "oxygen"),
    "emoji vendors": ("google", "twitter"),
    "emoji kinds": ("animals", "food"),
    "serifs": ("sans", "serif"),
    "italics": ("italic", "upright"),
}


def _task(name: str, first: Iterable[bytes], last: Iterable[bytes]) -> Task:
    """A task of at most `MOST` pictures a class, none of them twice."""
    classes = tuple(dict.fromkeys(pictures) for pictures in (first, last))
    common = classes[0].keys() & classes[1].keys()
    chosen = []
    for pictures in classes:
        different = [content for content in pictures if content not in common]
        random.Random(name).shuffle(different)
        chosen.append(different[:MOST])
    return Task(name, CLASSES[name], (chosen[0], chosen[1]))


def _icons(sources: Sources, kind: str, themes: Iterable[str] = ()) -> list[bytes]:
    """The icons of a kind, as they are, of 48 x 48 pixels."""
    found = []
    for theme in themes or ("gnome", "mate", "oxygen/base"):
        folder = sources.icons / theme / "48x48" / kind
        found += [path.read_bytes() for path in sorted(folder.glob("*.png")) if path.is_file()]
    if not found:
        raise FileNotFoundError(f"{sources.icons}: it holds no icons of the kind {kind!r}")
    return found


def _both_themes(sources: Sources) -> tuple[list[bytes], list[bytes]]:
    """Icons of the same names, drawn for two themes."""
    first, last = (
        {path.name: path for path in (sources.icons / theme / "48x48").glob("*/*.png")}
        for theme in ("gnome", "oxygen/base")
    )
    common = sorted(first.keys() & last.keys())
    if not common:
        raise FileNotFoundError(f"{sources.icons}: gnome and oxygen have no icons in common")
    return [first[name].read_bytes() for name in common], [
        last[name].read_bytes() for name in common
    ]


def _emoji(sources: Sources, *kinds: str, vendor: str = "google") -> list[bytes]:
    """The emoji of some kinds, of 64 x 64 pixels, in the order of their code points."""
    package = sources.emoji / f"emoji-datasource-{vendor}"
    every = json.loads((package / "emoji.json").read_bytes())
    chosen = sorted(one["image"] for one in every if one["category"] in kinds)
    paths = [package / "img" / vendor / "64" / name for name in chosen]
    return [path.read_bytes() for path in paths if path.is_file()]


def _vendors(sources: Sources) -> tuple[list[bytes], list[bytes]]:
    """Emoji of two vendors, of which no two show the same thing."""
    google, twitter = (_emoji(sources, *PICTOGRAMS, vendor=name) for name in ("google", "twitter"))
    return google[::2], twitter[1::2]


def _letters(sources: Sources, families: tuple[str, ...], styles: tuple[str, ...]) -> list[bytes]:
    """Small letters in black on white, one a picture, in some styles of some families."""
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(sources.fonts.rglob("*")):
        if path.suffix.lower() in (".ttf", ".otf"):
            family, style = map(str, ImageFont.truetype(str(path), 12).getname())
            if family in families and style in styles:
                found.setdefault((family, style), path)
    missing = {*families} - {family for family, _ in found} if styles == UPRIGHT else set()
    if missing:
        raise FileNotFoundError(f"{sources.fonts}: fonts are missing: {', '.join(sorted(missing))}")
    drawn = (_letter(path, letter) for path in found.values() for letter in LETTERS)
    return [content for content in drawn if content is not None]


def _letter(path: Path, letter: str) -> bytes | None:
    """A letter on a sheet of 64 x 64 pixels; None if the font does not have it."""
    font = ImageFont.truetype(str(path), 44)
    left, top, right, bottom = font.getbbox(letter)
    if right <= left or bottom <= top:
        return None
    sheet = Image.new("L", (64, 64), 255)
    ImageDraw.Draw(sheet).text((32, 46), letter, fill=0, font=font, anchor="ms")
    file = BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()
