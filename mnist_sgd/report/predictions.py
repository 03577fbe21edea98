"""A model's predictions on its validation images.

Probabilities, and all metrics, are computed with the model file, which is what users run. Torch
computes the logits, which rank the images and show what the model looks at.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from mnist_sgd._names import printable
from mnist_sgd.data.imageset import ImageSet, take_rows
from mnist_sgd.data.rows import Rows
from mnist_sgd.evaluation.inference import BATCH, predict_probabilities
from mnist_sgd.export.graph import Classifier
from mnist_sgd.loader.dataloader import DataLoader

if TYPE_CHECKING:
    from mnist_sgd.training.learner import Learner
    from mnist_sgd_serve import Predictor

TRAINING_IMAGES = 4096
"""Maximum number of training images that are predicted, evenly spaced: a second's work at most."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """A model and its predictions on a set of images.

    Attributes:
        classifier: the model as exported, a copy on the CPU.
        dataset: the images, preprocessed.
        threshold: images with a probability above it are predicted positive.
        probabilities: of the positive class, from the model file; float64 `[N]` in [0, 1].
    """

    classifier: Classifier
    dataset: "ImageSet"
    threshold: float
    probabilities: NDArray[np.float64]

    @classmethod
    def of(
        cls, learn: "Learner", predictor: "Predictor", dataset: "ImageSet | None" = None
    ) -> "Predictions":
        """Predict the images of a set.

        Args:
            learn: holds the model, and the loader that knows its normalisation.
            predictor: of the model file exported from it.
            dataset: the images; None for the learner's validation images.

        Raises:
            TypeError: the validation batches do not come from this package's DataLoader.
        """
        loader = learn.own_loader()
        classifier = Classifier(
            learn.model,
            mean=loader.mean,
            std=loader.std,
            input_shape=loader.sample_shape,
            dtype=loader.dtype,
        )
        dataset = loader.dataset if dataset is None else dataset
        probabilities = predict_probabilities(predictor, dataset.images).astype(np.float64)
        return cls(classifier, dataset, predictor.metadata.threshold, probabilities)

    def logits_of(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Compute the logits (log-odds) of the positive class, `[N]`, of images `[N, 28, 28]`."""
        parts = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        with torch.inference_mode():
            logits = [self.classifier.logits(torch.tensor(part)) for part in parts]
        return torch.cat(logits).reshape(-1).double().numpy()

    @cached_property
    def logits(self) -> NDArray[np.float64]:
        """The logits of all images, `[N]`; distinct even where probabilities round to 1."""
        return self.logits_of(self.dataset.images)

    @cached_property
    def predicted(self) -> NDArray[np.bool_]:
        """Whether each image is predicted positive, `[N]`."""
        return self.probabilities > self.threshold

    @cached_property
    def misclassified(self) -> NDArray[np.intp]:
        """The indices of the misclassified images, the most confident ones first."""
        wrong = np.flatnonzero(self.predicted != (self.dataset.labels == 1))
        return wrong[np.argsort(-np.abs(self.logits[wrong]), kind="stable")]

    @property
    def least_sure(self) -> NDArray[np.intp]:
        """The indices of the correctly classified images, the least confident ones first."""
        right = np.flatnonzero(self.predicted == (self.dataset.labels == 1))
        return right[np.argsort(np.abs(self.logits[right]), kind="stable")]

    def typical(self, label: int, count: int) -> list[int]:
        """Pick up to `count` correctly classified images of a class, the least confident first.

        They are evenly spaced in the more confident half of the ranking of these images.
        """
        right = np.flatnonzero((self.dataset.labels == label) & (self.predicted == bool(label)))
        order = right[np.argsort(self.logits[right] * (1 if label else -1), kind="stable")]
        order = order[len(order) // 2 :]
        steps = (np.arange(count) + 0.5) / count * len(order)
        return list(dict.fromkeys(order[steps.astype(int)].tolist())) if len(order) else []


def training_images(learn: "Learner") -> ImageSet | None:
    """Select at most `TRAINING_IMAGES` training images of a learner.

    Returns:
        None if its batches do not come from this package's DataLoader of an ImageSet.
    """
    loader = learn.dls.train
    if not (isinstance(loader, DataLoader) and isinstance(loader.dataset, ImageSet)):
        return None
    data = loader.dataset
    if len(data) <= TRAINING_IMAGES:
        return data
    chosen = np.arange(TRAINING_IMAGES) * len(data) // TRAINING_IMAGES
    is_chosen = np.zeros(len(data), np.bool_)
    is_chosen[chosen] = True
    parts = data.rows or [Rows(range(len(data)))]
    ends = np.cumsum([len(part) for part in parts])[:-1]
    masks = np.split(is_chosen, ends)
    return replace(
        data,
        images=take_rows(data.images, chosen),
        labels=data.labels[chosen],
        files=[data.files[i] for i in chosen.tolist()] if data.files else (),
        digests=(),
        rows=[part.at(mask) for part, mask in zip(parts, masks, strict=True)],
    )


def file_name(path: str) -> str:
    """The name of a file without its folders, which would reveal the machine's layout."""
    return printable(PurePath(path).name)
