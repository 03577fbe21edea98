"""An evaluation as lines of text, for a terminal."""

from collections.abc import Iterator, Sequence

from mnist_sgd.evaluation.evaluate import Evaluation

__all__ = ["calibration_table", "confusion_table", "curve_tables", "figures_table"]

RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
"""The false positive rates that the ROC curve is read at."""

RECALLS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
"""The recalls that the precision is read at."""

_WIDTH = 20


def confusion_table(evaluation: Evaluation, classes: Sequence[str]) -> Iterator[str]:
    """The confusion matrix: a row a class, a column a call."""
    width = max(8, *(len(name) + 7 for name in classes))
    yield " " * width + "".join(f"{'called ' + name:>{width + 2}}" for name in classes)
    for name, row in zip(classes, evaluation.counts.matrix, strict=True):
        yield f"{'is ' + name:<{width}}" + "".join(f"{count:>{width + 2},}" for count in row)


def figures_table(evaluations: Sequence[Evaluation], classes: Sequence[str]) -> Iterator[str]:
    """The figures of a threshold in a column, beside what each is the share of."""
    negative, positive = classes
    yield _row("threshold", [str(one.threshold) for one in evaluations])
    yield _row("accuracy", [_figure(one.accuracy) for one in evaluations])
    notes = {
        "precision": f"of those called {positive} are {positive}",
        "recall": f"of those that are {positive} are called so",
        "specificity": f"of those that are {negative} are called so",
    }
    for name, note in notes.items():
        yield _row(name, [_figure(getattr(one, name)) for one in evaluations]) + f"  {note}"
    yield _row("F1", [_figure(one.f1) for one in evaluations])


def curve_tables(evaluation: Evaluation) -> Iterator[str]:
    """The ROC curve and the precision-recall curve at a few places."""
    roc, precision_recall = evaluation.roc, evaluation.precision_recall
    if roc is None:
        yield "ROC: undefined, all images are of one class"
    else:
        yield f"ROC, area {_figure(evaluation.auc)}; the recall by the false positive rate"
        best = [roc.tpr[roc.fpr <= rate].max() for rate in RATES]
        yield _row("  FPR up to", [f"{rate:g}" for rate in RATES])
        yield _row("  recall", [_figure(recall) for recall in best])
    yield ""
    if precision_recall is None:
        yield "average precision: undefined, no image is positive"
    else:
        average = _figure(evaluation.average_precision)
        yield f"average precision {average}; the precision by the recall"
        curve = precision_recall
        best = [curve.precision[curve.recall >= recall].max() for recall in RECALLS]
        yield _row("  recall from", [f"{recall:g}" for recall in RECALLS])
        yield _row("  precision", [_figure(precision) for precision in best])


def calibration_table(evaluation: Evaluation, positive: str) -> Iterator[str]:
    """The probabilities in bins, beside what became of them."""
    yield (
        f"calibration, expected error {_figure(evaluation.expected_calibration_error)}, "
        f"Brier score {_figure(evaluation.brier_score)}"
    )
    yield _row(f"  P({positive})", ["images", "mean P", f"are {positive}"])
    for one in evaluation.calibration:
        shares = [_figure(one.mean_probability), _figure(one.positive_share)]
        yield _row(f"  {one.low:.1f} to {one.high:.1f}", [f"{one.count:,}", *shares])


def _row(name: str, values: Sequence[str]) -> str:
    return f"{name:<{_WIDTH}}" + "".join(f" {value:>9}" for value in values)


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
