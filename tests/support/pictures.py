"""Pictures that differ from each other, quickly made, in folders or as the bytes of a file."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["CLASSES", "blob", "encode", "fill", "fill_with", "stroke", "texture"]

CLASSES = ("seven", "three")


def stroke(number: int, side: int = 40) -> Image.Image:
    """A picture of a stroke on black whose greys tell the number; it looks like a character."""
    random = np.random.default_rng(number)
    image = np.zeros((side, side), np.uint8)
    rim, length, width = side // 4, side - 2 * (side // 4), max(4, side // 8)
    left = (side - width) // 2
    image[rim:-rim, left : left + width] = random.integers(150, 256, (length, width), np.uint8)
    return Image.fromarray(image)


def encode(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """The content of a file of this format, with Pillow's options."""
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def blob(number: int, side: int = 40) -> Image.Image:
    """A picture of a thing on white that is no character: an area of many greys."""
    random = np.random.default_rng(number)
    image = np.full((side, side), 255, np.uint8)
    rim, inside = side // 5, side - 2 * (side // 5)
    image[rim:-rim, rim:-rim] = random.integers(0, 160, (inside, inside), np.uint8)
    return Image.fromarray(image)


def texture(number: int, side: int = 40) -> Image.Image:
    """A picture of stripes all over, in which the preprocessing of characters finds nothing."""
    random = np.random.default_rng(number)
    y, x = np.mgrid[:side, :side]
    angle, frequency = random.uniform(0, np.pi), random.uniform(0.7, 0.9)
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * frequency)
    grey = 128 + 80 * wave + random.normal(0, 8, wave.shape)
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))


def fill_with(folder: Path, draw: Callable[[int], Image.Image], count: int, start: int = 0) -> None:
    """Put so many pictures into a folder; all of them differ."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(start, start + count):
        draw(number).save(folder / f"{draw.__name__}{number:05}.png")


def fill(folder: Path, counts: dict[str, int], *, start: int = 0, side: int = 40) -> None:
    """Put so many pictures into each of the folders named; all of them differ."""
    number = start
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            stroke(number, side).save(folder / name / f"{number:05}.png")
            number += 1
