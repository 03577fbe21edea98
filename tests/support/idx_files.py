"""Pairs of IDX files as the MNIST database names them."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_sgd.data import write_idx

__all__ = ["write_part"]


def write_part(
    folder: Path, part: str, images: NDArray[np.uint8], labels: NDArray[Any], ending: str = ""
) -> None:
    """Write the images and labels of a part, such as train or t10k, into a new or old folder.

    Args:
        folder: is made if it is not there.
        part: what the files' names begin with.
        images: uint8 `[N, H, W]`.
        labels: `[N]`, from 0 to 255.
        ending: ".gz" compresses the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_idx(folder / f"{part}-images-idx3-ubyte{ending}", images)
    write_idx(folder / f"{part}-labels-idx1-ubyte{ending}", labels.astype(np.uint8))
