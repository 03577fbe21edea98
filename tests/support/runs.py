"""Small trainings for the tests of runs, and what they leave."""

from pathlib import Path

import numpy as np

from mnist_sgd import DataLoader, DataLoaders, Learner, batch_accuracy, create_model
from mnist_sgd.data import ImageSet

__all__ = ["contents", "easy_set", "learner"]


def easy_set(
    count: int = 60, classes: tuple[str, str] = ("left", "right"), flipped: int = 0
) -> ImageSet:
    """Images that are light on one side, by turns; the labels of the first few are wrong."""
    labels = (np.arange(count) % 2).astype(np.uint8)
    images = np.random.default_rng(0).integers(0, 40, (count, 28, 28), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[6:22, 14 * label + 2 : 14 * label + 12] += 200
    labels[:flipped] = 1 - labels[:flipped]
    return ImageSet(images, labels, classes, "easy")


def learner(model: str = "linear", valid: ImageSet | None = None, epochs: int = 5) -> Learner:
    """A learner that was trained on an easy set, quietly, and calls all of it right."""
    valid = easy_set() if valid is None else valid
    train = easy_set(200, valid.classes)
    dls = DataLoaders(DataLoader(train, 20, shuffle=True), DataLoader(valid, 32))
    learn = Learner(dls, create_model(model, seed=0), metrics=batch_accuracy)
    with learn.no_logging():
        learn.fit(epochs, lr=0.5)
    return learn


def contents(folder: Path) -> dict[str, bytes]:
    """The files below a folder by their relative names."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
