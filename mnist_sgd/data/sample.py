"""The chapter's data, bundled with the package: MNIST's threes and sevens, and a few PNG digits.

The sample is fastai's MNIST_SAMPLE, made from the MNIST database by tools/make_sample.py. Its
licence is CC BY-SA 3.0; `sample/LICENSE` names the authors and the changes.
"""

from dataclasses import replace
from pathlib import Path

from mnist_sgd.data.imageset import ImageSet, load_idx_set

_FOLDER = Path(__file__).parents[1] / "sample"


def mnist_sample() -> tuple[ImageSet, ImageSet]:
    """Return the training and the validation set of the chapter; label 1 is the three.

    Returns:
        12,396 training images (6,131 threes, then 6,265 sevens) and 2,038 validation images
        (1,010 threes, then 1,028 sevens), each class sorted by MNIST_SAMPLE's file names. The
        arrays, 11 MB, are read-only and new on each call.
    """
    train, valid = (
        load_idx_set(
            _FOLDER / f"{part}-images-idx3-ubyte.gz",
            _FOLDER / f"{part}-labels-idx1-ubyte.gz",
            classes=("7", "3"),
            name=f"MNIST sample, {part}",
        )
        for part in ("train", "valid")
    )
    # The installation path must not end up in artifacts.
    return replace(train, rows=()), replace(valid, rows=())


def sample_digits() -> list[Path]:
    """Return the paths of eight PNG files to try a model on, sorted by name.

    They are validation digits, `three-1.png` to `seven-4.png`. Numbers 1 and 2 are 28 x 28 pixels,
    light on dark, as in MNIST; 3 and 4 are larger, dark on light and off-centre, like scans.
    """
    return sorted((_FOLDER / "digits").glob("*.png"))
