"""Preprocess a grey picture to the model's 28x28, as in training.

The artifact names its preprocessing, so that training, `predict` and the server agree:

    mnist    only the drawn character, normalised like MNIST's digits; see `mnist_format`
    fit      the whole picture, aspect ratio kept; see `resize`
    stretch  the whole picture, aspect ratio not kept
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve._earlier import accepts_earlier
from mnist_sgd_serve.images.digits.mnist_format import is_mnist, to_mnist
from mnist_sgd_serve.images.resize import fit, stretch

PREPROCESSING_KINDS = ("mnist", "fit", "stretch")


@dataclass(frozen=True)
class Preprocessed:
    """An image ready for the model.

    Attributes:
        image: uint8 `[28, 28]`, C-contiguous; with `mnist`, light ink on dark paper.
        inverted: the picture was dark ink on light paper; only with `mnist`.
        unchanged: the picture already had the model's format, and `image` is a copy of it.
    """

    image: NDArray[np.uint8] = field(repr=False, compare=False)
    inverted: bool
    unchanged: bool


@accepts_earlier(preparation="preprocessing")
def preprocess(grey: NDArray[np.uint8], preprocessing: str = "mnist") -> Preprocessed:
    """Convert a picture to the model's input.

    Args:
        grey: uint8 `[height, width]`; for `mnist`, ink of either polarity on a sheet and any
            surroundings.
        preprocessing: one of `PREPROCESSING_KINDS`, the one that the artifact names.

    Raises:
        BlankImage: the picture is blank or, with `mnist`, all ink or ambiguous.
        TypeError: `grey` is not a uint8 array.
        ValueError: `grey` is not two-dimensional or empty, or `preprocessing` is unknown.
    """
    if not isinstance(grey, np.ndarray) or grey.dtype != np.uint8:
        given = getattr(grey, "dtype", type(grey).__name__)
        raise TypeError(
            f"a picture must be an array of dtype uint8, got {given}: scale it to 0 to 255"
        )
    if grey.ndim != 2 or grey.size == 0:
        colour = grey.ndim == 3 and grey.shape[2] in (3, 4) and grey.size > 0
        hint = ": pass PIL.Image.fromarray(picture) for colours" if colour else ""
        shape = list(grey.shape)
        raise ValueError(f"a picture must have the shape [height, width], got {shape}{hint}")
    check_preprocessing(preprocessing)
    if preprocessing == "mnist":
        if is_mnist(grey):
            return Preprocessed(np.array(grey, order="C"), inverted=False, unchanged=True)
        return Preprocessed(*to_mnist(grey), unchanged=False)
    image = fit(grey) if preprocessing == "fit" else stretch(grey)
    return Preprocessed(image, inverted=False, unchanged=grey.shape == image.shape)


def check_preprocessing(name: str) -> None:
    """Raise ValueError unless the name is one of `PREPROCESSING_KINDS`."""
    if name not in PREPROCESSING_KINDS:
        raise ValueError(f"preprocessing must be mnist, fit or stretch, got {name!r}")
