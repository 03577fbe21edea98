"""Photographs of MNIST's digits: any size, dark on light or light on dark, turned a little, JPEG.

    python tests/support/photographs.py MNIST FOLDER    1,000 a class to train with, 500 unseen

MNIST is a folder with its four IDX files. FOLDER/photos/three and FOLDER/photos/seven get digits of
its training set, FOLDER/unseen/three and FOLDER/unseen/seven others of its test set.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mnist_sgd.data import load_idx_set

__all__ = ["MNIST", "photograph", "write_photographs"]

MNIST = Path(__file__).parents[3] / "shared" / "mnist"
"""Where the full MNIST lies beside a checkout, if it is there."""

CLASSES = ("seven", "three")


def photograph(digit: NDArray[np.uint8], random: np.random.Generator) -> Image.Image:
    """A digit on a sheet under slanting light, seen with some noise.

    Args:
        digit: uint8 `[28, 28]`, light on dark.
        random: draws size, place, turn, greys, light and noise.

    Returns:
        A grey picture of 60 to 230 pixels a side.
    """
    side = int(random.integers(40, 140))
    ink = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    ink = ink.rotate(random.uniform(-12, 12), Image.Resampling.BICUBIC)
    height, width = (side + int(extra) for extra in random.integers(20, 91, 2))
    top, left = int(random.integers(0, height - side)), int(random.integers(0, width - side))
    shape = np.zeros((height, width), np.float32)
    shape[top : top + side, left : left + side] = np.asarray(ink, np.float32) / 255
    dark, light = random.uniform(10, 60), random.uniform(170, 240)
    paper, pen = (light, dark) if random.random() < 0.7 else (dark, light)
    y, x = np.mgrid[0:height, 0:width] / max(height, width) - 0.5
    slant = random.uniform(0, 30) * (y * random.uniform(-1, 1) + x * random.uniform(-1, 1))
    seen = paper + (pen - paper) * shape + slant + random.normal(0, 3, shape.shape)
    return Image.fromarray(np.clip(seen, 0, 255).astype(np.uint8))


def write_photographs(
    mnist: Path, folder: Path, *, train: int, unseen: int, seed: int = 0
) -> tuple[Path, Path]:
    """Write JPEG files of threes and sevens.

    Args:
        mnist: MNIST's files.
        folder: where the two folders go.
        train: photographs of each class of the training set.
        unseen: photographs of each class of the test set.
        seed: of what differs between them.

    Returns:
        The folder to train with, and that of the unseen ones.
    """
    random = np.random.default_rng(seed)
    for place, part, count in (("photos", "train", train), ("unseen", "t10k", unseen)):
        images, labels = (
            next(mnist.glob(f"{part}-{what}-ubyte*")) for what in ("images-idx3", "labels-idx1")
        )
        digits = load_idx_set(images, labels, CLASSES, label_pair=(7, 3))
        for label, name in enumerate(CLASSES):
            inside = folder / place / name
            inside.mkdir(parents=True)
            for number in random.permutation(np.flatnonzero(digits.labels == label))[:count]:
                image = photograph(digits.images[number], random)
                quality = int(random.integers(60, 95))
                image.save(inside / f"{number:05}.jpg", quality=quality)
    return folder / "photos", folder / "unseen"


if __name__ == "__main__":
    write_photographs(Path(sys.argv[1]), Path(sys.argv[2]), train=1000, unseen=500)
