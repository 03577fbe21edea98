"""Evaluate a two-class model: metrics, curves, calibration, and the choice of a threshold.

Needs NumPy alone. An image is predicted positive if its probability is above the threshold, and
negative at the threshold, as the model file decides (`Metadata.label`). A metric whose denominator
is 0, such as the recall without positive images, is None, never a number that looks like one.
"""

from mnist_sgd.evaluation.calibration import Bin
from mnist_sgd.evaluation.confusion_matrix import ConfusionMatrix
from mnist_sgd.evaluation.curves import PrecisionRecallCurve, RocCurve
from mnist_sgd.evaluation.evaluate import Evaluation, evaluate, misclassified
from mnist_sgd.evaluation.interval import wilson_interval
from mnist_sgd.evaluation.threshold import ThresholdError, threshold_for

__all__ = [
    "Bin",
    "ConfusionMatrix",
    "Evaluation",
    "PrecisionRecallCurve",
    "RocCurve",
    "ThresholdError",
    "evaluate",
    "misclassified",
    "threshold_for",
    "wilson_interval",
]

Counts, mistakes = ConfusionMatrix, misclassified  # the names of an earlier version
