"""What is known of a trained model, as the metadata of the files that it leaves as."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mnist_sgd.export.versions import versions
from mnist_sgd.loader import DataLoader
from mnist_sgd.models import model_name
from mnist_sgd_serve.metadata import Metadata

if TYPE_CHECKING:
    from mnist_sgd.learner import Learner

__all__ = ["describe"]

LICENCE = "Apache-2.0"
"""Of the code and of weights that it trains; the bundled data has its own, which adds to it."""


def describe(learn: Learner) -> Metadata:
    """The metadata of a learner's model: classes, normalisation, data, figures, versions.

    The figures are those of the row that the weights have, without the training loss and without
    one that is infinite or nan, which JSON cannot hold.

    Raises:
        TypeError: the validation batches do not come from this package's DataLoader.
    """
    valid = learn.own_loader()
    names = learn.recorder.metric_names[2:-1]
    row = learn.recorder.values[learn.kept_row][1:] if learn.recorder.values else []
    metrics = {name: value for name, value in zip(names, row, strict=False) if isfinite(value)}
    data = {valid.dataset.name or "valid": valid.dataset.fingerprint()}
    train = valid.dataset
    if isinstance(learn.dls.train, DataLoader):
        train = learn.dls.train.dataset
        data = {train.name or "train": train.fingerprint()} | data
    return Metadata(
        classes=valid.dataset.classes,
        mean=valid.mean,
        std=valid.std,
        preparation=valid.dataset.preparation,
        paper=None if valid.dataset.preparation == "mnist" else _paper(train.images),
        model=model_name(learn.model),
        metrics=metrics | {"images": len(valid.dataset)},
        data=data,
        versions=versions(),
        licence=LICENCE,
    )


def _paper(images: NDArray[np.uint8]) -> int:
    """The median grey of the images' borders; of a large set 1,024 images, evenly spaced."""
    count = min(len(images), 1024)
    some = images[np.arange(count) * len(images) // count]
    borders = [some[:, 0], some[:, -1], some[:, :, 0], some[:, :, -1]]
    return int(np.median(np.concatenate(borders, axis=1)) + 0.5)
