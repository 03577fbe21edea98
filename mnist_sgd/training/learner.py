"""The `Learner`: fastai's interface, semantics and printed table for a two-class model.

From the same initial weights, on the same torch, its table is fastai 2.8's byte for byte (times
apart); docs/coming_from_fastai.md lists what differs. It never waits for a device inside an epoch:
losses and metrics stay tensors until the epoch's row is printed.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from operator import index
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mnist_sgd.data import ImageSet
from mnist_sgd.export import ExportReport, export_model
from mnist_sgd.export.verification import difference_from_learner, measured_metrics
from mnist_sgd.loader.data_loaders import check_alike, length_of
from mnist_sgd.loader.dataloader import Batch, DataLoader, DataLoaders
from mnist_sgd.models.summary import ENDS_IN_SIGMOID, ends_in_sigmoid
from mnist_sgd.models.weights import load_weights, save_weights
from mnist_sgd.training.batch_errors import check_one_tensor
from mnist_sgd.training.callbacks.base import Callback, CancelFit, as_callbacks
from mnist_sgd.training.callbacks.progress import ProgressBar
from mnist_sgd.training.checkpoint import begin_fit
from mnist_sgd.training.coming_from_fastai import INSTEAD
from mnist_sgd.training.distributed import ALONE, Ranks
from mnist_sgd.training.loop import NOTHING, Loss, TrainingLoop, print_nothing
from mnist_sgd.training.losses import at_least_float32, mnist_loss
from mnist_sgd.training.lr_finder import LRFind, find_lr
from mnist_sgd.training.metadata import describe, properties
from mnist_sgd.training.optimizer_errors import check_rates
from mnist_sgd.training.optimizers import SGD, Rates, exempt_from_decay
from mnist_sgd.training.rank_agreement import agree_on_fit, refuse_other_part
from mnist_sgd.training.recorder import Metric, Recorder
from mnist_sgd.training.resume.attributes import modules_within
from mnist_sgd.training.resume.fit_identity import group_settings
from mnist_sgd.training.resume.snapshot import Snapshot
from mnist_sgd.training.schedule import OneCycle, Schedule, Scheduler

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Learner"]

Callbacks: TypeAlias = "Callback | type[Callback] | Sequence[Callback | type[Callback]] | None"
Source: TypeAlias = "NDArray[np.uint8] | Tensor | str | os.PathLike[str] | bytes | Image"


class Learner(TrainingLoop):
    """A model, its data, a loss and an optimizer, and the loop that trains the model.

    Args:
        dls: the training and the validation batches.
        model: takes `xb` and gives logits `[B, 1]`.
        loss_func: of (logits, targets), a scalar.
        opt_func: called as `opt_func(parameters, lr=lr)` at the first fit; torch's optimizers do.
            If it makes several parameter groups, the ratios of their learning rates are kept, and
            `lr` is the last group's. A partial with `lr=` sets the learner's `lr`.
        lr: the learning rate of a fit that is given none.
        metrics: one function of (logits, targets) or several, that return a number or a tensor;
            their names head the columns. A column is the mean over the batches, weighted by their
            sizes, as in fastai: right for what is a mean over images, as the accuracy is, and not
            for F1 or an AUC; for these give `get_preds` to a function of all predictions.
        cbs: callbacks of every fit, validation and prediction; classes are instantiated.
        ranks: this process among those that train together; the training loader must have its
            `rank` and `world_size`, and the validation loader too, unless it has neither. The model
            goes to its device.

    Attributes:
        recorder: the history of the newest fit.
        opt: the optimizer, None before the first fit; it is kept from fit to fit.
        opt_settings: the settings of its groups of parameters when it was made, before a schedule
            or a checkpoint changed them.
        logger: called with each line of the table; `print` to begin with.
        base_lr, schedule: the learning rate and the schedule of the newest fit.
        epoch, n_epoch, batch, pct_train, training, xb, yb, pred, loss, loss_grad, batch_weight:
            where the loop is, for callbacks; `batch` counts the training batches of the epoch,
            including the current one; `xb` and `yb` are empty between batches. In several processes
            `batch_weight` is the size of this one's part of a training batch over the mean size of
            the parts, from `after_loss` on; otherwise it is 1.0. `loss` and `loss_grad` have it
            already; multiply by it what a callback adds as a mean over images.
        dl, train_place, forward_context: the batches that are being used; where the fit is in its
            training batches, which callbacks may look at; and what makes the context manager in
            which the model is called, which `before_batch` may set for its batch.
        at_end: what is called when the fit ends, however it ends.
        kept_row: the index in `recorder.values` of the row of the weights that the newest fit ended
            with: the last, unless a callback brought back earlier weights.

    Raises:
        TypeError: an argument is not of its kind; the message names it.
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
        ranks: Ranks = ALONE,
    ) -> None:
        for name, value in (("loss_func", loss_func), ("opt_func", opt_func)):
            if not callable(value):
                raise TypeError(f"{name} must be a function, got {value!r}")
        if not (hasattr(dls, "train") and hasattr(dls, "valid")):
            raise TypeError(
                "dls must be DataLoaders(train, valid), which hold the batches of both; got "
                f"{type(dls).__name__}"
            )
        super().__init__(dls, model, loss_func, metrics, ranks)
        self.opt_func = opt_func
        self.lr = self.base_lr = lr
        self.schedule: Schedule | None = None
        self._rates: Rates | None = None
        self.opt_settings: list[dict[str, Any]] = []
        self.cbs = as_callbacks(cbs)
        self.bar = ranks.world_size == 1  # it reads the loss when it likes, which ranks cannot
        self.kept_row = -1
        with self._calling(self.cbs):
            self._call("after_create")

    def fit(
        self,
        n_epoch: int,
        lr: float | None = None,
        cbs: Callbacks = None,
        reset_opt: bool = False,
        resume: str | os.PathLike[str] | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        """Train for `n_epoch` epochs and print a row after each.

        Args:
            n_epoch: how often to go through the training batches, 0 or more.
            lr: the learning rate, 0 or more; None takes the learner's.
            cbs: callbacks of this fit alone, after the learner's own.
            reset_opt: start with a new optimizer instead of the last fit's.
            resume: a file that `Checkpoint` wrote: its fit continues where it was interrupted,
                after printing the rows that it had printed.
            schedule: maps the share of the fit's batches that are done, in [0, 1), to the learning
                rate and the momentum of the next batch; None keeps both.

        Raises:
            CheckpointError: the file is missing, damaged, or of another fit. After this or any
                other error before the first batch of a resumed fit the learner is as it was.
            TypeError: in several processes the training batches are not from this package's
                DataLoader; a callback has a method that is no event; or there is a schedule, and
                the training loader has no length.
            ValueError: `n_epoch` or `lr` is out of range; there are no training batches; the
                optimizer is of another model; predictions and targets do not fit each other; a
                loader is cut for other ranks; or, in several processes, this one's settings are not
                the first one's, or the model has layers without shapes.
        """
        if (n_epoch := index(n_epoch)) < 0:
            raise ValueError(f"n_epoch must be 0 or more, got {n_epoch}")
        if "fit" in self._under_way:
            raise ValueError(
                "a callback cannot start a fit within a fit: both would have the same optimizer, "
                "recorder and counters; fit before or afterwards, or with another Learner"
            )
        self.check_batches()
        every: list[Callback] = [Scheduler(schedule)] if schedule else []
        every += [*as_callbacks(self.cbs), *as_callbacks(cbs)]
        every += [ProgressBar()] if self.bar else []
        self._before = None if resume is None else Snapshot(self, every)
        with self._calling(every), self._refusing(), ExitStack() as self.at_end:
            lr = self._set_optimizer(lr, reset_opt)
            self.recorder = Recorder(self.metrics, self.ranks.mean)
            self.epoch, self.batch, self.n_epoch = 0, 0, n_epoch
            self.base_lr, self.schedule, self.kept_row = lr, schedule, -1
            self._in_batch = False
            agree_on_fit(self, resume is not None, reset_opt)
            begin_fit(self, resume)
            try:
                self._share_weights()  # before any callback sees them
                self._stage("fit", self._fit, CancelFit, finish=self.recorder.read_losses)
                self._share_weights()  # also of an epoch that was left early
            finally:
                self.training = False
                self._unwrap()
                if self.started_fit is not None:
                    self.started_fit.ended(self)
                for cb in every:
                    cb.run = True

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Put the learner back as it was if a resumed fit ends by an error before it begins."""
        try:
            yield
        except BaseException as error:
            if self._before is not None:
                try:
                    self._before.restore()
                except Exception as other:
                    error.add_note(f"the learner could not be put back as it was: {other}")
            raise
        finally:
            self._before = None

    def check_batches(self) -> None:
        """Refuse to train on nothing, or on other labels or pixels than validation has.

        Raises:
            ValueError: the training loader is empty, a label has two names, or mean and std differ.
        """
        train = self.dls.train
        check_alike(train, self.dls.valid)
        if length_of(train) == 0:
            raise ValueError(
                "there are no training batches: the training loader is empty, as it is with "
                "drop_last=True and fewer images than batch_size"
            )

    def _set_optimizer(self, lr: float | None, reset: bool) -> float:
        """Make the optimizer if need be, set its learning rate, and return that."""
        made = self.opt is None or reset
        if made and isinstance(self.opt_func, partial) and "lr" in self.opt_func.keywords:
            self.lr = self.opt_func.keywords["lr"]
        lr = _checked_rate(self.lr if lr is None else lr)
        if made:
            exempt_from_decay(self.model)
            # Groups whose rates are all 0 would lose their ratios.
            opt = self.opt_func(self.model.parameters(), lr=lr or 1.0)
            check_rates(opt)
            self.opt, self.opt_settings = opt, group_settings(opt)
            self._opt_made_for = opt, self.model
        check_rates(self.opt)  # it may have been assigned
        within = modules_within(self.loss_func, apart=self.model.modules())
        for module in (self.model, *within.values()):
            module.zero_grad()  # what a cancelled batch of the last fit left
        self.set_lr(lr)
        return lr

    def set_lr(self, lr: float, mom: float | None = None) -> None:
        """Set the optimizer's learning rate, and its momentum if it was made with one.

        Args:
            lr: of the last parameter group; the others keep their ratio to it.
            mom: in [0, 1); None leaves it.

        Raises:
            ValueError: there is no optimizer yet.
        """
        if self.opt is None:
            raise ValueError("there is no optimizer yet: the first fit makes it")
        if self._rates is None or self._rates.opt is not self.opt:
            self._rates = Rates(self.opt)
        self._rates.set(lr, mom)

    def fit_one_cycle(
        self,
        n_epoch: int,
        lr_max: float | None = None,
        div: float = 25.0,
        div_final: float = 1e5,
        pct_start: float = 0.25,
        moms: tuple[float, float, float] = (0.95, 0.85, 0.95),
        cbs: Callbacks = None,
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
        if lr_max is None:
            made = self.opt is None or reset_opt
            keywords = getattr(self.opt_func, "keywords", {}) if made else {}
            lr_max = keywords.get("lr", self.lr)
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

        It trains with the learner's callbacks (those with `during_lr_find`) and the optimizer of
        the last fit, and puts back weights, optimizer, loader and random state afterwards.

        Args:
            start_lr: the first rate, above 0.
            end_lr: what the rates grow to, geometrically; above `start_lr`.
            num_it: how many batches are tried, at least 20.
            stop_div: stop where the smoothed loss is over 4 times its lowest.

        Raises:
            ValueError: a number is out of its range, there are no training batches, or the loss
                became nan before a rate could be suggested.
        """
        return find_lr(self, start_lr, end_lr, num_it, stop_div)

    def validate(
        self, dl: Iterable[Batch] | int | None = None, cbs: Callbacks = None
    ) -> list[float]:
        """The loss and the metrics, as means over the images of the batches.

        In several processes all call it together, and the means are over all of theirs.

        Args:
            dl: batches; or 0 for the training, 1 for the validation batches; None for these.
            cbs: callbacks of this validation alone, after the learner's own.

        Returns:
            The loss and the metrics, in their order; nan where there was no batch.

        Raises:
            ValueError: the batches are another rank's parts, or cut on some ranks alone.
        """
        with self._calling([*as_callbacks(self.cbs), *as_callbacks(cbs)]):
            return self._validate(self._batches(dl))[0]

    def get_preds(
        self,
        dl: Iterable[Batch] | int | None = None,
        act: Callable[[Tensor], Tensor] | None = torch.sigmoid,
        cbs: Callbacks = None,
    ) -> tuple[Tensor, Tensor]:
        """The model's predictions for every image of a set, in the set's order.

        For batches of this package's DataLoader they are those of all images in the set's order,
        never augmented, whether the loader shuffles or drops its last batch, and in each of several
        processes; any other batches, also of a subclass, are taken as they come.

        Args:
            dl: batches; or 0 for the training, 1 for the validation batches; None for these.
                Batches without targets are single tensors or `(xb,)`.
            act: maps logits to predictions: to probabilities of the positive class by default;
                None leaves them as they are.
            cbs: callbacks of these predictions alone, after the learner's own.

        Returns:
            The predictions, of float32 at least, and the targets, each `[N, 1]`, on the CPU; the
            targets are empty where batches have none.

        Raises:
            TypeError: the model gives something else than a tensor.
            ValueError: there is no batch; batches of a subclass are another rank's parts; or the
                model ends in a sigmoid and `act` is another.
        """
        preds: list[Tensor] = []
        targets: list[Tensor] = []

        def refuse_probabilities(logits: Tensor) -> None:
            within = bool(((logits >= 0) & (logits <= 1)).all())
            if within and ends_in_sigmoid(self.model, self.xb):
                raise ValueError(f"{ENDS_IN_SIGMOID}; or give act=None")

        def gather() -> None:
            check_one_tensor(self.pred)
            if not preds and act is torch.sigmoid:
                refuse_probabilities(self.pred)
            preds.append(self.pred.cpu())
            targets.append(self.yb.cpu())

        batches = _all_in_order(self._batches(dl))
        refuse_other_part(self, batches)
        with self._calling([*as_callbacks(self.cbs), *as_callbacks(cbs)]):
            self._evaluate(_with_targets(batches), gather)
        if not preds:
            raise ValueError("there is nothing to predict: there was no batch")
        logits = at_least_float32(torch.cat(preds))
        return act(logits) if act else logits, torch.cat(targets)

    def predict(self, image: Source) -> tuple[str, int, float]:
        """Classify one picture.

        Args:
            image: uint8 `[28, 28]`, an array or a tensor, preprocessed as the training images are;
                or a picture as it is, which is preprocessed first: the path or the bytes of an
                image file, or a Pillow image.

        Returns:
            The class's name, its label, and the probability of the positive class.

        Raises:
            TypeError: the validation batches do not come from this package's DataLoader, or
                `image` is none of these.
            ValueError: an array has another shape; or the picture cannot be read; or the model has
                several outputs.
            OSError: the file cannot be opened.
        """
        loader = self.own_loader()
        pixels = _preprocessed(image, loader.dataset.preprocessing)
        found, _ = self.get_preds([(loader.normalize(pixels[None]), NOTHING)])
        if found.numel() != 1:
            raise ValueError(
                "predict needs a model of one output, logits [B, 1]: for one image this one gives "
                f"{list(found.shape)}; get_preds gives all of them"
            )
        probability = found.item()
        label = int(probability > 0.5)
        return loader.dataset.classes[label], label, probability

    def _batches(self, dl: Iterable[Batch] | int | None) -> Iterable[Batch]:
        """The batches of an argument.

        Raises:
            ValueError: it is another number than 0 and 1.
        """
        if not isinstance(dl, int | None):
            return dl
        if dl not in (None, 0, 1):
            raise ValueError(f"dl must be 0 (training), 1 (validation) or batches, got {dl}")
        return self.dls.train if dl == 0 else self.dls.valid

    if not TYPE_CHECKING:  # to a type checker, what is not here is an error

        def __getattr__(self, name: str) -> Any:
            """Say what stands here for an attribute that fastai's Learner has."""
            advice = INSTEAD.get(name)
            raise AttributeError(
                f"this Learner has no attribute {name!r}" + (f": {advice}" if advice else "")
            )

    def own_loader(self) -> DataLoader:
        """The validation loader, which knows the class names and the normalisation.

        Raises:
            TypeError: it is not this package's DataLoader, or not one of an ImageSet.
        """
        valid = self.dls.valid
        if isinstance(valid, DataLoader) and isinstance(valid.dataset, ImageSet):
            return valid
        kind = _kind(valid)
        if isinstance(valid, DataLoader):
            kind = f"a DataLoader of a {type(valid.dataset).__name__}"
        raise TypeError(
            "class names and pixels come from a mnist_sgd.DataLoader of an ImageSet; the "
            f"validation batches come from {kind}, which has neither; to predict and export, give "
            "learn.dls.valid a mnist_sgd.DataLoader of an ImageSet, or of a list or a "
            "TensorDataset of uint8 images of 784 pixels and labels 0 and 1"
        )

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
            check=partial(difference_from_learner, self, tolerance=tolerance),
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


def _checked_rate(lr: Any) -> float:
    """A learning rate as a number.

    Raises:
        TypeError: it is no number.
        ValueError: it is below 0 or not finite.
    """
    if isinstance(lr, slice):
        raise TypeError(
            "lr must be a number; for different rates in different layers let opt_func make "
            "several parameter groups, whose ratios are kept"
        )
    try:
        rate = float(lr)
    except (TypeError, ValueError):
        raise TypeError(f"lr must be a number, got {lr!r}") from None
    if not 0 <= rate < float("inf"):
        raise ValueError(f"lr must be a finite number, 0 or more, got {rate}")
    return rate


def _kind(batches: object) -> str:
    """What batches come from: torch's loader has the name of this package's."""
    kind = type(batches)
    return f"{'torch' if kind.__module__.startswith('torch.') else 'a'} {kind.__name__}"


def _all_in_order(batches: Iterable[Batch]) -> Iterable[Batch]:
    """Of this package's loader a sibling that gives every image in the set's order.

    A subclass may do anything to its batches: they are taken as they come.
    """
    return batches.in_order() if type(batches) is DataLoader else batches


def _with_targets(batches: Iterable[Any]) -> Iterable[Batch]:
    """Batches as pairs: those without targets get empty ones."""
    if isinstance(batches, DataLoader):
        return batches
    return map(_pair, batches)


def _pair(batch: Any) -> Batch:
    if isinstance(batch, Tensor):
        return batch, NOTHING
    return (batch[0], NOTHING) if len(batch) == 1 else batch


def _preprocessed(image: Source, preprocessing: str) -> NDArray[np.uint8]:
    """One image as the model was trained on them, uint8 `[28, 28]`."""
    if isinstance(image, Tensor):
        image = image.cpu().numpy()
    if not isinstance(image, np.ndarray):
        from mnist_sgd_serve.images.decode import decode_own
        from mnist_sgd_serve.images.preprocessing import preprocess

        return preprocess(decode_own(image), preprocessing).image
    if image.dtype != np.uint8 or image.shape != (28, 28):
        raise ValueError(
            "an array must be a preprocessed image, uint8 [28, 28]; got "
            f"{image.dtype} {list(image.shape)}"
        )
    return np.ascontiguousarray(image)
