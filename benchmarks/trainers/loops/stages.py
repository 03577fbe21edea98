"""Where the Learner's time goes, batch by batch: `ours` with a clock read at its moments."""

import statistics
import time

from loops import ours
from loops.common import Trained

from mnist_sgd import Callback, Learner

STAGES = ("loader", "forward", "loss", "backward", "step, recorder")


class Stages(Callback):
    """Reads the clock at each moment of the training batches."""

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.last = 0.0

    def _stamp(self) -> None:
        now = time.perf_counter()
        self.batches[-1].append(now - self.last)
        self.last = time.perf_counter()

    def before_train(self, learn: Learner) -> None:
        """The first batch is asked for."""
        self.last = time.perf_counter()

    def before_batch(self, learn: Learner) -> None:
        """The loader is done."""
        if learn.training:
            self.batches.append([])
            self._stamp()

    def after_pred(self, learn: Learner) -> None:
        """The forward pass is done."""
        if learn.training:
            self._stamp()

    after_loss = before_step = after_batch = after_pred


def train(epochs: int) -> Trained:
    """Train anew; a stage's figure is the median over the batches, in microseconds."""
    stages = Stages()
    trained = ours.train(epochs, stages)
    columns = zip(*stages.batches, strict=True)
    medians = [1e6 * statistics.median(column) for column in columns]
    return {**trained, "stages": dict(zip(STAGES, medians, strict=True))}
