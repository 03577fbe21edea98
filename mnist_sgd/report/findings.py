"""All that a run's report is made of, gathered once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_sgd.evaluation import Evaluation, evaluate
from mnist_sgd.evaluation.refused import accuracy
from mnist_sgd.report.answers import Answers
from mnist_sgd.report.chart import Chart, number
from mnist_sgd.report.evaluation_plots import evaluation_charts
from mnist_sgd.report.folder import ARTIFACT
from mnist_sgd.report.history import History
from mnist_sgd.report.insight import attention_chart, mistakes_chart, weights_chart
from mnist_sgd.report.training_plots import training_charts
from mnist_sgd.training.metadata import measured_row
from mnist_sgd_serve import Predictor

if TYPE_CHECKING:
    from mnist_sgd.training.learner import Learner
    from mnist_sgd_serve.model.metadata import Metadata

__all__ = ["Findings", "gather"]


@dataclass(frozen=True, eq=False)
class Findings:
    """A finished run.

    Attributes:
        name: of its folder.
        config, environment: as in their files.
        history: of the training.
        kept_epoch: the epoch whose weights these are, from 0; None if they are of none.
        metadata: of the model's files.
        evaluation: on the validation images, at the metadata's threshold.
        answers: on the same.
        training, quality, insight: the charts, by section.
        artifact_size: in bytes.
    """

    name: str
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    history: History
    kept_epoch: int | None
    metadata: "Metadata"
    evaluation: Evaluation
    answers: Answers
    training: list[Chart]
    quality: list[Chart]
    insight: list[Chart]
    artifact_size: int

    @property
    def charts(self) -> list[Chart]:
        """All of them."""
        return [*self.training, *self.quality, *self.insight]

    @property
    def valid_loss(self) -> float | None:
        """Of the epoch whose weights these are."""
        if self.kept_epoch is None:
            return None
        return self.history.column("valid_loss")[self.kept_epoch]

    @property
    def figures(self) -> dict[str, str]:
        """The run in a few figures, by name."""
        evaluation, mistakes = self.evaluation, len(self.answers.mistakes)
        figures = {
            "accuracy": f"{accuracy(evaluation, self.answers.dataset):.2%}",
            "mistakes": f"{mistakes:,} of {len(self.answers.dataset):,}",
            "area under ROC": "not defined" if evaluation.auc is None else f"{evaluation.auc:.4f}",
        }
        if self.valid_loss is not None:
            figures["validation loss"] = number(self.valid_loss)
        if self.answers.dataset.refused:
            figures["refused"] = f"{self.answers.dataset.refused:,}"
        figures["calibration error"] = f"{evaluation.expected_calibration_error:.4f}"
        if "training_seconds" in self.environment:
            figures["training"] = f"{self.environment['training_seconds']:.1f} s"
        figures["parameters"] = f"{self.config['resolved']['parameters']:,}"
        figures["model file"] = f"{self.artifact_size / 1000:,.1f} kB"
        return figures


def gather(
    learn: "Learner", folder: Path, config: Mapping[str, Any], environment: Mapping[str, Any]
) -> Findings:
    """Ask the model of a finished training all that its report tells.

    Args:
        learn: after its last fit.
        folder: of the run; the artifact is there.
        config: as in its file.
        environment: as in its file.
    """
    predictor = Predictor(folder / ARTIFACT)
    metadata = predictor.metadata
    answers = Answers.of(learn, predictor)
    evaluation = evaluate(answers.probabilities, answers.dataset.labels, metadata.threshold)
    history = History.of(learn.recorder)
    seen = (mistakes_chart(answers), weights_chart(learn.model, metadata.classes))
    return Findings(
        name=folder.resolve().name,
        config=config,
        environment=environment,
        history=history,
        kept_epoch=measured_row(learn),
        metadata=metadata,
        evaluation=evaluation,
        answers=answers,
        training=training_charts(history),
        quality=evaluation_charts(evaluation, answers),
        insight=[*(chart for chart in seen if chart), attention_chart(answers)],
        artifact_size=(folder / ARTIFACT).stat().st_size,
    )
