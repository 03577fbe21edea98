"""How many validation images the written model classifies correctly."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_sgd.data import ImageSet

BATCH = 1024
"""Images in a run of the model: memory stays flat for a data set of any size."""


@dataclass(frozen=True)
class Validation:
    """The result on the validation images.

    Attributes:
        correct: images that are classified correctly, at the model's threshold.
        images: number of images, refused pictures included.
        kind: "images" or "pictures".
        refused: pictures that the preprocessing refused; they count as errors.
        missing: a class without images; "" if there is none.
    """

    correct: int
    images: int
    kind: str = "images"
    refused: int = 0
    missing: str = ""

    @classmethod
    def of(cls, artifact: Path, dataset: "ImageSet") -> "Validation":
        """Measure the file itself, which is what will be used.

        Raises:
            ArtifactError: the file is not usable.
        """
        import numpy as np  # here: every command imports this module

        from mnist_sgd.evaluation.refused import all_pictures
        from mnist_sgd_serve import Predictor

        predictor = Predictor(artifact)
        threshold, correct = predictor.metadata.threshold, 0
        for start in range(0, len(dataset), BATCH):
            rows = slice(start, start + BATCH)
            probabilities = predictor.probabilities(dataset.images[rows]).astype(np.float64)
            correct += int(np.sum((probabilities > threshold) == (dataset.labels[rows] == 1)))
        kind = "pictures" if dataset.files else "images"
        there = set(np.unique(dataset.labels).tolist())
        missing = next((name for i, name in enumerate(dataset.classes) if i not in there), "")
        return cls(correct, all_pictures(dataset), kind, dataset.refused, missing)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the proportion."""
        from mnist_sgd.evaluation.interval import wilson_interval

        return wilson_interval(self.correct, self.images)

    def line(self) -> str:
        """The result as a line of text."""
        from mnist_sgd.evaluation.interval import percentages

        share, low, high = percentages(self.correct, self.images)
        line = (
            f"correct: {self.correct:,} of {self.images:,} validation {self.kind} "
            f"({share} %; 95 % interval {low} to {high} %)"
        )
        if self.refused:
            from mnist_sgd.evaluation.refused import refused_clause

            line += f"; {refused_clause(self.refused)}"
        return f"{line}; none of them is of the class {self.missing!r}" if self.missing else line

    def as_dict(self) -> dict[str, Any]:
        """The result for JSON."""
        facts = {"images": self.images, "correct": self.correct, "refused": self.refused}
        return facts | {"interval": list(self.interval)}
