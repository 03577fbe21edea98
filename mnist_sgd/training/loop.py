"""The loop that trains a model: epochs, batches and validation, each between its events."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mnist_sgd.loader.dataloader import Batch, DataLoader, DataLoaders
from mnist_sgd.models.summary import is_from_sigmoid
from mnist_sgd.training.batch_errors import (
    check_targets,
    raise_explained,
    raise_explained_backward,
    raise_explained_forward,
    warn_of_broadcasting,
    warn_of_sigmoid,
)
from mnist_sgd.training.batch_norm import check_batch_norm, explaining_batch_norm
from mnist_sgd.training.callbacks.base import (
    CancelBackward,
    CancelBatch,
    CancelEpoch,
    CancelFit,
    CancelStep,
    CancelTrain,
    CancelValidate,
)
from mnist_sgd.training.callbacks.progress import format_time, table_header, table_row
from mnist_sgd.training.distributed import Ranks
from mnist_sgd.training.empty_parts import without_nan
from mnist_sgd.training.metadata import attribute_texts, measured
from mnist_sgd.training.optimizer_errors import check_interface, holds_any
from mnist_sgd.training.optimizers import momentum_of
from mnist_sgd.training.rank_agreement import TRAINING, VALIDATION, agree_on_batches
from mnist_sgd.training.recorder import Mean, Metric, Recorder
from mnist_sgd.training.resume.attributes import modules_within
from mnist_sgd.training.resume.fit_start import FitStart
from mnist_sgd.training.resume.position import FitPosition
from mnist_sgd.training.resume.snapshot import Snapshot
from mnist_sgd.training.resume.started_fit import StartedFit
from mnist_sgd.training.stages import Stages
from mnist_sgd.training.synced_loss import Loss, SyncedLoss

__all__ = ["Loss", "TrainingLoop"]

NOTHING = torch.empty(0)

_OF_A_BATCH = (
    *("training", "dl", "xb", "yb", "pred", "loss", "loss_grad"),
    *("_in_batch", "_weight", "forward_context"),
)
"""The attributes of a loop that say where it is in its batches."""


def do_nothing() -> None:
    """Take no step: for batches that are only evaluated."""


class StateToPut(Protocol):
    """The state of a checkpoint, for a learner whose callbacks may have yet to prepare it."""

    def __call__(self, begun: bool) -> bool:
        """Put what there is a place for; whether that was all."""

    def is_waiting(self) -> bool:
        """Whether callbacks have yet to bring in something that the state is of."""


class TrainingLoop(Stages):
    """What the `Learner` does in a fit; its attributes are described there."""

    def __init__(
        self, dls: DataLoaders, model: nn.Module, loss_func: Loss, metrics: object, ranks: Ranks
    ) -> None:
        super().__init__()
        self.dls = dls
        self.ranks = ranks
        self.model = model
        self.loss_func = loss_func
        self.metrics = metrics  # type: ignore[assignment]  # the setter takes one or None too
        self.recorder = Recorder(self.metrics)
        self.opt: Any = None
        self._opt_made_for: tuple[Any, nn.Module | None] = None, None
        self.logger: Callable[[str], None] = print_line if ranks.is_first else print_nothing
        self.epoch = self.n_epoch = self.batch = 0
        self.training = False
        self.dl: Iterable[Batch] = ()
        self.train_place, self.valid_place = FitPosition(), FitPosition()
        self.fit_start: FitStart | None = None  # of a fit with checkpoints
        self.started_fit: StartedFit | None = None  # of the newest fit, if it had checkpoints
        self._put_back: StateToPut | None = None  # the state of a checkpoint
        self.at_end = ExitStack()
        self._before: Snapshot | None = None  # the learner before a fit that resumes
        self.xb = self.yb = self.pred = self.loss = self.loss_grad = NOTHING
        self.forward_context: Callable[[], AbstractContextManager[object]] = nullcontext
        self._in_batch = False
        self._texts: dict[str, str] | None = None  # of the newest validation's beginning
        self._weight: float | Tensor = 1.0
        self._unchecked = True  # no targets of these batches were checked yet
        self._wrapped_model: tuple[nn.Module, Callable[[Tensor], Any]] | None = None
        self._wrapped_loss: tuple[tuple[Loss, object, bool], Loss] | None = None
        self._custom = True

    @property
    def model(self) -> nn.Module:
        """The model; one that is assigned goes to the learner's device."""
        return self._model

    @model.setter
    def model(self, model: nn.Module) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        self._model = model.to(self.ranks.device)

    @property
    def metrics(self) -> list[Metric]:
        """Functions of (predictions, targets); one, several or None may be assigned."""
        return self._metrics

    @metrics.setter
    def metrics(self, metrics: Metric | Sequence[Metric] | None) -> None:
        several = isinstance(metrics, list | tuple)
        found = [] if metrics is None else list(metrics) if several else [metrics]  # type: ignore[arg-type]
        for each in found:
            if not callable(each) or isinstance(each, type):
                raise TypeError(
                    f"metrics must be functions of (predictions, targets), got {each!r}"
                )
        self._metrics: list[Metric] = found  # type: ignore[assignment]

    @property
    def pct_train(self) -> float:
        """The share of the fit's training batches that are done, in [0, 1].

        Raises:
            TypeError: the training batches have no length.
        """
        if not self.n_epoch:
            return 0.0
        batches = len(self.dls.train)  # type: ignore[arg-type]  # a length is what it asks for
        return (self.epoch + (self.batch - self._in_batch) / batches) / self.n_epoch

    @property
    def batch_weight(self) -> float:
        """What a mean over this process's part of a batch counts in the mean over all processes.

        It is the size of the part over the mean size of the parts, from `after_loss` on, and 1.0 in
        one process and in validation. `loss` and `loss_grad` have it already; multiply by it what
        a callback adds to them as a mean over `xb`, and the loss of a backward pass of its own.
        """
        return float(self._weight)

    @property
    def is_empty_part(self) -> bool:
        """Whether this rank has no image of the batch at hand, and others may have some."""
        return self.ranks.world_size > 1 and len(self.yb) == 0

    def _fit(self) -> None:
        if self.epoch < self.n_epoch:
            self._settle(begun=False)
        else:
            self._settle_without_epoch()
        try:
            self._epochs()
        finally:
            if self.ranks.world_size == 1:  # several ranks could not wait for one that failed
                self.recorder.read_losses()

    def _settle(self, begun: bool) -> None:
        """Put back what hooks changed that a resumed fit calls for the second time.

        Args:
            begun: whether all are called; those of an epoch that begins may bring in a model or
                groups of parameters that the state is of.
        """
        if self._put_back is not None and self._put_back(begun):
            self._put_back = None

    def _settle_without_epoch(self) -> None:
        """Put back everything, where no batch follows.

        If the state is of something that the hooks of an epoch brought in, those of the last one
        are called for it.
        """
        epoch, self.epoch = self.epoch, min(self.epoch, max(self.n_epoch - 1, 0))
        for event in ("before_epoch", "before_train"):
            if self._put_back is not None and self._put_back.is_waiting():
                for handler in self._handlers.get(event, ()):
                    with suppress(CancelTrain, CancelEpoch, CancelFit):
                        handler(self)
        self.epoch = epoch
        self._settle(begun=True)

    def _cancelled(self, name: str) -> None:
        """Put back the state of a checkpoint also where a callback ends what resumes."""
        if name in ("fit", "epoch", "train") and self._put_back is not None:
            self._settle_without_epoch()

    def _epochs(self) -> None:
        if not self.recorder.values:  # callbacks may have changed the metrics in before_fit
            self.recorder.set_metrics(self.metrics)
        for line in (table_header(self.recorder.metric_names), *self.recorder.lines):
            self.logger(line)
        for epoch in range(self.epoch, self.n_epoch):
            self.epoch = epoch
            self._start = time.time()
            self._validated = [float("nan")] * (1 + len(self.metrics)), False
            self._stage("epoch", self._epoch, CancelEpoch, finish=self._add_row)
            if epoch + 1 < self.n_epoch:
                self.batch = 0
        self._before = None

    def _epoch(self) -> None:
        self._check_optimizer()
        self.recorder.check_metrics(self.metrics)
        self.training = True
        self.model.train()
        self.dl = self.dls.train
        self._stage("train", self._train, CancelTrain)
        self.training = False
        valid = self.dls.valid
        # One loader for both has one place, the training's.
        place = None if valid is self.dls.train else self.valid_place
        self._validated = self._validate(valid, place)

    def _train(self) -> None:
        self._settle(begun=True)
        self.train_place.begin_epoch(self.dls.train, begun=self.dl is not self.dls.train)
        self._custom = agree_on_batches(self, self.dl, TRAINING)
        self._share_weights()  # a callback may have changed them
        check_batch_norm(self.model, self.dl, self.ranks)
        parts = self.fit_start.components if self.fit_start else None
        if parts:
            parts.begin_training(self)
        with explaining_batch_norm():
            self._each(self.dl, self._train_batch)
        if parts:
            parts.end_training(self)
        self.train_place.follow(self.dls.train)  # if there was no batch

    def _add_row(self) -> None:
        valid, is_partial = self._validated
        row = self.recorder.add_epoch(valid, measured(self, self._texts), is_partial)
        cells: list[object] = [self.epoch, *row, format_time(time.time() - self._start)]
        if is_partial:  # means over the validation images that came before it was cancelled
            cells[2:-1] = [f"~{value:.6f}" for value in valid]
        self.recorder.lines.append(table_row(cells, self.recorder.metric_names))
        self.logger(self.recorder.lines[-1])

    def _validate(
        self, batches: Iterable[Batch], place: FitPosition | None = None
    ) -> tuple[list[float], bool]:
        """The loss and the metrics over the batches, and whether they are means over a part."""
        means = [Mean() for _ in range(1 + len(self.metrics))]
        record = partial(self._record_metrics, means)
        complete = self._evaluate(batches, record, place, partial(self._agree, batches))
        return self._over_ranks(means, complete)

    def _agree(self, batches: Iterable[Batch]) -> None:
        """Let all ranks measure the same weights, which are what is saved."""
        agree_on_batches(self, batches, VALIDATION)
        self._share_weights()
        self._texts = attribute_texts(self)

    def _evaluate(
        self,
        batches: Iterable[Batch],
        record: Callable[[], None],
        place: FitPosition | None = None,
        prepare: Callable[[], None] = do_nothing,
    ) -> bool:
        """Run the model over batches in evaluation mode; False if this was cancelled.

        `prepare` is called before the first batch; what it does to a loader that is in use is
        undone with the rest.
        """
        place = place or FitPosition()
        complete = False

        def one_batch() -> None:
            place.follow(batches)
            # A rank's empty part of a small last batch has no mean.
            whole[0] &= not len(self.xb) or self._batch(do_nothing, record)

        def every_batch() -> None:
            nonlocal complete
            place.begin_epoch(batches)
            prepare()
            self._each(batches, one_batch)
            place.follow(batches)  # if there was no batch
            complete = True

        whole = [True]
        with self._evaluating(batches), torch.no_grad():
            self._stage("validate", every_batch, CancelValidate)
        return complete and whole[0]

    @contextmanager
    def _evaluating(self, batches: Iterable[Batch]) -> Iterator[None]:
        """Evaluation mode; a training or validation that is under way finds all as it left it."""
        before = {name: getattr(self, name) for name in _OF_A_BATCH}
        modes = [(module, module.training) for module in self.model.modules() if self.training]
        self.training, self._in_batch, self.dl = False, False, batches
        self.model.eval()
        # The training's order goes on where it was, though its batches are looked at.
        train = batches if batches is self.dls.train else None
        try:
            with train.undisturbed() if isinstance(train, DataLoader) else nullcontext():
                yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)
            for module, mode in modes:
                module.training = mode

    def _each(self, batches: Iterable[Batch], body: Callable[[], None]) -> None:
        """Go through batches; each is released before the next is asked for.

        A loader that makes a batch in the memory of the one before, which is still in the
        processor's cache, needs that memory to be free by then.

        Raises:
            TypeError: a batch is not a pair.
        """
        self._unchecked = True
        try:
            for batch in self.ranks.moved(batches):
                try:
                    self.xb, self.yb = batch
                except (TypeError, ValueError):
                    raise TypeError(
                        f"a batch must be a pair of tensors (xb, yb), got {type(batch).__name__}"
                    ) from None
                del batch
                body()
                self.xb = self.yb = NOTHING
        finally:
            self.xb = self.yb = NOTHING

    def _train_batch(self) -> None:
        self._before = None  # from here on the fit has begun
        self.train_place.follow(self.dls.train)
        self.batch += 1
        self._in_batch = True
        self._batch(self._update, self._record_batch)

    def _batch(self, update: Callable[[], None], record: Callable[[], None]) -> bool:
        """Call the model and the loss on the batch at hand, between their events.

        Args:
            update: changes the weights, after the loss.
            record: keeps the loss, unless the batch was cancelled before there was one.

        Returns:
            Whether it was recorded.
        """
        known = False
        self.forward_context = nullcontext
        self._weight = 1.0
        try:
            self._call("before_batch")
            model, loss_func = self._called()
            self._forward(model)
            self._call("after_pred")
            if len(self.yb) or not len(self.xb):  # else there are no targets, see get_preds
                self._take_loss(loss_func)
                known = True
                self._call("after_loss")
                update()
            known = True
        except CancelBatch:
            self._call("after_cancel_batch")
        self._in_batch = False
        if known:
            record()
        with suppress(CancelBatch):  # the batch is over anyway
            self._call("after_batch")
        return known

    def _forward(self, model: Callable[[Tensor], Tensor]) -> None:
        """Call the model on the batch at hand."""
        try:
            with self.forward_context():
                self.pred = model(self.xb)
        except (RuntimeError, ValueError) as error:
            raise_explained_forward(error, self.model, self.xb)

    def _called(self) -> tuple[Callable[[Tensor], Tensor], Loss]:
        """What to call for the model and the loss: in training, several ranks wrap both."""
        if self.training and self.ranks.world_size > 1:
            return self._shared_model(), self._shared_loss()
        return self.model, self.loss_func

    def _shared_model(self) -> Callable[[Tensor], Any]:
        if self._wrapped_model is None or self._wrapped_model[0] is not self.model:
            self._wrapped_model = self.model, self.ranks.synced_model(self.model)
        return self._wrapped_model[1]

    def _shared_loss(self) -> Loss:
        given = self.loss_func, self.dls.train, self._custom
        if self._wrapped_loss is None or any(
            old is not new for old, new in zip(self._wrapped_loss[0], given, strict=True)
        ):
            self._wrapped_loss = given, self.ranks.synced_loss(*given)
        return self._wrapped_loss[1]

    def _share_weights(self) -> None:
        """Let all ranks have the first one's weights, also those of the loss."""
        if self.ranks.world_size > 1:
            self.ranks.share_weights(self.model, *self.loss_modules().values())

    def loss_modules(self) -> dict[str, nn.Module]:
        """The modules that the loss is or holds, without the model's; see `modules_within`."""
        return modules_within(self.loss_func, apart=self.model.modules())

    def _unwrap(self) -> None:
        """Let go of what the ranks share, before they part."""
        self._wrapped_model = self._wrapped_loss = None

    def _take_loss(self, loss_func: Loss) -> None:
        """Compute the loss: `loss_grad` is what the gradient is taken of, `loss` is recorded."""
        if self._unchecked:
            check_targets(self.loss_func, self.yb)
            if self.training and is_from_sigmoid(self.pred):
                warn_of_sigmoid([self.loss_func, *self.metrics])
            self._unchecked = not len(self.yb)
        try:
            self.loss_grad = loss_func(self.pred, self.yb)
        except Exception as error:
            raise_explained(error, self.loss_func, self.pred, self.yb)
        if isinstance(loss_func, SyncedLoss):
            self._weight = loss_func.weight
        if getattr(self.pred, "shape", None) != self.yb.shape:
            warn_of_broadcasting(self.pred, self.yb)
        # A callback may change one of them in place, and must not change the other by that.
        copied = "after_loss" in self._handlers and isinstance(self.loss_grad, Tensor)
        self.loss = self.loss_grad.clone() if copied else self.loss_grad

    def _update(self) -> None:
        self._stage("backward", self._backward, CancelBackward)
        self._stage("step", self._step, CancelStep)
        self.opt.zero_grad()

    def _backward(self) -> None:
        try:
            self.loss_grad.backward()  # type: ignore[no-untyped-call]
        except (RuntimeError, AttributeError) as error:
            raise_explained_backward(error, self.loss_func, self.loss_grad, self.model)
        self.ranks.average_gradients(self._trained(), self.is_empty_part)

    def _step(self) -> None:
        if self._custom:  # a callback may have run a backward pass of its own, on this rank's part
            self.ranks.average_gradients(self._trained(), self.is_empty_part)
        self.opt.step()

    def _trained(self) -> Iterator[nn.Parameter]:
        """The parameters of the model, and what else the optimizer has, such as a loss's."""
        yield from self.model.parameters()
        for group in self.opt.param_groups:
            yield from group.get("params", ())

    def _record_batch(self) -> None:
        group = self.opt.param_groups[-1]
        if self.is_empty_part:
            self.loss = without_nan(self.loss)
        self.recorder.add_batch(self.loss, group["lr"], momentum_of(group))

    def _record_metrics(self, means: Sequence[Mean]) -> None:
        if self.is_empty_part:  # a callback left nothing of it
            return
        size = len(self.yb)
        means[0].add(self.loss, size)
        for mean, metric in zip(means[1:], self.metrics, strict=True):
            try:
                mean.add(metric(self.pred, self.yb), size)
            except Exception as error:
                raise_explained(error, metric, self.pred, self.yb)

    def _over_ranks(self, means: Sequence[Mean], complete: bool) -> tuple[list[float], bool]:
        """The means over all ranks' images, and whether a rank left some of them out."""
        if self.ranks.world_size == 1:
            return [mean.value for mean in means], not complete and means[0].count > 0
        own = [[float(m.total), m.count] for m in means]
        sums = self.ranks.sum(torch.tensor([*own, [not complete, 0]], dtype=torch.float64))
        totals, counts = sums.unbind(1)
        is_partial = bool(totals[-1] and counts[0])
        return (totals[:-1] / counts[:-1]).tolist(), is_partial

    def _check_optimizer(self) -> None:
        """See that the optimizer is of this model, which may have been assigned since.

        Raises:
            TypeError: it is none that the loop can use.
            ValueError: it has none of the model's parameters.
        """
        try:
            check_interface(self.opt)
        except TypeError:
            self.opt = None  # so that the next fit makes another one
            raise
        if holds_any(self.opt, self.model.parameters()):
            return
        opt, model = self._opt_made_for
        if opt is self.opt and model is self.model:
            self.opt = None
            raise ValueError(
                "opt_func made an optimizer of other parameters than it was given, so the model "
                "would not change: let it use its first argument, as "
                "lambda params, lr: SGD(params, lr) does"
            )
        raise ValueError(
            "the optimizer has none of the model's parameters, so the model would not change: "
            "after assigning learn.model, fit with reset_opt=True"
        )


def print_line(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def print_nothing(line: str) -> None:
    """Take a line and print nothing."""
