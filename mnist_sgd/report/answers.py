"""What a trained model answers on its validation images, and which of the answers tell most."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from mnist_sgd.export.graph import Classifier

if TYPE_CHECKING:
    from mnist_sgd.data import ImageSet
    from mnist_sgd.learner import Learner

__all__ = ["Answers"]

BATCH = 1024


@dataclass(frozen=True, eq=False)
class Answers:
    """A model and what it says of a set of images.

    Attributes:
        classifier: the model as its artefact has it, a copy on the CPU.
        dataset: the images, prepared.
        threshold: a probability above it is called the positive class.
    """

    classifier: Classifier
    dataset: "ImageSet"
    threshold: float

    @classmethod
    def of(cls, learn: "Learner", threshold: float) -> "Answers":
        """The answers of a learner's model on its validation images.

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
        return cls(classifier, loader.dataset, threshold)

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """The log-odds for the positive class, `[N]`, of images uint8 `[N, 28, 28]`."""
        parts = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        with torch.inference_mode():
            logits = [self.classifier.logits(torch.tensor(part)) for part in parts]
        return torch.cat(logits).reshape(-1).double().numpy()

    @cached_property
    def sureness(self) -> NDArray[np.float64]:
        """The log-odds of every image, `[N]`, which go on where probabilities are rounded to 1."""
        return self.logits(self.dataset.images)

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """Of the positive class for every image, `[N]`, in [0, 1], to float32 as the artefact's."""
        return torch.from_numpy(self.sureness).float().sigmoid().double().numpy()

    @cached_property
    def called(self) -> NDArray[np.bool_]:
        """Whether each image is called the positive class, `[N]`."""
        return self.probabilities > self.threshold

    @cached_property
    def mistakes(self) -> NDArray[np.intp]:
        """The indices of the images that are called wrong, those with the surest answer first."""
        wrong = np.flatnonzero(self.called != (self.dataset.labels == 1))
        return wrong[np.argsort(-np.abs(self.sureness[wrong]), kind="stable")]

    def typical(self, label: int, count: int) -> list[int]:
        """Up to `count` images of a class that are called right, from the least to the most sure.

        They are evenly spaced among the images of the class in the order of their probability.
        """
        right = np.flatnonzero((self.dataset.labels == label) & (self.called == bool(label)))
        order = right[np.argsort(self.sureness[right] * (1 if label else -1), kind="stable")]
        steps = (np.arange(count) + 0.5) / count * len(order)
        return list(dict.fromkeys(order[steps.astype(int)].tolist())) if len(order) else []
