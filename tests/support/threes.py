"""The chapter's sample of sevens and threes, and a plain model that tells them apart."""

import gzip
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

__all__ = ["Picture", "classified_correctly", "needs_sample", "sample"]

Picture = NDArray[np.uint8]

SAMPLE = Path(__file__).parents[2] / "mnist_sgd" / "sample"

needs_sample = pytest.mark.skipif(not SAMPLE.is_dir(), reason="the MNIST sample is not here")


@cache
def sample(part: str) -> tuple[Picture, NDArray[np.bool_]]:
    """Images of the sample's part `train` or `valid`, and whether each is a three."""
    images, labels = (
        np.frombuffer(gzip.decompress((SAMPLE / f"{part}-{file}").read_bytes()), np.uint8, offset=n)
        for file, n in (("images-idx3-ubyte.gz", 16), ("labels-idx1-ubyte.gz", 8))
    )
    return images.reshape(-1, 28, 28), labels == labels[0]


@cache
def linear_model() -> NDArray[np.float32]:
    """Least squares on the training images: about 97 % of the others right."""
    images, threes = sample("train")
    rows = np.c_[images.reshape(-1, 784) / np.float32(255), np.ones(len(images), np.float32)]
    square = rows.T @ rows + 30 * np.eye(785, dtype=np.float32)
    return np.linalg.solve(square, rows.T @ np.where(threes, 1, -1).astype(np.float32))


def classified_correctly(images: Picture, threes: NDArray[np.bool_]) -> int:
    """How many of the images the linear model classifies correctly."""
    model = linear_model()
    scores = images.reshape(-1, 784) / np.float32(255) @ model[:-1] + model[-1]
    return int(np.sum((scores > 0) == threes))
