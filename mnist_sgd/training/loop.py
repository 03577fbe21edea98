"""The training loop: fit, epoch, batch, step, and the validation, each between its events."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from operator import index
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from mnist_sgd.data.notebook import in_notebook
from mnist_sgd.loader.dataloader import Batch, DataLoader, DataLoaders
from mnist_sgd.loader.device import to_device
from mnist_sgd.models.summary import is_from_sigmoid
from mnist_sgd.training.batch_errors import (
    check_batches,
    check_targets,
    raise_explained,
    raise_explained_backward,
    raise_explained_forward,
    warn_of_broadcasting,
    warn_of_sigmoid,
)
from mnist_sgd.training.batch_norm import check_batch_norm, explaining_batch_norm
from mnist_sgd.training.callbacks.base import (
    CANCELLATIONS,
    Callback,
    CancelBackward,
    CancelBatch,
    CancelEpoch,
    CancelFit,
    CancelStep,
    CancelTrain,
    CancelValidate,
    Handler,
    as_callbacks,
    event_handlers,
    explained,
)
from mnist_sgd.training.callbacks.notebook_table import NotebookTable
from mnist_sgd.training.callbacks.progress import (
    ProgressBar,
    format_time,
    table_header,
    table_row,
)
from mnist_sgd.training.checkpoint import begin_fit
from mnist_sgd.training.data_parallel import (
    SyncedLoss,
    SyncedModel,
    average_gradients,
    broadcast_weights,
    without_nan,
)
from mnist_sgd.training.distributed import SINGLE_PROCESS, DistributedContext
from mnist_sgd.training.losses import Loss, mnist_loss
from mnist_sgd.training.metadata import attribute_texts, measured
from mnist_sgd.training.optimizer_setup import (
    check_optimizer,
    checked_decay,
    checked_rate,
    set_optimizer,
)
from mnist_sgd.training.optimizers import SGD, Rates, momentum_of
from mnist_sgd.training.rank_agreement import TRAINING, VALIDATION, agree_on_batches, agree_on_fit
from mnist_sgd.training.recorder import (
    AverageMeter,
    Metric,
    Recorder,
    as_metrics,
    reduce_meters,
)
from mnist_sgd.training.resume.attributes import modules_within
from mnist_sgd.training.resume.fit_start import FitStart
from mnist_sgd.training.resume.position import FitPosition
from mnist_sgd.training.resume.restore import DeferredState
from mnist_sgd.training.resume.settle import restore_if_refused, settle, settle_without_epoch
from mnist_sgd.training.resume.snapshot import Snapshot
from mnist_sgd.training.resume.started_fit import StartedFit
from mnist_sgd.training.schedule import Schedule, Scheduler
from mnist_sgd.training.trial_batch import check_trial

Callbacks: TypeAlias = Callback | type[Callback] | Sequence[Callback | type[Callback]] | None

EMPTY = torch.empty(0)

BATCH_ATTRIBUTES = (
    *("training", "dl", "xb", "yb", "pred", "loss", "loss_grad"),
    *("_in_batch", "_weight", "forward_context"),
)
"""What a validation within a training puts back."""


def do_nothing() -> None:
    """Take no step: for batches that are only evaluated."""


class TrainingLoop:
    """Runs fits and validations; the `Learner`'s docstring describes arguments and attributes.

    The order of a fit, from `fit` to `_step`, is the order of the methods.
    """

    def __init__(
        self,
        dls: DataLoaders,
        model: nn.Module,
        loss_func: Loss = mnist_loss,
        opt_func: Callable[..., Any] = SGD,
        lr: float = 1e-3,
        metrics: Metric | Sequence[Metric] | None = None,
        cbs: Callbacks = None,
        ranks: DistributedContext = SINGLE_PROCESS,
        wd: float | None = None,
    ) -> None:
        examples = {"loss_func": "mnist_loss or cross_entropy", "opt_func": "SGD or adamw"}
        for name, value in (("loss_func", loss_func), ("opt_func", opt_func)):
            if not callable(value):
                raise TypeError(
                    f"{name} must be a function, such as {examples[name]}, got {value!r}"
                )
        if not (hasattr(dls, "train") and hasattr(dls, "valid")):
            raise TypeError(
                "dls must be DataLoaders(train, valid), which hold the batches of both; got "
                f"{type(dls).__name__}"
            )
        self.ranks = ranks
        self.dls, self.model, self.loss_func = dls, model, loss_func
        self.metrics = metrics
        self.recorder = Recorder(self.metrics)
        self.logger: Callable[[str], None] = print_line if ranks.is_main_process else print_nothing
        self._table: NotebookTable | None = None  # instead of the logger
        self.bar = ranks.world_size == 1  # it reads the loss when it likes, which ranks cannot
        # The optimizer.
        self.opt_func = opt_func
        self.lr = self.base_lr = checked_rate(lr)
        self.wd = checked_decay(wd)
        self.schedule: Schedule | None = None
        self.opt: Any = None
        self.opt_settings: list[dict[str, Any]] = []
        self._opt_made_for: tuple[Any, nn.Module | None] = None, None
        self._rates: Rates | None = None
        # Where the loop is.
        self.epoch = self.n_epoch = self.batch = 0
        self.training = self._in_batch = False
        self.dl: Iterable[Batch] = ()
        self.xb = self.yb = self.pred = self.loss = self.loss_grad = EMPTY
        self.forward_context: Callable[[], AbstractContextManager[object]] = nullcontext
        self.kept_row = -1
        self._weight: float | Tensor = 1.0
        self._unchecked = True  # no targets of these batches were checked yet
        self._has_custom_code = True  # see agree_on_batches
        self._synced_model: SyncedModel | None = None
        self._texts: dict[str, str] | None = None  # of the newest validation's beginning
        # Resuming.
        self.train_place, self.valid_place = FitPosition(), FitPosition()
        self.fit_start: FitStart | None = None  # of a fit with checkpoints
        self.started_fit: StartedFit | None = None  # of the newest fit, if it had checkpoints
        self._put_back: DeferredState | None = None  # the state of a checkpoint
        self._before: Snapshot | None = None  # the learner before a fit that resumes
        # Callbacks and events.
        self.cbs = as_callbacks(cbs)
        self.active_cbs: list[Callback] = []
        self.at_end = ExitStack()
        self._handlers: dict[str, list[Handler]] = {}
        self._under_way: list[str] = []  # the stages that run, from the outermost
        with self._with_callbacks(self.cbs):
            self._call("after_create")

    def fit(
        self,
        n_epoch: int,
        lr: float | None = None,
        cbs: Callbacks = None,
        reset_opt: bool = False,
        resume: str | os.PathLike[str] | None = None,
        schedule: Schedule | None = None,
        wd: float | None = None,
    ) -> None:
        """Train for `n_epoch` epochs and print a row after each.

        Args:
            n_epoch: the number of passes over the training batches, 0 or more.
            lr: the learning rate, 0 or more; None takes the learner's.
            cbs: callbacks of this fit only, called after the learner's own.
            reset_opt: make a new optimizer instead of keeping the last fit's.
            resume: a file that `Checkpoint` wrote: its fit continues where it was interrupted,
                after printing the rows that it had printed.
            schedule: maps training progress in [0, 1) to (lr, momentum) of the next batch; None
                keeps both.
            wd: the weight decay, 0 or more; None takes the learner's. As in fastai, the optimizer
                keeps it for the next fits.

        Raises:
            CheckpointError: the file is missing, damaged, or of another fit. After this or any
                other error before the first batch of a resumed fit the learner is unchanged.
            TypeError: in several processes, the training batches are not from this package's
                DataLoader; a callback has a method that is no event; or there is a schedule, and
                the training loader has no length.
            ValueError: `n_epoch` or `lr` is out of range; there are no training batches; the
                optimizer is of another model; predictions and targets do not match; a loader is
                split for other ranks; or, in several processes, this one's settings differ from
                rank 0's, or the model has lazy layers without shapes.
        """
        if not hasattr(n_epoch, "__index__"):
            raise TypeError(f"n_epoch must be an integer, got {n_epoch!r}")
        if (n_epoch := index(n_epoch)) < 0:
            raise ValueError(f"n_epoch must be 0 or more, got {n_epoch}")
        if "fit" in self._under_way:
            raise ValueError(
                "a callback cannot start a fit within a fit: both would have the same optimizer, "
                "recorder and counters; fit before or afterwards, or with another Learner"
            )
        check_batches(self.dls)
        every: list[Callback] = [Scheduler(schedule)] if schedule else []
        every += [*as_callbacks(self.cbs), *as_callbacks(cbs)]
        self._table = NotebookTable() if in_notebook() and self.logger is print_line else None
        every += [ProgressBar(self._table)] if self.bar else []
        self._before = None if resume is None else Snapshot(self, every)
        with self._with_callbacks(every), restore_if_refused(self), ExitStack() as self.at_end:
            check_trial(self)
            lr = set_optimizer(self, lr, wd, reset_opt)
            self.recorder = Recorder(self.metrics, self.ranks.all_reduce_mean)
            self.epoch, self.batch, self.n_epoch = 0, 0, n_epoch
            self.base_lr, self.schedule, self.kept_row = lr, schedule, -1
            self._in_batch = False
            agree_on_fit(self, resume is not None, reset_opt)
            begin_fit(self, resume)
            try:
                self._broadcast_weights()  # before any callback sees them
                self._with_events("fit", self._fit, CancelFit, finish=self.recorder.read_losses)
                self._broadcast_weights()  # also of an epoch that was left early
            finally:
                self.training = False
                self._synced_model = None  # the ranks may part now
                if self.started_fit is not None:
                    self.started_fit.ended(self)
                for cb in every:
                    cb.run = True

    def _fit(self) -> None:
        if self.epoch < self.n_epoch:
            settle(self, begun=False)
        else:
            settle_without_epoch(self)
        try:
            if not self.recorder.values:  # callbacks may have changed the metrics in before_fit
                self.recorder.set_metrics(self.metrics)
            for line in (table_header(self.recorder.metric_names), *self.recorder.lines):
                (self._table or self.logger)(line)
            for epoch in range(self.epoch, self.n_epoch):
                self.epoch = epoch
                self._start = time.time()
                self._validated = [float("nan")] * (1 + len(self.metrics)), False
                self._with_events("epoch", self._epoch, CancelEpoch, finish=self._add_row)
                if epoch + 1 < self.n_epoch:
                    self.batch = 0
            self._before = None
        finally:
            if self.ranks.world_size == 1:  # several ranks could not wait for one that failed
                self.recorder.read_losses()

    def _epoch(self) -> None:
        check_optimizer(self)
        self.recorder.check_metrics(self.metrics)
        self.training = True
        self.model.train()
        self.dl = self.dls.train
        self._with_events("train", self._train, CancelTrain)
        self.training = False
        valid = self.dls.valid
        # One loader for both has one place, the training's.
        place = None if valid is self.dls.train else self.valid_place
        self._validated = self._validate(valid, place)

    def _train(self) -> None:
        settle(self, begun=True)
        self.train_place.begin_epoch(self.dls.train, begun=self.dl is not self.dls.train)
        self._has_custom_code = agree_on_batches(self, self.dl, TRAINING)
        self._broadcast_weights()  # a callback may have changed them
        check_batch_norm(self.model, self.dl, self.ranks)
        parts = self.fit_start.components if self.fit_start else None
        if parts:
            parts.begin_training(self)
        with explaining_batch_norm():
            self._for_each_batch(self.dl, self._train_batch)
        if parts:
            parts.end_training(self)
        self.train_place.follow(self.dls.train)  # if there was no batch

    def _for_each_batch(self, batches: Iterable[Batch], fn: Callable[[], None]) -> None:
        """Call `fn` for each batch, which is released before the next is asked for.

        A loader that makes a batch in the memory of the one before, which is still in the
        processor's cache, needs that memory to be free by then.

        Raises:
            TypeError: a batch is not a pair.
        """
        self._unchecked = True
        try:
            for batch in to_device(batches, self.ranks.device):
                try:
                    self.xb, self.yb = batch
                except (TypeError, ValueError):
                    raise TypeError(
                        f"a batch must be a pair of tensors (xb, yb), got {type(batch).__name__}"
                    ) from None
                del batch
                fn()
                self.xb = self.yb = EMPTY
        finally:
            self.xb = self.yb = EMPTY

    def _train_batch(self) -> None:
        self._before = None  # from here on the fit has begun
        self.train_place.follow(self.dls.train)
        self.batch += 1
        self._in_batch = True
        self._batch(self._update, self._record_batch)

    def _batch(self, update: Callable[[], None], record: Callable[[], None]) -> bool:
        """Call the model and the loss on the current batch, between their events.

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
            model, loss_func = self._functions()
            try:
                with self.forward_context():
                    self.pred = model(self.xb)
            except (RuntimeError, ValueError) as error:
                raise_explained_forward(error, self.model, self.xb)
            self._call("after_pred")
            if len(self.yb) or not len(self.xb):  # else there are no targets, see get_preds
                self._compute_loss(loss_func)
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

    def _compute_loss(self, loss_func: Loss) -> None:
        """Compute `loss_grad`, whose gradient is taken, and `loss`, which is recorded."""
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
        self._with_events("backward", self._backward, CancelBackward)
        self._with_events("step", self._step, CancelStep)
        self.opt.zero_grad()

    def _backward(self) -> None:
        try:
            self.loss_grad.backward()  # type: ignore[no-untyped-call]
        except (RuntimeError, AttributeError) as error:
            raise_explained_backward(error, self.loss_func, self.loss_grad, self.model)
        average_gradients(self._trained(), self.ranks, self.is_empty_part)

    def _step(self) -> None:
        if self._has_custom_code:  # a callback may have run a backward pass on this rank's part
            average_gradients(self._trained(), self.ranks, self.is_empty_part)
        self.opt.step()

    def _record_batch(self) -> None:
        group = self.opt.param_groups[-1]
        if self.is_empty_part:
            self.loss = without_nan(self.loss)
        self.recorder.add_batch(self.loss, group["lr"], momentum_of(group))

    def _add_row(self) -> None:
        valid, is_partial = self._validated
        row = self.recorder.add_epoch(valid, measured(self, self._texts), is_partial)
        cells: list[object] = [self.epoch, *row, format_time(time.time() - self._start)]
        if is_partial:  # means over the validation images that came before it was cancelled
            cells[2:-1] = [f"~{value:.6f}" for value in valid]
        self.recorder.lines.append(table_row(cells, self.recorder.metric_names))
        (self._table or self.logger)(self.recorder.lines[-1])

    # Events: fastai's `_with_events`.

    def _with_events(
        self,
        name: str,
        fn: Callable[[], None],
        cancellation: type[Exception],
        finish: Callable[[], None] | None = None,
    ) -> None:
        """Call `fn` between the events of a stage; its cancellation ends this stage only.

        `finish` is called before `after_...`, whether the stage was cancelled or not.
        """
        self._under_way.append(name)
        try:
            try:
                self._call(f"before_{name}")
                fn()
            except cancellation:
                if name in ("fit", "epoch", "train") and self._put_back is not None:
                    settle_without_epoch(self)
                self._call(f"after_cancel_{name}")
            if finish is not None:
                finish()
            with suppress(cancellation):  # the stage is over anyway
                self._call(f"after_{name}")
        finally:
            try:
                self._call_all(self._handlers.get(f"cleanup_{name}", ()))
            finally:
                self._under_way.pop()

    def _call(self, event: str) -> None:
        for handler in self._handlers.get(event, ()):
            handler(self)

    def _call_all(self, handlers: Sequence[Handler]) -> None:
        """Call each handler, also after an error in one before it."""
        if handlers:
            try:
                handlers[0](self)
            finally:
                self._call_all(handlers[1:])

    @contextmanager
    def _with_callbacks(self, cbs: Sequence[Callback]) -> Iterator[None]:
        """Call `cbs`, and no others, at the events that they define, sorted by their `order`.

        Raises:
            Exception: a cancellation that no stage caught, with what to do.
        """
        before = self.active_cbs, self._handlers
        self.active_cbs = sorted(cbs, key=lambda cb: cb.order)
        self._handlers = event_handlers(self.active_cbs)
        outermost = not self._under_way  # a stage further out may catch a cancellation
        try:
            yield
        except CANCELLATIONS as error:
            if not outermost:
                raise
            raise explained(error) from error
        finally:
            self.active_cbs, self._handlers = before

    # Validation.

    def _validate(
        self, batches: Iterable[Batch], place: FitPosition | None = None
    ) -> tuple[list[float], bool]:
        """Return the mean loss and metrics, and whether they leave out some of the images."""
        meters = [AverageMeter() for _ in range(1 + len(self.metrics))]
        record = partial(self._record_metrics, meters)
        complete = self._evaluate(batches, record, place, partial(self._agree, batches))
        return reduce_meters(meters, complete, self.ranks)

    def _agree(self, batches: Iterable[Batch]) -> None:
        """Let all ranks measure the same weights, which are what is saved."""
        agree_on_batches(self, batches, VALIDATION)
        self._broadcast_weights()
        self._texts = attribute_texts(self)

    def _record_metrics(self, meters: Sequence[AverageMeter]) -> None:
        if self.is_empty_part:  # a callback left nothing of it
            return
        size = len(self.yb)
        meters[0].add(self.loss, size)
        for meter, metric in zip(meters[1:], self.metrics, strict=True):
            try:
                meter.add(metric(self.pred, self.yb), size)
            except Exception as error:
                raise_explained(error, metric, self.pred, self.yb)

    def _evaluate(
        self,
        batches: Iterable[Batch],
        record: Callable[[], None],
        place: FitPosition | None = None,
        prepare: Callable[[], None] = do_nothing,
    ) -> bool:
        """Run the model over batches in evaluation mode; return False if this was cancelled.

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
            self._for_each_batch(batches, one_batch)
            place.follow(batches)  # if there was no batch
            complete = True

        whole = [True]
        with self._evaluating(batches), torch.no_grad():
            self._with_events("validate", every_batch, CancelValidate)
        return complete and whole[0]

    @contextmanager
    def _evaluating(self, batches: Iterable[Batch]) -> Iterator[None]:
        """Switch to evaluation mode, and restore a training or validation that is under way."""
        before = {name: getattr(self, name) for name in BATCH_ATTRIBUTES}
        modes = [(module, module.training) for module in self.model.modules() if self.training]
        self.training, self._in_batch, self.dl = False, False, batches
        self.model.eval()
        # The training's order continues where it was, though its batches are looked at.
        train = batches if batches is self.dls.train else None
        try:
            with train.undisturbed() if isinstance(train, DataLoader) else nullcontext():
                yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)
            for module, mode in modes:
                module.training = mode

    # The model, the optimizer, the metrics, and the other processes.

    @property
    def model(self) -> nn.Module:
        """The model; assigning one moves it to the learner's device."""
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
        self._metrics = as_metrics(metrics)

    @property
    def pct_train(self) -> float:
        """The fraction of the fit's training batches that are done, in [0, 1].

        Raises:
            TypeError: the training batches have no length.
        """
        if not self.n_epoch:
            return 0.0
        batches = len(self.dls.train)  # type: ignore[arg-type]  # a length is what it asks for
        return (self.epoch + (self.batch - self._in_batch) / batches) / self.n_epoch

    @property
    def batch_weight(self) -> float:
        """The weight of this process's part of a batch in the mean over all processes.

        It is the size of the part over the mean size of the parts, from `after_loss` on, and 1.0 in
        one process and in validation. `loss` and `loss_grad` have it already; multiply by it what
        a callback adds to them as a mean over `xb`, and the loss of its own backward pass.
        """
        return float(self._weight)

    @property
    def is_empty_part(self) -> bool:
        """Whether this rank has no image of the current batch, and others may have some."""
        return self.ranks.world_size > 1 and len(self.yb) == 0

    def set_lr(self, lr: float, mom: float | None = None) -> None:
        """Set the optimizer's learning rate, and its momentum if it was made with one.

        Args:
            lr: of the last parameter group; the others keep their ratio to it.
            mom: in [0, 1); None leaves it unchanged.

        Raises:
            ValueError: there is no optimizer yet.
        """
        if self.opt is None:
            raise ValueError("there is no optimizer yet: the first fit makes it")
        if self._rates is None or self._rates.opt is not self.opt:
            self._rates = Rates(self.opt)
        self._rates.set(lr, mom)

    def _functions(self) -> tuple[Callable[[Tensor], Any], Loss]:
        """Return what is called as the model and the loss: in training, several ranks wrap both."""
        if not self.training or self.ranks.world_size == 1:
            return self.model, self.loss_func
        if self._synced_model is None or self._synced_model.model is not self.model:
            self._synced_model = SyncedModel(self.model, self.ranks)
        loss = SyncedLoss(self.loss_func, self.dls.train, self.ranks, self._has_custom_code)
        return self._synced_model, loss

    def _broadcast_weights(self) -> None:
        """Copy rank 0's weights to all ranks, also those of the loss."""
        if self.ranks.world_size > 1:
            broadcast_weights([self.model, *self.loss_modules().values()], self.ranks)

    def loss_modules(self) -> dict[str, nn.Module]:
        """Return the modules that the loss is or holds, but the model's; see `modules_within`."""
        return modules_within(self.loss_func, apart=self.model.modules())

    def _trained(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of the model, and what else the optimizer has, such as a loss's."""
        yield from self.model.parameters()
        for group in self.opt.param_groups:
            yield from group.get("params", ())


def print_line(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def print_nothing(line: str) -> None:
    """Take a line and print nothing."""
