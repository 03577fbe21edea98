"""Folders of pictures that differ from each other, quickly made."""

from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["CLASSES", "fill", "stroke"]

CLASSES = ("seven", "three")


def stroke(number: int, side: int = 40) -> Image.Image:
    """A picture of a stroke on black whose greys tell the number; it looks like a character."""
    random = np.random.default_rng(number)
    image = np.zeros((side, side), np.uint8)
    rim, length, width = side // 4, side - 2 * (side // 4), max(4, side // 8)
    left = (side - width) // 2
    image[rim:-rim, left : left + width] = random.integers(150, 256, (length, width), np.uint8)
    return Image.fromarray(image)


def fill(folder: Path, counts: dict[str, int], *, start: int = 0, side: int = 40) -> None:
    """Put so many pictures into each of the folders named; all of them differ."""
    number = start
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            stroke(number, side).save(folder / name / f"{number:05}.png")
            number += 1
