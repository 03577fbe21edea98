"""How good a two-class model is: figures, curves, calibration, and the choice of a threshold.

It needs NumPy alone. Everywhere a probability above the threshold is called positive, one at the
threshold is not, which is the artifact's rule (`Metadata.label`). A figure that has nothing to be a
share of, as the recall where no image is positive, is None and never a number that looks like one.
"""

from mnist_sgd.evaluation.calibration import Bin
from mnist_sgd.evaluation.counts import Counts
from mnist_sgd.evaluation.curves import PrecisionRecallCurve, RocCurve
from mnist_sgd.evaluation.evaluate import Evaluation, evaluate
from mnist_sgd.evaluation.interval import wilson_interval
from mnist_sgd.evaluation.mistakes import mistakes
from mnist_sgd.evaluation.threshold import ThresholdError, threshold_for

__all__ = [
    "Bin",
    "Counts",
    "Evaluation",
    "PrecisionRecallCurve",
    "RocCurve",
    "ThresholdError",
    "evaluate",
    "mistakes",
    "threshold_for",
    "wilson_interval",
]
