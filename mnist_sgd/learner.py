"""The `Learner`: fastai's interface, semantics and printed figures for a two-class model.

From the same initial weights, on the same torch, its table is fastai 2.8's byte for byte (times
apart). It never waits for a device inside an epoch: what a batch yields stays a tensor until the
epoch's row is printed.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mnist_sgd.callbacks import (
    Callback,
    CancelBatch,
    CancelEpoch,
    CancelFit,
    CancelTrain,
    CancelValidate,
)
from mnist_sgd.checkpoint import load_checkpoint
from mnist_sgd.distributed import ALONE, Ranks
from mnist_sgd.export import ExportReport, export_model
from mnist_sgd.loader import Batch, DataLoader, DataLoaders
from mnist_sgd.losses import mnist_loss
from mnist_sgd.optimizers import SGD
from mnist_sgd.progress import ProgressBar, format_time, table_header, table_row
from mnist_sgd.provenance import describe
from mnist_sgd.recorder import Mean, Metric, Recorder
from mnist_sgd.weights import load_weights, save_weights

__all__ = ["Learner"]

NOTHING = torch.empty(0)


class Learner:
    """A model, its data, a loss and an optimizer, and the loop that trains the one on the other.

    Args:
        dls: the training and the validation batches.
        model: takes `xb` and gives logits `[B, 1]`.
        loss_func: of (logits, targets), a scalar.
        opt_func: called as `opt_func(parameters, lr=lr)` at the first fit; torch's optimizers do.
        lr: the learning rate of a fit that is given none.
        metrics: one function of (logits, targets) or several; their `__name__`s head the columns.
        cbs: callbacks of every fit.
        ranks: this process among those that train together; the loaders must have its rank. The
            model goes to its device.

    Attributes:
        recorder: the figures of the newest fit.
        opt: the optimizer, None before the first fit; it is kept from fit to fit.
        logger: called with each line of the table; `print` to begin with.
        base_lr: the learning rate that the newest fit was given.
        epoch, n_epoch, training, xb, yb, pred, loss: where the loop is, for callbacks; `xb` and
            `yb` are empty between batches.
    """

    def __init__(
        self,
        dls: DataLoaders,
        model: nn.Module,
        loss_func: Callable[[Tensor, Tensor], Tensor] = mnist_loss,
        opt_func: Callable[..., Any] = SGD,
        lr: float = 1e-3,
        metrics: Metric | Sequence[Metric] = (),
        cbs: Callback | Sequence[Callback] = (),
        ranks: Ranks = ALONE,
    ) -> None:
        self.dls = dls
        self.model = model.to(ranks.device)
        self.ranks = ranks
        self.loss_func = loss_func
        self.opt_func = opt_func
        self.lr = lr
        self.metrics: list[Metric] = [metrics] if callable(metrics) else list(metrics)
        self.cbs: list[Callback] = [cbs] if isinstance(cbs, Callback) else list(cbs)
        self.recorder = Recorder(self.metrics)
        self.opt: Any = None
        self.logger: Callable[[str], None] = _print_line if ranks.is_first else _print_nothing
        self.bar = ranks.world_size == 1  # it reads the loss when it likes, which ranks cannot
        self.epoch = self.n_epoch = 0
        self.base_lr = lr
        self.training = False
        self.xb = self.yb = self.pred = self.loss = NOTHING
        self._handlers: dict[str, list[Callable[[Learner], None]]] = {}
        self._model: Callable[[Tensor], Tensor] = model
        self._loss = loss_func

    def fit(
        self,
        n_epoch: int,
        lr: float | None = None,
        cbs: Callback | Sequence[Callback] = (),
        reset_opt: bool = False,
        resume: str | os.PathLike[str] | None = None,
    ) -> None:
        """Train for `n_epoch` epochs and print a row after each.

        Args:
            n_epoch: how often to go through the training batches.
            lr: the learning rate; None takes the learner's.
            cbs: callbacks of this fit alone, after the learner's own.
            reset_opt: start with a new optimizer instead of the last fit's.
            resume: a file that `Checkpoint` wrote: the fit that it is of goes on where it was cut
                off, after printing the rows that it had printed.

        Raises:
            CheckpointError: the file is missing, damaged, or of another fit.
            TypeError: in several processes the training batches are not from this package's
                DataLoader.
        """
        lr = self.lr if lr is None else lr
        if self.opt is None or reset_opt:
            self.opt = self.opt_func(self.model.parameters(), lr=lr)
        for group in self.opt.param_groups:
            group["lr"] = lr
        self.recorder = Recorder(self.metrics, self.ranks.mean)
        self.epoch, self.n_epoch, self.base_lr = 0, n_epoch, lr
        if resume is not None:
            load_checkpoint(self, resume)
        extra = [cbs] if isinstance(cbs, Callback) else list(cbs)
        with self._calling([*self.cbs, *extra, *([ProgressBar()] if self.bar else [])]):
            try:
                self._stage("fit", self._fit, CancelFit)
            finally:
                self._model = self.model  # what the ranks share is gone before they part

    def _fit(self) -> None:
        self._model = self.ranks.synced_model(self.model)
        self._loss = self.ranks.synced_loss(self.loss_func, self.dls.train)
        for line in (table_header(self.recorder.metric_names), *self.recorder.lines):
            self.logger(line)
        for epoch in range(self.epoch, self.n_epoch):
            self.epoch = epoch
            self._stage("epoch", self._epoch, CancelEpoch)

    def _epoch(self) -> None:
        start = time.time()
        self._stage("train", self._train, CancelTrain)
        valid = self._validate(self.dls.valid)
        row = self.recorder.add_epoch(valid)
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
        self._call("before_batch")
        self.pred = self._model(self.xb)
        self._call("after_pred")
        self.loss = self._loss(self.pred, self.yb)
        self._call("after_loss")
        self.loss.backward()  # type: ignore[no-untyped-call]
        self._call("before_step")
        self.opt.step()
        self.opt.zero_grad()
        self.recorder.add_batch(self.loss, self.opt.param_groups[-1]["lr"])
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

    def _stage(self, name: str, body: Callable[[], None], cancelled: type[Exception]) -> None:
        """Run the body of a stage between its moments; its cancellation ends just the stage."""
        try:
            self._call(f"before_{name}")
            body()
            self._call(f"after_{name}")
        except cancelled:
            pass
        finally:
            self._call(f"cleanup_{name}")

    def _call(self, moment: str) -> None:
        for handler in self._handlers.get(moment, ()):
            handler(self)

    @contextmanager
    def _calling(self, cbs: Sequence[Callback]) -> Iterator[None]:
        """Let `cbs` be called: of each the methods that it overrides, and no other."""
        handlers: dict[str, list[Callable[[Learner], None]]] = {}
        for cb in cbs:
            for moment, nothing in vars(Callback).items():
                if callable(nothing) and getattr(type(cb), moment) is not nothing:
                    handlers.setdefault(moment, []).append(getattr(cb, moment))
        before, self._handlers = self._handlers, handlers
        try:
            yield
        finally:
            self._handlers = before

    def validate(self, dl: Iterable[Batch] | None = None) -> list[float]:
        """The loss and the metrics over the validation batches, or over `dl`, each image alike."""
        with self._calling(self.cbs):
            return self._validate(self.dls.valid if dl is None else dl)

    def get_preds(
        self,
        dl: Iterable[Batch] | None = None,
        act: Callable[[Tensor], Tensor] | None = torch.sigmoid,
    ) -> tuple[Tensor, Tensor]:
        """The model's answers over the validation batches, or over `dl`.

        Args:
            dl: batches, in whose order the answers are.
            act: turns logits into answers: into probabilities of the positive class, to begin
                with; None leaves them as they are.

        Returns:
            The answers and the targets, each `[N, 1]`.
        """
        self.model.eval()
        preds, targets = [], []
        with torch.no_grad():
            for xb, yb in self.ranks.moved(self.dls.valid if dl is None else dl):
                pred = self.model(xb)
                preds.append(act(pred) if act else pred)
                targets.append(yb)
        return torch.cat(preds), torch.cat(targets)

    def predict(self, image: NDArray[np.uint8]) -> tuple[str, int, float]:
        """Classify one image.

        Args:
            image: uint8 `[28, 28]`, prepared as the training images are.

        Returns:
            The class's name, its label, and the probability of the positive class.

        Raises:
            TypeError: the validation batches do not come from this package's DataLoader.
        """
        loader = self.own_loader()
        self.model.eval()
        with torch.no_grad():
            probability = (
                self.model(loader.normalize(image[None]).to(self.ranks.device)).sigmoid().item()
            )
        label = int(probability > 0.5)
        return loader.dataset.classes[label], label, probability

    def own_loader(self) -> DataLoader:
        """The validation loader, which knows the class names and the normalisation.

        Raises:
            TypeError: it is not this package's DataLoader.
        """
        if not isinstance(self.dls.valid, DataLoader):
            raise TypeError(
                "class names and normalisation come from a mnist_sgd.DataLoader; the validation "
                f"batches come from a {type(self.dls.valid).__name__}"
            )
        return self.dls.valid

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the weights, with what is known of them, as a safetensors file.

        Raises:
            OSError: the file cannot be written; an older one of that name is untouched.
            TypeError: the validation batches do not come from this package's DataLoader.
        """
        save_weights(self.model, path, describe(self))

    def load(self, path: str | os.PathLike[str]) -> None:
        """Take the weights of a file that `save` wrote.

        Raises:
            WeightsError: the file is missing, damaged, or of another architecture.
        """
        load_weights(self.model, path)

    def export(self, path: str | os.PathLike[str]) -> ExportReport:
        """Write the model as `path`, .onnx, .pt or .pt2, once it answers as here.

        Raises:
            ExportError: the file's answers on the validation images are not the model's.
            TypeError: the validation batches do not come from this package's DataLoader.
            ValueError: the suffix is another one.
        """
        loader = self.own_loader()
        return export_model(
            self.model,
            path,
            metadata=describe(self),
            images=loader.dataset.images,
            input_shape=loader.sample_shape,
        )

    @contextmanager
    def no_bar(self) -> Iterator[None]:
        """Train without a progress bar; the table is printed all the same."""
        before, self.bar = self.bar, False
        try:
            yield
        finally:
            self.bar = before

    @contextmanager
    def no_logging(self) -> Iterator[None]:
        """Train without printing; the recorder records all the same."""
        before, self.logger = self.logger, _print_nothing
        try:
            with self.no_bar():
                yield
        finally:
            self.logger = before


def _print_line(line: str) -> None:
    print(line, flush=True)


def _print_nothing(line: str) -> None:
    pass
