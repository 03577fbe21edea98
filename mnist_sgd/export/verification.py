"""What a learner measured, held against what an exported file answers.

`export_model` compares a file with the model between bytes and probability. That the graph around
the model is right, too, only the learner knows: how its loader turns images into batches, and what
callbacks do to batches and predictions. So the learner is asked about each validation image, the
way `validate()` asks, and the file must give the same answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnist_sgd.export.exporter import SHORT_TOLERANCE, TOLERANCE
from mnist_sgd.export.parity import compare
from mnist_sgd.loader.dataloader import Batch, DataLoader
from mnist_sgd.models.summary import evaluating
from mnist_sgd.training.interface import FittedLearner
from mnist_sgd.training.metadata import accuracy_column, measured_row, metric_keys
from mnist_sgd.training.metrics import batch_accuracy
from mnist_sgd.training.recorder import Metric, metric_name

__all__ = ["Proof", "measured_metrics"]

DEVICE_TOLERANCE = 5e-3
"""How far the answers of another device may lie from the CPU's: GPUs multiply in TF32."""

MEASURED = 1024
"""Images, evenly spaced, by which a loss is known to be a mean."""

FIELDS = ("training", "xb", "yb", "pred", "loss", "ranks")
"""Where the loop is: what asking the learner changes."""


def validation_batches(learn: FittedLearner) -> Iterable[Batch]:
    """Batches of all validation images, each once and in the set's order, for one process.

    A subclass of DataLoader may do anything to its batches: they are taken as they come.
    """
    loader = learn.own_loader()
    if type(loader) is not DataLoader:
        return iter(loader)
    return loader.in_order()


def measured_metrics(learn: FittedLearner) -> dict[str, float] | None:
    """The validation loss and the metrics of the weights as they are.

    Returns:
        None if the recorder has a row of them, which then counts.
    """
    if measured_row(learn) is not None:
        return None
    with undisturbed(learn):
        row = learn.validate(validation_batches(learn))
    names = ["valid_loss", *map(metric_name, learn.metrics)]
    return dict(zip(metric_keys(names, accuracy_column(learn)), row, strict=True))


@contextmanager
def undisturbed(learn: FittedLearner) -> Iterator[None]:
    """Let this process ask the learner alone, and put everything back, also in a fit."""
    before = {name: getattr(learn, name) for name in FIELDS}
    try:
        kept = _kept_random_state(learn)  # a loss, a metric or a callback may draw
        with evaluating(learn.model), learn.own_loader().undisturbed(), kept:
            learn.ranks = replace(learn.ranks, rank=0, world_size=1)
            yield
    finally:
        for name, value in before.items():
            setattr(learn, name, value)


def _kept_random_state(learn: FittedLearner) -> AbstractContextManager[None]:
    """Let torch draw what it wants, and go on afterwards as if it had drawn nothing."""
    device = learn.ranks.device
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


