"""Threes and sevens of a few pixels: counted as scikit-learn's digits are, and as small type."""

from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["FONTS", "counted", "typed"]

Picture = NDArray[np.uint8]

FONTS = (
    *(f"DejaVu{name}" for name in ("Sans", "Sans-Bold", "SansMono", "Serif", "Serif-Bold")),
    *("STIXGeneral", "STIXGeneralBol", "cmr10", "cmss10", "cmtt10"),
)
"""Of those that come with matplotlib."""


def counted(digit: Picture) -> Picture:
    """Count the ink of a digit, 32 x 32 black and white pixels, in squares of 4 x 4.

    Args:
        digit: uint8 `[28, 28]`, light on dark.

    Returns:
        uint8 `[8, 8]`, light on dark, which the digit fills.
    """
    rows, columns = np.nonzero(digit > 127)
    tight = digit[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    square = Image.fromarray(tight).resize((32, 32), Image.Resampling.BICUBIC)
    counts = (np.asarray(square) > 127).reshape(8, 4, 8, 4).sum((1, 3))
    return np.asarray(counts * 255 / 16, np.uint8)


def typed(size: int) -> list[tuple[Picture, bool]]:
    """Set threes and sevens in each of `FONTS`, black on white.

    Args:
        size: of the type in pixels: the digits are 0.7 of it high.

    Returns:
        uint8 `[2 * size, 2 * size]`, and whether it is a three.
    """
    pictures = []
    for name in FONTS:
        path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
        font = ImageFont.truetype(str(path), size)
        for character in "37":
            page = Image.new("L", (2 * size, 2 * size), 255)
            ImageDraw.Draw(page).text((size // 2, size // 4), character, 0, font)
            pictures.append((np.asarray(page), character == "3"))
    return pictures
