"""A few validation pictures of each class in a run's folder, as examples for the server's page."""

import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mnist_sgd._files import atomic_write
from mnist_sgd.report.folder import EXAMPLES, remove_files
from mnist_sgd_serve.images.decode import decode_own
from mnist_sgd_serve.images.errors import ImageError
from mnist_sgd_serve.model.examples import example_name

if TYPE_CHECKING:
    from mnist_sgd.data import ImageSet

PER_CLASS = 3
"""Maximum number of pictures of a class."""

SIDE = 256
"""Maximum width and height in pixels."""


def write_examples(
    folder: Path, dataset: "ImageSet", data: str | os.PathLike[str] | None = None
) -> None:
    """Write up to `PER_CLASS` pictures of each class, evenly spaced in the order of the set.

    The pictures are grey PNG files without metadata. Where an original file is not found, its
    preprocessed image is written. The images of the MNIST sample, of which the server has examples,
    are not written.

    Args:
        folder: of the run.
        dataset: the validation set.
        data: the folder that its `files` are in, if known.

    Raises:
        OSError: a file cannot be written.
    """
    remove_files(folder / EXAMPLES, "*.png")
    if dataset.name.startswith("MNIST sample"):
        return
    (folder / EXAMPLES).mkdir(exist_ok=True)
    for label, name in enumerate(dataset.classes):
        indices = np.flatnonzero(dataset.labels == label)
        steps = ((np.arange(PER_CLASS) + 0.5) / PER_CLASS * len(indices)).astype(int)
        chosen = np.unique(indices[steps]) if len(indices) else indices
        for number, index in enumerate(chosen.tolist(), 1):
            path = folder / EXAMPLES / example_name(name, number)
            atomic_write(path, _png(_picture(dataset, index, data)))


def _picture(
    dataset: "ImageSet", index: int, data: str | os.PathLike[str] | None
) -> NDArray[np.uint8]:
    """Read an original picture, or return its preprocessed image."""
    if data is not None and dataset.files:
        try:
            return decode_own(os.path.join(data, dataset.files[index]))
        except (ImageError, OSError):  # it was moved during the training
            pass
    return np.asarray(dataset.images[index])


def _png(picture: NDArray[np.uint8]) -> bytes:
    image = Image.fromarray(picture)
    image.thumbnail((SIDE, SIDE))
    content = BytesIO()
    image.save(content, "PNG", optimize=True)
    return content.getvalue()
