"""The contents of a run's report."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_sgd.evaluation import Evaluation, evaluate
from mnist_sgd.evaluation.refused import accuracy
from mnist_sgd.report.chart import Chart, decimals, number
from mnist_sgd.report.evaluation_charts import evaluation_charts
from mnist_sgd.report.folder import ARTIFACT
from mnist_sgd.report.history import History
from mnist_sgd.report.interpretability import misclassified_chart, occlusion_chart, weights_chart
from mnist_sgd.report.predictions import Predictions
from mnist_sgd.report.training_charts import training_charts
from mnist_sgd.training.metadata import measured_row
from mnist_sgd_serve import Predictor

if TYPE_CHECKING:
    from mnist_sgd.training.learner import Learner
    from mnist_sgd_serve.model.metadata import Metadata


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
        training, quality, interpretability: charts by section.
        misclassified: chart of the misclassified images; None if there are none.
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
    training: list[Chart]
    quality: list[Chart]
    misclassified: Chart | None
    interpretability: list[Chart]
    artifact_size: int

    @property
    def charts(self) -> list[Chart]:
        """All charts."""
        misclassified = [self.misclassified] if self.misclassified else []
        return [*self.training, *self.quality, *misclassified, *self.interpretability]

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
            "accuracy": f"{accuracy(evaluation, data):.2%}",
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
    weights = weights_chart(learn.model, metadata.classes)
    return ReportData(
        name=folder.resolve().name,
        config=config,
        environment=environment,
        history=history,
        kept_epoch=measured_row(learn),
        metadata=metadata,
        evaluation=evaluation,
        predictions=predictions,
        training=training_charts(history),
        quality=evaluation_charts(evaluation, predictions),
        misclassified=misclassified_chart(predictions),
        interpretability=[*([weights] if weights else []), occlusion_chart(predictions)],
        artifact_size=(folder / ARTIFACT).stat().st_size,
    )
