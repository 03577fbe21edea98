"""The `Learner`: fastai's interface, semantics and printed table for a two-class model.

From the same initial weights, on the same torch, its table is fastai 2.8's byte for byte, except
for the times; docs/coming_from_fastai.md lists the differences. Inside an epoch it never waits for
the device: losses and metrics stay tensors until the epoch's row is printed.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeAlias, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnist_sgd.data import ImageSet
from mnist_sgd.data.notebook import facts, table
from mnist_sgd.export import ExportReport, export_model
from mnist_sgd.export.verification import difference_from_learner, measured_metrics
from mnist_sgd.loader.dataloader import Batch, DataLoader, first
from mnist_sgd.models.builtin import model_name
from mnist_sgd.models.summary import ENDS_IN_SIGMOID, Table, ends_in_sigmoid, summary
from mnist_sgd.models.weights import load_weights, save_weights
from mnist_sgd.training.batch_errors import check_one_tensor
from mnist_sgd.training.callbacks.base import as_callbacks
from mnist_sgd.training.coming_from_fastai import LEARNER, missing
from mnist_sgd.training.loop import EMPTY, Callbacks, TrainingLoop, print_nothing
from mnist_sgd.training.losses import at_least_float32
from mnist_sgd.training.lr_finder import LRFind, find_lr
from mnist_sgd.training.metadata import build_metadata, properties
from mnist_sgd.training.optimizer_setup import rate_number
from mnist_sgd.training.rank_agreement import refuse_other_part
from mnist_sgd.training.recorder import metric_name
from mnist_sgd.training.schedule import OneCycle

if TYPE_CHECKING:
    from PIL.Image import Image

    from mnist_sgd.report.image_grid import Layout

Source: TypeAlias = "NDArray[np.uint8] | Tensor | str | os.PathLike[str] | bytes | Image"


class Learner(TrainingLoop):
    """Trains a model on data with a loss and an optimizer; then predicts, saves and exports.

    Args:
        dls: the training and the validation batches.
        model: takes `xb` and returns logits `[B, 1]`.
        loss_func: of (logits, targets), returns a scalar.
        opt_func: called as `opt_func(parameters, lr=lr)` at the first fit, like the classes in
            `torch.optim`. If it makes several parameter groups, the ratios of their learning rates
            are kept, and `lr` is the last group's. A partial with `lr=` sets the learner's `lr`.
        lr: the default learning rate of a fit.
        metrics: one function of (logits, targets) or several, which return a number or a tensor;
            their names head the columns. As in fastai, a column is the mean over the batches,
            weighted by their sizes. That is right for means over images, such as the accuracy, and
            wrong for F1 or AUC; compute those from the predictions of `get_preds`.
        cbs: callbacks of every fit, validation and prediction; classes are instantiated.
        ranks: the `DistributedContext` of this process if several train together. The training
            loader must have its `rank` and `world_size`, and the validation loader too, unless it
            has neither. The model is moved to its device.
        wd: the weight decay that a fit sets in the optimizer, 0 or more; None leaves what the
            optimizer has. `SGD` and `adamw` exempt biases and normalisation layers.

    Attributes:
        recorder: the history of the newest fit, a `Recorder`.
        opt: the optimizer, None before the first fit; it is kept from fit to fit.
        opt_settings: the settings of its parameter groups when it was made, before a schedule or a
            checkpoint changed them.
        logger: called with each line of the table; prints by default.
        bar: whether there is a progress bar.
        base_lr, schedule: the learning rate and the schedule of the newest fit.
        epoch, n_epoch, pct_train: the current epoch, from 0, the number of epochs, and the fraction
            of the fit's training batches that are done.
        batch: the number of training batches in this epoch so far, including the current one.
        training, dl: whether the current batch is trained on, and the batches it comes from.
        xb, yb: the current batch, empty between batches.
        pred, loss, loss_grad: the model's output, the loss that is recorded, and the loss whose
            gradient is taken.
        batch_weight: in several processes, the size of this one's part of a training batch over the
            mean size of the parts, from `after_loss` on; otherwise 1.0. `loss` and `loss_grad` are
            scaled by it already; scale by it what a callback adds as a mean over images.
        train_place: the position of the fit in its training batches, which does not change when
            callbacks look at batches.
        forward_context: makes the context manager in which the model is called; `before_batch` may
            set it for its batch.
        at_end: an ExitStack that is closed when the fit ends, however it ends.
        kept_row: the index in `recorder.values` of the row of the weights with which the newest fit
            ended: the last, unless a callback restored earlier weights.

    Raises:
        TypeError: an argument is of the wrong type; the message names it.
    """

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
        wd: float | None = None,
    ) -> None:
        """Train as `fit` does, with fastai's one-cycle schedule.

        Args:
            n_epoch: the number of passes over the training batches.
            lr_max: the highest learning rate; None takes the learner's.
            div: the first learning rate is `lr_max` / `div`.
            div_final: the last learning rate is `lr_max` / `div_final`.
            pct_start: the fraction of the fit in which the learning rate rises, in (0, 1).
            moms: the first momentum, the one at `lr_max`, and the last.
            cbs: as in `fit`.
            reset_opt: as in `fit`.
            resume: as in `fit`.
            wd: as in `fit`.

        Raises:
            ValueError: a number is out of its range; the message names it.
            CheckpointError, TypeError: as in `fit`.
        """
        if lr_max is None:
            made = self.opt is None or reset_opt
            keywords = getattr(self.opt_func, "keywords", {}) if made else {}
            lr_max = keywords.get("lr", self.lr)
        cycle = OneCycle(rate_number(lr_max, "lr_max"), div, div_final, pct_start, moms)
        self.fit(n_epoch, lr_max, cbs, reset_opt, resume, cycle, wd)

    def lr_find(
        self,
        start_lr: float = 1e-7,
        end_lr: float = 10.0,
        num_it: int = 100,
        stop_div: bool = True,
    ) -> LRFind:
        """Run the learning rate finder: train on a few batches with growing rates, and suggest one.

        It trains with the learner's callbacks (those with `during_lr_find`) and the optimizer of
        the last fit, and restores weights, optimizer, loader and random state afterwards.

        Args:
            start_lr: the first rate, above 0.
            end_lr: the rate that would be reached after `num_it` batches; above `start_lr`.
            num_it: the number of batches, at least 20.
            stop_div: whether to stop when the smoothed loss exceeds 4 times its minimum.

        Raises:
            ValueError: a number is out of its range, there are no training batches, or the loss
                became nan before a rate could be suggested.
        """
        return find_lr(self, start_lr, end_lr, num_it, stop_div)

    def validate(
        self, dl: Iterable[Batch] | int | None = None, cbs: Callbacks = None
    ) -> list[float]:
        """Compute the mean loss and metrics over batches.

        In several processes all ranks call it together, and the means are over all their images.

        Args:
            dl: batches; or 0 for the training, 1 or None for the validation batches.
            cbs: callbacks of this validation only, called after the learner's own.

        Returns:
            The loss and the metrics, in their order; nan if there was no batch.

        Raises:
            ValueError: the batches are another rank's parts, or split on some ranks only.
        """
        with self._with_callbacks([*as_callbacks(self.cbs), *as_callbacks(cbs)]):
            return self._validate(self._batches(dl))[0]

    def get_preds(
        self,
        dl: Iterable[Batch] | int | None = None,
        act: Callable[[Tensor], Tensor] | None = torch.sigmoid,
        cbs: Callbacks = None,
    ) -> tuple[Tensor, Tensor]:
        """Predict every image of a data set, in the order of the set.

        With this package's DataLoader each process predicts all images in the order of the set, not
        augmented, even if the loader shuffles or drops its last batch. Any other batches, including
        those of a subclass, are used as they come.

        Args:
            dl: batches; or 0 for the training, 1 or None for the validation batches. Batches
                without targets are single tensors or `(xb,)`.
            act: maps logits to predictions, by default to probabilities of the positive class; None
                returns the logits.
            cbs: callbacks of these predictions only, called after the learner's own.

        Returns:
            The predictions, float32 or float64, and the targets, each `[N, 1]`, on the CPU; the
            targets are empty if the batches have none.

        Raises:
            TypeError: the model returns something other than a tensor.
            ValueError: there is no batch; the batches of a subclass are another rank's parts; or
                both the model and `act` apply a sigmoid.
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
        with self._with_callbacks([*as_callbacks(self.cbs), *as_callbacks(cbs)]):
            self._evaluate(_with_targets(batches), gather)
        if not preds:
            raise ValueError("there is nothing to predict: there was no batch")
        logits = at_least_float32(torch.cat(preds))
        return act(logits) if act else logits, torch.cat(targets)

    def predict(self, image: Source) -> tuple[str, int, float]:
        """Classify one picture.

        Args:
            image: an array or a tensor, uint8 `[28, 28]`, preprocessed like the training images; or
                a picture that is preprocessed first: the path or the bytes of an image file, or a
                Pillow image.

        Returns:
            The class's name, its label, and the probability of the positive class.

        Raises:
            TypeError: the validation batches are not from this package's DataLoader, or `image` is
                of another type.
            ValueError: an array has another shape or dtype; the picture cannot be read; or the
                model has several outputs.
            OSError: the file cannot be opened.
        """
        loader = self.own_loader()
        pixels = _preprocessed(image, loader.dataset.preprocessing)
        found, _ = self.get_preds([(loader.normalize(pixels[None]), EMPTY)])
        if found.numel() != 1:
            raise ValueError(
                "predict needs a model of one output, logits [B, 1]: for one image this one gives "
                f"{list(found.shape)}; get_preds gives all of them"
            )
        probability = found.item()
        label = int(probability > 0.5)
        return loader.dataset.classes[label], label, probability

    def show_results(
        self,
        ds_idx: int = 1,
        dl: Iterable[Batch] | None = None,
        max_n: int = 9,
        **layout: Unpack["Layout"],
    ) -> None:
        """Draw images with their actual class above the predicted one, as a figure of pyplot.

        Args:
            ds_idx: 0 for images of the training, 1 for those of the validation batches.
            dl: batches instead of these. Of a loader of an `ImageSet` the images are evenly spaced,
                of others the first of a batch.
            max_n: how many at most.
            layout: as of `DataLoaders.show_batch`.

        Raises:
            ImportError: matplotlib is missing.
            ValueError: the batches are no images, `[B, 784]` or `[B, 1, H, W]`.
        """
        from mnist_sgd.training.interpretation import show_results

        show_results(self, self._batches(ds_idx if dl is None else dl), max_n, layout)

    def _facts(self) -> dict[str, str]:
        return {
            "model": model_name(self.model),
            "optimizer": metric_name(self.opt_func),
            "loss": metric_name(self.loss_func),
            "metrics": ", ".join(map(metric_name, self.metrics)) or "none",
        }

    def __repr__(self) -> str:
        return f"Learner({', '.join(f'{name}: {value}' for name, value in self._facts().items())})"

    def _repr_html_(self) -> str:
        """Show what is trained on what, and the table of the last fit, in a notebook."""
        batches = {"training": repr(self.dls.train), "validation": repr(self.dls.valid)}
        rows = [
            [str(epoch), *(f"{value:.6f}" for value in row)]
            for epoch, row in enumerate(self.recorder.values)
        ]
        names = self.recorder.metric_names[:-1]
        history = table(names, rows) if rows else "<p>Not trained yet: call fit.</p>"
        return facts("Learner", self._facts() | batches) + history

    def summary(self) -> str:
        """Return the layers with their output shapes and parameters, the optimizer and the loss."""
        train = self.dls.train
        shape = train.sample_shape if isinstance(train, DataLoader) else first(train)[0].shape[1:]
        kinds = {
            "optimizer": metric_name(self.opt_func),
            "loss": metric_name(self.loss_func),
            "callbacks": ", ".join(type(cb).__name__ for cb in as_callbacks(self.cbs)) or "none",
        }
        lines = [f"{name}: {value}" for name, value in kinds.items()]
        return Table("\n".join([summary(self.model, tuple(shape)), "", *lines]))

    def _batches(self, dl: Iterable[Batch] | int | None) -> Iterable[Batch]:
        """Return the batches that an argument stands for.

        Raises:
            ValueError: it is a number other than 0 and 1.
        """
        if not isinstance(dl, int | None):
            return dl
        if dl not in (None, 0, 1):
            raise ValueError(f"dl must be 0 (training), 1 (validation) or batches, got {dl}")
        return self.dls.train if dl == 0 else self.dls.valid

    if not TYPE_CHECKING:  # to a type checker, what is not here is an error

        def __getattr__(self, name: str) -> Any:
            """Name the replacement of an attribute that only fastai's Learner has."""
            raise missing("this Learner", name, LEARNER)

    def own_loader(self) -> DataLoader:
        """Return the validation loader, which knows the class names and the normalisation.

        Raises:
            TypeError: it is not this package's DataLoader of an ImageSet.
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
        """Save the weights with their metadata as a safetensors file.

        The metadata include the metrics of the recorder's row that was measured with these weights,
        if there is one, and classes and normalisation if the batches come from this package's
        DataLoader. A model that is wrapped, as by `torch.compile`, is saved with the weights' names
        in the model inside.

        Args:
            path: of the file.

        Raises:
            OSError: the file cannot be written; an existing one is unchanged.
            WeightsError: the model's state cannot be stored in such a file.
        """
        save_weights(self.model, path, properties(self))

    def load(self, path: str | os.PathLike[str]) -> Self:
        """Load the weights of a file that `save` wrote, and return the learner.

        Raises:
            WeightsError: the file is missing, damaged, or of another architecture; the weights
                are then unchanged.
        """
        load_weights(self.model, path)
        return self

    def export(
        self, path: str | os.PathLike[str] = "model.onnx", tolerance: float | None = None
    ) -> ExportReport:
        """Export the model as .onnx, .pt or .pt2, and verify the file against this learner.

        The file's predictions for every validation image are compared with those of torch and of
        the learner with its loader and callbacks; only then the file takes its name. If the
        recorder has no row that was measured with these weights, the metrics are measured now.

        Args:
            path: of the file; its suffix names the format.
            tolerance: the largest allowed difference between two probabilities. None: 1e-5, or what
                rounding requires: 0.01 in bfloat16, 0.005 on a GPU.

        Raises:
            ExportError: the file's predictions for the validation images differ from the learner's,
                or its metrics from those of the fit.
            TypeError: the validation batches are not from this package's DataLoader.
            ValueError: another suffix.
        """
        loader = self.own_loader()
        return export_model(
            self.model,
            path,
            metadata=build_metadata(self, measured_metrics(self)),
            images=loader.dataset.images,
            input_shape=loader.sample_shape,
            tolerance=tolerance,
            check=partial(difference_from_learner, self, tolerance=tolerance),
        )

    @contextmanager
    def no_bar(self) -> Iterator[None]:
        """Train without a progress bar; the table is still printed."""
        before, self.bar = self.bar, False
        try:
            yield
        finally:
            self.bar = before

    @contextmanager
    def no_logging(self) -> Iterator[None]:
        """Train without printing; the recorder still records."""
        before, self.logger = self.logger, print_nothing
        try:
            with self.no_bar():
                yield
        finally:
            self.logger = before


def _kind(batches: object) -> str:
    """Name the type of batches; torch's loader has the same name as this package's."""
    kind = type(batches)
    return f"{'torch' if kind.__module__.startswith('torch.') else 'a'} {kind.__name__}"


def _all_in_order(batches: Iterable[Batch]) -> Iterable[Batch]:
    """Return a loader of every image in order, if `batches` are this package's.

    A subclass may do anything to its batches, so they are used as they come.
    """
    return batches.in_order() if type(batches) is DataLoader else batches


def _with_targets(batches: Iterable[Any]) -> Iterable[Batch]:
    """Make batches pairs: those without targets get empty ones."""
    if isinstance(batches, DataLoader):
        return batches
    return map(_pair, batches)


def _pair(batch: Any) -> Batch:
    if isinstance(batch, Tensor):
        return batch, EMPTY
    return (batch[0], EMPTY) if len(batch) == 1 else batch


def _preprocessed(image: Source, preprocessing: str) -> NDArray[np.uint8]:
    """Preprocess an image like the training images: uint8 `[28, 28]`."""
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
