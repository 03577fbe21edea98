"""The `Learner`: fastai's interface, semantics and printed figures for a two-class model.

From the same initial weights, on the same torch, its table is fastai 2.8's byte for byte (times
apart). It never waits for a device inside an epoch: what a batch yields stays a tensor until the
epoch's row is printed.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mnist_sgd.callbacks import Callback, CancelFit, CancelValidate
from mnist_sgd.checkpoint import load_checkpoint
from mnist_sgd.distributed import ALONE, Ranks
from mnist_sgd.export import ExportReport, export_model
from mnist_sgd.loader import Batch, DataLoader, DataLoaders
from mnist_sgd.losses import at_least_float32, mnist_loss
from mnist_sgd.lr_finder import LRFind, find_lr
from mnist_sgd.optimizers import SGD
from mnist_sgd.progress import ProgressBar
from mnist_sgd.proof import Proof, measured_metrics
from mnist_sgd.provenance import describe, properties
from mnist_sgd.recorder import Metric, Recorder
from mnist_sgd.schedule import OneCycle, Schedule, Scheduler
from mnist_sgd.training_loop import Loss, TrainingLoop, print_nothing
from mnist_sgd.weights import load_weights, save_weights

__all__ = ["Learner"]


class Learner(TrainingLoop):
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
        base_lr, schedule: the learning rate and the schedule that the newest fit was given.
        epoch, n_epoch, batch, pct_train, training, xb, yb, pred, loss: where the loop is, for
            callbacks; `batch` counts the training batches of the epoch, the one at hand included;
            `xb` and `yb` are empty between batches.
        kept_row: the place in `recorder.values` of the figures that the weights have: the last,
            unless a callback brought back earlier weights.
    """

    def __init__(
        self,
        dls: DataLoaders,
        model: nn.Module,
        loss_func: Loss = mnist_loss,
        opt_func: Callable[..., Any] = SGD,
        lr: float = 1e-3,
        metrics: Metric | Sequence[Metric] = (),
        cbs: Callback | Sequence[Callback] = (),
        ranks: Ranks = ALONE,
    ) -> None:
        super().__init__(dls, model, loss_func, [metrics] if callable(metrics) else metrics, ranks)
        self.opt_func = opt_func
        self.lr = self.base_lr = lr
        self.schedule: Schedule | None = None
        self.cbs = _as_list(cbs)
        self.bar = ranks.world_size == 1  # it reads the loss when it likes, which ranks cannot
        self.kept_row = -1

    def fit(
        self,
        n_epoch: int,
        lr: float | None = None,
        cbs: Callback | Sequence[Callback] = (),
        reset_opt: bool = False,
        resume: str | os.PathLike[str] | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        """Train for `n_epoch` epochs and print a row after each.

        Args:
            n_epoch: how often to go through the training batches.
            lr: the learning rate; None takes the learner's.
            cbs: callbacks of this fit alone, after the learner's own.
            reset_opt: start with a new optimizer instead of the last fit's.
            resume: a file that `Checkpoint` wrote: the fit that it is of goes on where it was cut
                off, after printing the rows that it had printed.
            schedule: gives the learning rate and the momentum of each batch, of the share of all
                batches that came before it; None keeps both.

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
        self.epoch, self.batch, self.n_epoch = 0, 0, n_epoch
        self.base_lr, self.schedule, self.kept_row = lr, schedule, -1
        every: list[Callback] = [Scheduler(schedule)] if schedule else []
        every += [*self.cbs, *_as_list(cbs), *([ProgressBar()] if self.bar else [])]
        with self._calling(every):
            if resume is not None:
                load_checkpoint(self, resume)
            try:
                self._stage("fit", self._fit, CancelFit)
            finally:
                self._model = self.model  # what the ranks share is gone before they part

    def fit_one_cycle(
        self,
        n_epoch: int,
        lr_max: float | None = None,
        div: float = 25.0,
        div_final: float = 1e5,
        pct_start: float = 0.25,
        moms: tuple[float, float, float] = (0.95, 0.85, 0.95),
        cbs: Callback | Sequence[Callback] = (),
        reset_opt: bool = False,
        resume: str | os.PathLike[str] | None = None,
    ) -> None:
        """Train as `fit` does, with fastai's one cycle of learning rate and momentum.

        Args:
            n_epoch: how often to go through the training batches.
            lr_max: the highest learning rate; None takes the learner's.
            div: `lr_max` / `div` is the first learning rate.
            div_final: `lr_max` / `div_final` is what the learning rate falls to.
            pct_start: the part of the fit in which the learning rate rises.
            moms: the first momentum, the one at `lr_max`, and the last.
            cbs: as in `fit`.
            reset_opt: as in `fit`.
            resume: as in `fit`.

        Raises:
            ValueError: a number is out of its range; the message names it.
            CheckpointError, TypeError: as in `fit`.
        """
        lr_max = self.lr if lr_max is None else lr_max
        cycle = OneCycle(lr_max, div, div_final, pct_start, moms)
        self.fit(n_epoch, lr_max, cbs, reset_opt, resume, cycle)

    def lr_find(
        self,
        start_lr: float = 1e-7,
        end_lr: float = 10.0,
        num_it: int = 100,
        stop_div: bool = True,
    ) -> LRFind:
        """Try growing learning rates on a few batches, and suggest one; nothing else changes.

        Args:
            start_lr: the first rate, above 0.
            end_lr: what the rates grow to, geometrically; above `start_lr`.
            num_it: how many batches are tried, at least 20.
            stop_div: stop where the smoothed loss is over 4 times its lowest.

        Raises:
            ValueError: a number is out of its range, or the loss ended before a rate could be
                suggested.
        """
        return find_lr(self, start_lr, end_lr, num_it, stop_div)

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
        preds, targets = [], []

        def one_batch() -> None:
            self._call("before_batch")
            self.pred = self.model(self.xb)
            self._call("after_pred")
            pred = at_least_float32(self.pred)
            preds.append(act(pred) if act else pred)
            targets.append(self.yb)

        self.training = False
        self.model.eval()
        each = partial(self._each, self.dls.valid if dl is None else dl, one_batch)
        with self._calling(self.cbs), torch.no_grad():
            self._stage("validate", each, CancelValidate)
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
            logits = self.model(loader.normalize(image[None]).to(self.ranks.device))
        probability = at_least_float32(logits).sigmoid().item()
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

        The metrics in it are those of the row of the recorder that was measured with these
        weights; without such a row there are none. Where the batches do not come from this
        package's DataLoader, nothing is said of classes and normalisation.

        Args:
            path: of the file. Of a wrapped model, as by `torch.compile`, the weights have the
                names of the model inside.

        Raises:
            OSError: the file cannot be written; an older one of that name is untouched.
            WeightsError: the model holds something that such a file cannot.
        """
        save_weights(self.model, path, properties(self))

    def load(self, path: str | os.PathLike[str]) -> Self:
        """Take the weights of a file that `save` wrote, and return the learner.

        Raises:
            WeightsError: the file is missing, damaged, or of another architecture; the weights
                are then as they were.
        """
        load_weights(self.model, path)
        return self

    def export(self, path: str | os.PathLike[str], tolerance: float | None = None) -> ExportReport:
        """Write the model as `path`, .onnx, .pt or .pt2, once it answers as this learner does.

        Every validation image is answered by the file, by torch and by the learner with its loader
        and its callbacks. If the recorder has no row that was measured with these weights, the
        metrics in the file are measured now.

        Args:
            path: of the file; its suffix names the format.
            tolerance: the largest difference allowed between two probabilities. None: 1e-5, or
                what rounding takes: 0.01 in bfloat16, 0.005 on a GPU.

        Raises:
            ExportError: the file's answers on the validation images are not the learner's, or its
                metrics are not those of the fit.
            TypeError: the validation batches do not come from this package's DataLoader.
            ValueError: the suffix is another one.
        """
        loader = self.own_loader()
        return export_model(
            self.model,
            path,
            metadata=describe(self, measured_metrics(self)),
            images=loader.dataset.images,
            input_shape=loader.sample_shape,
            tolerance=tolerance,
            check=lambda given: Proof.of(self, tolerance)(given),
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
        before, self.logger = self.logger, print_nothing
        try:
            with self.no_bar():
                yield
        finally:
            self.logger = before


def _as_list(cbs: Callback | Sequence[Callback]) -> list[Callback]:
    return [cbs] if isinstance(cbs, Callback) else list(cbs)
