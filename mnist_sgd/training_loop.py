"""The loop that trains a model: epochs, batches, validation, each between its moments."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mnist_sgd.callbacks import CancelBatch, CancelEpoch, CancelTrain, CancelValidate
from mnist_sgd.distributed import Ranks
from mnist_sgd.loader import Batch, DataLoaders
from mnist_sgd.optimizers import momentum_of
from mnist_sgd.progress import format_time, table_header, table_row
from mnist_sgd.provenance import measured
from mnist_sgd.recorder import Mean, Metric, Recorder
from mnist_sgd.stages import Stages

__all__ = ["Loss", "TrainingLoop"]

NOTHING = torch.empty(0)

Loss = Callable[[Tensor, Tensor], Tensor]


class TrainingLoop(Stages):
    """What the `Learner` does in a fit; its attributes are described there."""

    def __init__(
        self,
        dls: DataLoaders,
        model: nn.Module,
        loss_func: Loss,
        metrics: Sequence[Metric],
        ranks: Ranks,
    ) -> None:
        super().__init__()
        self.dls = dls
        self.model = model.to(ranks.device)
        self.loss_func = loss_func
        self.metrics = list(metrics)
        self.ranks = ranks
        self.recorder = Recorder(self.metrics)
        self.opt: Any = None
        self.logger: Callable[[str], None] = print_line if ranks.is_first else print_nothing
        self.epoch = self.n_epoch = self.batch = 0
        self.training = False
        self.xb = self.yb = self.pred = self.loss = NOTHING
        self._model: Callable[[Tensor], Tensor] = model
        self._loss = loss_func

    @property
    def pct_train(self) -> float:
        """The share of the fit's training batches that came before the one at hand, in [0, 1).

        Raises:
            TypeError: the training batches have no length.
        """
        batches = len(self.dls.train)  # type: ignore[arg-type]  # a length is what it asks for
        return (self.epoch + (self.batch - 1) / batches) / self.n_epoch

    def _fit(self) -> None:
        self._model = self.ranks.synced_model(self.model)
        self._loss = self.ranks.synced_loss(self.loss_func, self.dls.train)
        for line in (table_header(self.recorder.metric_names), *self.recorder.lines):
            self.logger(line)
        for epoch in range(self.epoch, self.n_epoch):
            self.epoch = epoch
            self._stage("epoch", self._epoch, CancelEpoch)
            self.batch = 0

    def _epoch(self) -> None:
        start = time.time()
        self._stage("train", self._train, CancelTrain)
        valid = self._validate(self.dls.valid)
        row = self.recorder.add_epoch(valid, measured(self))
        values = [self.epoch, *row, format_time(time.time() - start)]
        self.recorder.lines.append(table_row(values, self.recorder.metric_names))
        self.logger(self.recorder.lines[-1])

    def _train(self) -> None:
        self.training = True
        self.model.train()
        self._each(self.dls.train, self._one_batch)

    def _each(self, batches: Iterable[Batch], body: Callable[[], None]) -> None:
        """Go through batches; each is let go before the next is asked for.

        A loader that makes a batch where the one before it was, in the processor's cache, needs
        that memory free by then.
        """
        cancelled = suppress(CancelBatch)
        here = self.ranks.moved(batches)
        for self.xb, self.yb in here:
            with cancelled:
                body()
            self.xb = self.yb = NOTHING

    def _one_batch(self) -> None:
        self.batch += 1
        self._call("before_batch")
        self.pred = self._model(self.xb)
        self._call("after_pred")
        self.loss = self._loss(self.pred, self.yb)
        self._call("after_loss")
        self.loss.backward()  # type: ignore[no-untyped-call]
        self._call("before_step")
        self.opt.step()
        self.opt.zero_grad()
        group = self.opt.param_groups[-1]
        self.recorder.add_batch(self.loss, group["lr"], momentum_of(group))
        self._call("after_batch")

    def _validate(self, batches: Iterable[Batch]) -> list[float]:
        means = [Mean() for _ in range(1 + len(self.metrics))]
        self.training = False
        self.model.eval()
        one_batch = partial(self._one_valid_batch, means)
        with torch.no_grad():
            self._stage("validate", partial(self._each, batches, one_batch), CancelValidate)
        return self._over_ranks(means)

    def _over_ranks(self, means: Sequence[Mean]) -> list[float]:
        """The means over all ranks' images."""
        if self.ranks.world_size == 1:
            return [mean.value for mean in means]
        sums = torch.tensor([[float(m.total), m.count] for m in means], dtype=torch.float64)
        totals, counts = self.ranks.sum(sums).unbind(1)
        return (totals / counts).tolist()

    def _one_valid_batch(self, means: list[Mean]) -> None:
        if len(self.yb) == 0:  # a rank's part of a small last batch, of which there is no mean
            return
        self._call("before_batch")
        self.pred = self.model(self.xb)
        self._call("after_pred")
        self.loss = self.loss_func(self.pred, self.yb)
        self._call("after_loss")
        size = len(self.yb)
        means[0].add(self.loss, size)
        for mean, metric in zip(means[1:], self.metrics, strict=True):
            mean.add(metric(self.pred, self.yb), size)
        self._call("after_batch")


def print_line(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def print_nothing(line: str) -> None:
    """Take a line and print nothing."""
