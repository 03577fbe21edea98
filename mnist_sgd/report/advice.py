"""What to do next with a trained model, in a sentence or two."""

from typing import NamedTuple

from mnist_sgd.evaluation.interval import wilson_interval
from mnist_sgd.report.report_data import ReportData
from mnist_sgd.report.training_charts import OVERFITTING

FEW = 20
"""Training images of a class, below which more of them help most."""

POOR = 0.98
"""Accuracy of a simple model, below which a convolutional one is worth a try."""

PATIENCE = 5
"""Epochs without a lower validation loss, for early stopping."""

SIMPLE_MODELS = {"linear", "mlp"}


class Advice(NamedTuple):
    """What to do next.

    Attributes:
        text: a sentence or two.
        option: of `mnist-sgd train`, if it is another training.
        looks: whether to look at the mistakes.
    """

    text: str
    option: str = ""
    looks: bool = False


def advice(run: ReportData) -> Advice:
    """Say what to do next; the most urgent advice only."""
    pictures = bool(run.predictions.dataset.files)
    wrong = len(run.predictions.misclassified)
    share = run.correct / run.images if run.images else 0.0
    counts = run.config["data"].get("train", {}).get("classes", {})
    few = min(counts.items(), key=lambda item: item[1], default=("", FEW))
    if run.images and wilson_interval(run.correct, run.images)[0] <= 0.5:
        return Advice(
            "So few right answers may be guesses. Add images: there are "
            f"{sum(counts.values()):,} to train on."
        )
    if pictures and few[1] < FEW:
        return Advice(f"Add pictures: there are only {few[1]} of {few[0]} to train on.")
    if _learned_by_heart(run, share):
        return _against_overfitting(run)
    if wrong and run.config["resolved"].get("model") in SIMPLE_MODELS and share < POOR:
        return Advice(
            "Train the convolutional network, which usually makes fewer mistakes. Then try it on "
            "new pictures.",
            "--model cnn",
        )
    if not wrong:
        return Advice(
            "Try it on pictures that it has not seen: more of them make the estimate more precise."
        )
    if not pictures:
        return Advice("Look at the mistakes, then try the model on pictures of your own.")
    return Advice(
        "Look at the wrong pictures: move those that are in the wrong folder, add more that look "
        "like them, and train again.",
        looks=True,
    )


def _against_overfitting(run: ReportData) -> Advice:
    """Advise against a model that overfits, with what it lacks yet."""
    resolved, arguments = run.config["resolved"], run.config.get("arguments", {})
    text = "It overfits: it is much better on the training images. Add images"
    if not (resolved.get("train") or {}).get("augment"):
        return Advice(f"{text}, or train again with augmentation.", "--augment")
    if not arguments.get("best") and resolved.get("epochs", 0) > PATIENCE:
        return Advice(
            f"{text}, or keep the weights of the best epoch.",
            f"--best --early-stopping {PATIENCE}",
        )
    return Advice(f"{text}: augmentation and the best epoch are in use already.")


def _learned_by_heart(run: ReportData, share: float) -> bool:
    if run.training_correct is None:
        return False
    correct, count = run.training_correct
    return correct / count - share > OVERFITTING