@dataclass(frozen=True, eq=False)
class Proof:
    """What a learner answers about its validation images.

    Attributes:
        learn: the learner.
        logits: float32 or bfloat16 `[N, 1]`, in the order of `targets`.
        targets: `[N, 1]`.
        ordered: whether they are in the order of the set, or in one that a loader chose.
        tolerance: the largest difference allowed between two probabilities.
    """

    learn: FittedLearner
    logits: Tensor
    targets: Tensor
    ordered: bool
    tolerance: float

    @classmethod
    def of(cls, learn: FittedLearner, tolerance: float | None = None) -> Proof:
        """Ask a learner.

        Args:
            learn: with a validation loader of this package.
            tolerance: the largest difference allowed between two probabilities; None: 1e-5, or
                what rounding takes on another device or in bfloat16.
        """
        loader = learn.own_loader()
        plain = type(loader) is DataLoader
        with undisturbed(learn):
            logits, targets = learn.get_preds(validation_batches(learn), act=None)
        allowed = _tolerance(learn, logits) if tolerance is None else tolerance
        return cls(learn, logits, targets, plain, allowed)

    def __call__(self, given: NDArray[np.float32]) -> str | None:
        """Say why a file's probabilities, `[N]` in the set's order, are not the learner's.

        Returns:
            None if they are.
        """
        return self._other_answers(given) or self._other_metrics()

    def _other_answers(self, given: NDArray[np.float32]) -> str | None:
        expected = self.logits.float().sigmoid().cpu().numpy().reshape(-1)
        labels = self.learn.own_loader().dataset.labels
        theirs = self.targets.cpu().numpy().reshape(-1)
        if not np.array_equal(np.sort(theirs), np.sort(labels)):
            return (
                f"the learner answers {len(theirs):,} images, and not each of the {len(labels):,} "
                "of the validation set once: a callback, or the loader, leaves some out"
            )
        if not self.ordered:
            # In another order: then each class must have the same probabilities.
            expected = expected[np.lexsort((expected, theirs))]
            given = given[np.lexsort((given, labels))]
        parity = compare(expected, given, threshold=0.5)
        if parity.max_difference <= self.tolerance:
            return None
        return (
            f"the learner and the file give {parity.label_disagreements:,} of {len(labels):,} "
            f"validation images different labels and probabilities up to "
            f"{parity.max_difference:.2g} apart; {self.tolerance:g} is allowed. The file holds the "
            "model and the loader's mean, std and dtype, but not what callbacks or a loader's "
            "subclass do to batches and predictions: do that in the model"
        )

    def _other_metrics(self) -> str | None:
        """Say what the fit measured with these weights and the learner now measures otherwise."""
        recorder, place = self.learn.recorder, measured_row(self.learn)
        if place is None:
            return None
        noted, (_, *row) = recorder.measured[place], recorder.values[place]
        compared: list[tuple[str, int, Metric, float]] = []
        if noted["plain_loss"] and self._is_mean(self.learn.loss_func):
            compared.append(("valid_loss", 0, self.learn.loss_func, 0.0))
        if (column := noted.get("accuracy")) is not None:
            compared.append(("batch_accuracy", column, batch_accuracy, 2 / len(self.targets)))
        for name, column, figure, images in compared:
            before, now = row[column], self._mean(figure, self.logits, self.targets)
            if abs(now - before) > max(self.tolerance * max(1.0, abs(now)), images):
                return (
                    f"the fit measured a {name} of {before:.6f} with these weights, the file's "
                    f"is {now:.6f}: that fit differed in more than the weights, as by a callback "
                    "that changes the batches or the predictions, which the file cannot do; do "
                    "that in the model, or, if the model was changed after the fit, call "
                    "learn.fit(0), after which export measures it anew"
                )
        return None

    def _is_mean(self, loss: Metric) -> bool:
        """Whether a loss gives the mean over the images, and the same each time.

        Only then it does not matter how a validation cuts the images into batches.
        """
        count = min(len(self.targets), MEASURED)
        chosen = torch.arange(count) * len(self.targets) // count
        logits, targets = (t[chosen.to(t.device)] for t in (self.logits, self.targets))
        if logits.dtype.itemsize < 4:  # whose rounding would hide what is looked for
            logits = logits.float()
        sizes = (count, count // 2 + 1, self.learn.own_loader().batch_size, count)
        try:
            with _kept_random_state(self.learn):
                first, *others = (self._mean(loss, logits, targets, size) for size in sizes)
        except Exception:  # it may need batches of one size, or of what a callback makes
            return False
        return all(abs(each - first) <= TOLERANCE * max(1.0, abs(first)) for each in others)

    def _mean(
        self, figure: Metric, logits: Tensor, targets: Tensor, size: int | None = None
    ) -> float:
        """The mean of a loss or a metric over batches, as a validation computes it."""
        size = self.learn.own_loader().batch_size if size is None else size
        device = self.learn.ranks.device
        total = 0.0
        with torch.no_grad():
            for start in range(0, len(targets), size):
                preds, correct = (t[start : start + size] for t in (logits, targets))
                value = figure(preds.to(device), correct.to(device))
                total += float(value.float().mean()) * len(correct)
        return total / len(targets)


def _tolerance(learn: FittedLearner, logits: Tensor) -> float:
    weights = [*learn.model.parameters(), *learn.model.buffers(), logits]
    if any(t.is_floating_point() and t.dtype.itemsize < 4 for t in weights):
        return SHORT_TOLERANCE
    return TOLERANCE if learn.ranks.device.type == "cpu" else DEVICE_TOLERANCE
