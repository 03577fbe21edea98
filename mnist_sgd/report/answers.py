"""What a trained model answers on its validation images, and which of the answers tell most.

Probabilities, and all that is counted of them, are those of the model's file: they are what its
users get. Torch gives the log-odds, which order the images and show what the model looks at.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from mnist_sgd._names import printable
from mnist_sgd.evaluation.ask import file_probabilities
from mnist_sgd.export.graph import Classifier

if TYPE_CHECKING:
    from mnist_sgd.data import ImageSet
    from mnist_sgd.training.learner import Learner
    from mnist_sgd_serve import Predictor

__all__ = ["Answers", "file_name"]

BATCH = 1024


@dataclass(frozen=True, eq=False)
class Answers:
    """A model and what it says of a set of images.

    Attributes:
        classifier: the model as its artifact has it, a copy on the CPU.
        dataset: the images, preprocessed.
        threshold: a probability above it is called the positive class.
        probabilities: of the positive class for every image, float64 `[N]`, in [0, 1]; those of
            the artifact, which are float32.
    """

    classifier: Classifier
    dataset: "ImageSet"
    threshold: float
    probabilities: NDArray[np.float64]

    @classmethod
    def of(cls, learn: "Learner", predictor: "Predictor") -> "Answers":
        """The answers of a learner's model on its validation images.

        Args:
            learn: holds the model and the images.
            predictor: of the artifact that was made of the model.

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
        probabilities = file_probabilities(predictor, loader.dataset.images).astype(np.float64)
        return cls(classifier, loader.dataset, predictor.metadata.threshold, probabilities)

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


def file_name(path: str) -> str:
    """The name of a file that a report may tell: without its folders, which are the machine's."""
    return printable(PurePath(path).name)
