"""The contents of a run's report."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_sgd.evaluation import Evaluation, evaluate
from mnist_sgd.evaluation.refused import accuracy, all_pictures
from mnist_sgd.report.chart import Chart, decimals, number, percent
from mnist_sgd.report.evaluation_charts import evaluation_charts
from mnist_sgd.report.folder import ARTIFACT
from mnist_sgd.report.history import History
from mnist_sgd.report.interpretability import occlusion_pictures, weights_picture
from mnist_sgd.report.pictures import Picture, pictures
from mnist_sgd.report.predictions import Predictions, training_images
from mnist_sgd.report.training_charts import training_charts
from mnist_sgd.training.metadata import measured_row
from mnist_sgd_serve import Predictor

if TYPE_CHECKING:
    from mnist_sgd.training.learner import Learner
    from mnist_sgd_serve.model.metadata import Metadata


WRONG, UNSURE, TYPICAL, ORIGINALS = 60, 12, 4, 29
"""Maximum number of pictures: misclassified; classified correctly, but the least sure; typical ones
of each class; and how many of each have their originals next to them."""


@dataclass(frozen=True, eq=False)
class ReportData:
    """A finished run.

    Attributes:
        name: name of its folder.
        config, environment: contents of their files.
        history: of the training.
        kept_epoch: epoch of the saved weights, from 0; None if they are not from one epoch.
        metadata: of the model file.
        evaluation: on the validation images, at the threshold of the metadata.
        predictions: on the same images.
        training_correct: number of training images that are classified correctly, and of those
            measured; None if unknown.
        training, quality: charts by section.
        wrong: misclassified validation images, the most confident mistakes first.
        unsure: correctly classified ones, the least confident first.
        typical: correctly classified ones of every class.
        weights: of a linear model, as a data URI, with the largest absolute one; None for others.
        maps: validation images with occlusion maps.
        artifact_size: in bytes.
    """

    name: str
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    history: History
    kept_epoch: int | None
    metadata: "Metadata"
    evaluation: Evaluation
    predictions: Predictions
    training_correct: tuple[int, int] | None
    training: list[Chart]
    quality: list[Chart]
    wrong: list[Picture]
    unsure: list[Picture]
    typical: list[Picture]
    weights: tuple[str, float] | None
    maps: list[Picture]
    artifact_size: int

    @property
    def charts(self) -> list[Chart]:
        """All charts."""
        return [*self.training, *self.quality]

    @property
    def correct(self) -> int:
        """Number of validation images that are classified correctly."""
        return len(self.predictions.dataset) - len(self.predictions.misclassified)

    @property
    def images(self) -> int:
        """Number of validation images, with refused pictures, which count as mistakes."""
        return all_pictures(self.predictions.dataset)

    @property
    def valid_loss(self) -> float | None:
        """The validation loss of the saved weights."""
        if self.kept_epoch is None:
            return None
        return self.history.column("valid_loss")[self.kept_epoch]

    @property
    def metrics(self) -> dict[str, str]:
        """The most important numbers of the run, by name."""
        evaluation, data = self.evaluation, self.predictions.dataset
        metrics = {
            "accuracy": percent(accuracy(evaluation, data)),
            "mistakes": f"{len(self.predictions.misclassified):,} of {len(data):,}",
            "area under ROC": decimals(evaluation.auc),
        }
        if self.valid_loss is not None:
            metrics["validation loss"] = number(self.valid_loss)
        if data.refused:
            metrics["refused"] = f"{data.refused:,}"
        metrics["calibration error"] = decimals(evaluation.expected_calibration_error)
        if "training_seconds" in self.environment:
            metrics["training"] = f"{self.environment['training_seconds']:.1f} s"
        metrics["parameters"] = f"{self.config['resolved']['parameters']:,}"
        metrics["model file"] = f"{self.artifact_size / 1000:,.1f} kB"
        return metrics


def gather(
    learn: "Learner", folder: Path, config: Mapping[str, Any], environment: Mapping[str, Any]
) -> ReportData:
    """Evaluate the model of a finished training and draw the charts of its report.

    Args:
        learn: after its last fit.
        folder: of the run; it holds the model file.
        config: content of its file.
        environment: content of its file.
    """
    predictor = Predictor(folder / ARTIFACT)
    metadata = predictor.metadata
    predictions = Predictions.of(learn, predictor)
    evaluation = evaluate(predictions.probabilities, predictions.dataset.labels, metadata.threshold)
    history = History.of(learn.recorder)
    training_correct = _training_correct(learn, predictor)
    wrong = predictions.misclassified.tolist()
    typical = [
        *predictions.typical(0, TYPICAL),
        *predictions.typical(1, TYPICAL),
    ]
    return ReportData(
        name=folder.resolve().name,
        config=config,
        environment=environment,
        history=history,
        kept_epoch=measured_row(learn),
        metadata=metadata,
        evaluation=evaluation,
        predictions=predictions,
        training_correct=training_correct,
        training=training_charts(history, training_correct),
        quality=evaluation_charts(evaluation, predictions),
        wrong=pictures(predictions, wrong[:WRONG], ORIGINALS),
        unsure=pictures(predictions, predictions.least_sure[:UNSURE].tolist(), ORIGINALS),
        typical=pictures(predictions, typical, ORIGINALS),
        weights=weights_picture(learn.model),
        maps=occlusion_pictures(predictions),
        artifact_size=(folder / ARTIFACT).stat().st_size,
    )


def _training_correct(learn: "Learner", predictor: Predictor) -> tuple[int, int] | None:
    """Count the training images, of a sample, that the model file classifies correctly."""
    data = training_images(learn)
    if data is None or not len(data):
        return None
    found = Predictions.of(learn, predictor, data)
    return len(data) - len(found.misclassified), len(data)
