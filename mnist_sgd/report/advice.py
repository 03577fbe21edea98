"""What to do next with a trained model, in a sentence or two."""

from mnist_sgd.evaluation.interval import wilson_interval
from mnist_sgd.report.report_data import ReportData
from mnist_sgd.report.training_charts import OVERFITTING

FEW = 20
"""Training images of a class, below which more of them help most."""

POOR = 0.98
"""Accuracy of a simple model, below which a convolutional one is worth a try."""

SIMPLE_MODELS = {"linear", "mlp"}


def advice(run: ReportData) -> str:
    """Say what to do next; the most urgent advice only."""
    pictures = bool(run.predictions.dataset.files)
    wrong = len(run.predictions.misclassified)
    share = run.correct / run.images if run.images else 0.0
    counts = run.config["data"].get("train", {}).get("classes", {})
    few = min(counts.items(), key=lambda item: item[1], default=("", FEW))
    if run.images and wilson_interval(run.correct, run.images)[0] <= 0.5:
        return (
            "So few right answers may be guesses. Add images: there are "
            f"{sum(counts.values()):,} to train on."
        )
    if pictures and few[1] < FEW:
        return f"Add pictures: there are only {few[1]} of {few[0]} to train on."
    if _learned_by_heart(run, share):
        return (
            "It has learned the training images by heart. Add images, or train again with "
            "--augment, or with --best and --early-stopping 5."
        )
    if wrong and run.config["resolved"].get("model") in SIMPLE_MODELS and share < POOR:
        return (
            "Train the convolutional network, --model cnn: it makes far fewer mistakes. Then try "
            "it on pictures of your own."
        )
    if not wrong:
        return "Try it on pictures that it has not seen: with more of them, its accuracy is surer."
    if not pictures:
        return "Look at the mistakes, then try the model on pictures of your own."
    return (
        "Look at the wrong pictures: move those that are in the wrong folder, add more that look "
        "like them, and train again."
    )


def _learned_by_heart(run: ReportData, share: float) -> bool:
    if run.training_correct is None:
        return False
    correct, count = run.training_correct
    return correct / count - share > OVERFITTING
