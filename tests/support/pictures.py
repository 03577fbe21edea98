"""Pictures that differ from each other, quickly made, in folders or as the bytes of a file."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["CLASSES", "encode", "fill", "stroke"]

CLASSES = ("seven", "three")


def stroke(number: int, side: int = 40) -> Image.Image:
    """A picture of a blob on black whose form tells the number."""
    random = np.random.default_rng(number)
    image = np.zeros((side, side), np.uint8)
    rim, inside = side // 4, side - 2 * (side // 4)
    image[rim:-rim, rim:-rim] = random.integers(120, 256, (inside, inside), np.uint8)
    return Image.fromarray(image)


def encode(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """The content of a file of this format, with Pillow's options."""
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def fill(folder: Path, counts: dict[str, int], *, start: int = 0, side: int = 40) -> None:
    """Put so many pictures into each of the folders named; all of them differ."""
    number = start
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            stroke(number, side).save(folder / name / f"{number:05}.png")
            number += 1
