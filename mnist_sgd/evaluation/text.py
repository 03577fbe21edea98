"""An evaluation as text tables for a terminal."""

from collections.abc import Iterator, Sequence

from mnist_sgd.evaluation.evaluate import Evaluation
from mnist_sgd.evaluation.interval import percentages

RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
"""False positive rates at which the ROC curve is shown."""

RECALLS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
"""Recalls at which the precision is shown."""

_WIDTH = 20


def confusion_table(evaluation: Evaluation, classes: Sequence[str]) -> Iterator[str]:
    """The confusion matrix: one row per actual class, one column per predicted class."""
    width = max(8, *(len(name) + 7 for name in classes))
    yield " " * width + "".join(f"{'predicted ' + name:>{width + 5}}" for name in classes)
    for name, row in zip(classes, evaluation.counts.matrix, strict=True):
        yield f"{'is ' + name:<{width}}" + "".join(f"{count:>{width + 5},}" for count in row)


def metrics_table(evaluations: Sequence[Evaluation], classes: Sequence[str]) -> Iterator[str]:
    """The metrics, one column per threshold, each with its definition."""
    negative, positive = classes
    yield _row("threshold", [str(one.threshold) for one in evaluations])
    counts = evaluations[-1].counts
    right = counts.true_negative + counts.true_positive
    _, low, high = percentages(right, sum(map(sum, counts.matrix)))
    interval = f"  95 % interval {low} to {high} %"
    yield _row("accuracy", [_metric(one.accuracy) for one in evaluations]) + interval
    notes = {
        "precision": f"of those predicted {positive} are {positive}",
        "recall": f"of those that are {positive} are predicted {positive}",
        "specificity": f"of those that are {negative} are predicted {negative}",
    }
    for name, note in notes.items():
        yield _row(name, [_metric(getattr(one, name)) for one in evaluations]) + f"  {note}"
    yield _row("F1", [_metric(one.f1) for one in evaluations])


def curve_tables(evaluation: Evaluation) -> Iterator[str]:
    """A few points of the ROC curve and of the precision-recall curve."""
    roc, precision_recall = evaluation.roc, evaluation.precision_recall
    if roc is None:
        yield "ROC: undefined, all images are of one class"
    else:
        yield f"ROC, area {_metric(evaluation.auc)}; recall by false positive rate"
        best = [roc.tpr[roc.fpr <= rate].max() for rate in RATES]
        yield _row("  FPR up to", [f"{rate:g}" for rate in RATES])
        yield _row("  recall", [_metric(recall) for recall in best])
    yield ""
    if precision_recall is None:
        yield "average precision: undefined, no image is positive"
    else:
        average = _metric(evaluation.average_precision)
        yield f"average precision {average}; precision by recall"
        curve = precision_recall
        best = [curve.precision[curve.recall >= recall].max() for recall in RECALLS]
        yield _row("  recall from", [f"{recall:g}" for recall in RECALLS])
        yield _row("  precision", [_metric(precision) for precision in best])


def calibration_table(evaluation: Evaluation, positive: str) -> Iterator[str]:
    """The calibration bins: mean probability and fraction of positives."""
    yield (
        f"calibration, expected error {_metric(evaluation.expected_calibration_error)}, "
        f"Brier score {_metric(evaluation.brier_score)}"
    )
    yield _row(f"  P({positive})", ["images", "mean P", f"are {positive}"])
    for one in evaluation.calibration:
        rates = [_metric(one.mean_probability), _metric(one.positive_share)]
        yield _row(f"  {one.low:.1f} to {one.high:.1f}", [f"{one.count:,}", *rates])


def _row(name: str, values: Sequence[str]) -> str:
    return f"{name:<{_WIDTH}}" + "".join(f" {value:>9}" for value in values)


def _metric(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
