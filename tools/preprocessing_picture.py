"""Make the picture of the three kinds of preprocessing in docs/own_images.md.

    python tools/preprocessing_picture.py

It shows three pictures as they are and as each kind makes them: a digit of the sample on a sheet of
paper, and two things that are drawn here. They are written to docs/images/preprocessing.png.
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from mnist_sgd import mnist_sample
from mnist_sgd_serve import PREPROCESSING_KINDS, BlankImage, preprocess
from photographs import photograph

OUT = Path(__file__).parents[1] / "docs" / "images" / "preprocessing.png"

TITLES = {"mnist": "drawn character", "fit": "whole picture", "stretch": "filling the square"}

Picture = NDArray[np.uint8]


def digit() -> Image.Image:
    """A three on paper, in slanting light."""
    _, valid = mnist_sample()
    threes = valid.images[valid.labels == 1]
    return photograph(threes[7], np.random.default_rng(0))


def mug() -> Image.Image:
    """A mug on a table."""
    image = Image.new("L", (720, 480), 214)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 380, 720, 480), fill=170)
    draw.ellipse((150, 372, 500, 420), fill=130)  # its shadow
    draw.ellipse((400, 150, 560, 320), outline=70, width=34)
    draw.rectangle((190, 110, 450, 380), fill=88)
    draw.ellipse((190, 350, 450, 410), fill=88)
    draw.rectangle((215, 140, 250, 370), fill=140)  # the light on it
    draw.ellipse((190, 80, 450, 140), fill=120)
    draw.ellipse((210, 90, 430, 132), fill=40)
    return image.filter(ImageFilter.GaussianBlur(3))


def sign() -> Image.Image:
    """A wide sign with an arrow from edge to edge."""
    image = Image.new("L", (840, 300), 40)
    draw = ImageDraw.Draw(image)
    draw.rectangle((14, 14, 826, 286), outline=225, width=12)
    draw.rectangle((70, 125, 600, 175), fill=225)
    draw.polygon(((560, 60), (770, 150), (560, 240)), fill=225)
    return image.filter(ImageFilter.GaussianBlur(2))


def preprocessed(image: Image.Image, kind: str) -> Picture | None:
    """What a model sees; None if the picture is refused."""
    try:
        return preprocess(np.asarray(image), kind).image
    except BlankImage:
        return None


def main() -> None:
    """Draw the pictures in rows and the kinds in columns."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = (digit(), mug(), sign())
    figure, axes = plt.subplots(3, 4, figsize=(8, 6), layout="constrained")
    for line, image in zip(axes, rows, strict=True):
        line[0].imshow(image, cmap="gray", vmin=0, vmax=255)
        for ax, kind in zip(line[1:], PREPROCESSING_KINDS, strict=True):
            seen = preprocessed(image, kind)
            if seen is None:
                ax.text(0.5, 0.5, "refused", ha="center", va="center", transform=ax.transAxes)
                ax.set_aspect("equal")
            else:
                ax.imshow(seen, cmap="gray", vmin=0, vmax=255)
    titles = ("your picture", *(f"{kind}:\n{TITLES[kind]}" for kind in PREPROCESSING_KINDS))
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=13)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
    OUT.parent.mkdir(exist_ok=True)
    figure.savefig(OUT, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
