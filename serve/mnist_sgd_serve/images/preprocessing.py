"""From any picture in grey to the 28x28 that a model takes, in the way that the model was trained.

An artifact names its preprocessing, so that training, `predict` and the server cannot differ:

    mnist    the drawn thing alone, as MNIST's digits were made; see `mnist_recipe`
    fit      the whole picture, its proportions kept; see `whole_picture`
    stretch  the whole picture, its proportions not kept
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
        image: uint8 `[28, 28]`, C-contiguous; by `mnist` light ink on dark paper.
        inverted: the picture was dark ink on light paper; by `mnist` alone.
        unchanged: the picture was such an image already, and `image` is a copy of it.
    """

    image: NDArray[np.uint8] = field(repr=False, compare=False)
    inverted: bool
    unchanged: bool


@accepts_earlier(preparation="preprocessing")
def preprocess(grey: NDArray[np.uint8], preprocessing: str = "mnist") -> Preprocessed:
    """Make a model's image of a picture.

    Args:
        grey: uint8 `[height, width]`; for `mnist` ink of either polarity on a sheet, with
            whatever is around that.
        preprocessing: one of `PREPROCESSING_KINDS`, the one that the model's artifact names.

    Raises:
        BlankImage: it is blank, or by `mnist` nothing but ink, or it cannot be told what is drawn.
        TypeError: `grey` is not a uint8 array.
        ValueError: `grey` has not two axes, or no pixel; or there is no such preprocessing.
    """
    if not isinstance(grey, np.ndarray) or grey.dtype != np.uint8:
        given = getattr(grey, "dtype", type(grey).__name__)
        raise TypeError(
            f"a picture must be an array of dtype uint8, got {given}: make 0 to 255 of its greys"
        )
    if grey.ndim != 2 or grey.size == 0:
        colour = grey.ndim == 3 and grey.shape[2] in (3, 4) and grey.size > 0
        hint = ": PIL.Image.fromarray(picture) takes colours" if colour else ""
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
    """Refuse a name that is none of `PREPROCESSING_KINDS`.

    Raises:
        ValueError: it is none; the message names them.
    """
    if name not in PREPROCESSING_KINDS:
        raise ValueError(f"preprocessing must be mnist, fit or stretch, got {name!r}")
