"""Compare an exported file with the learner, including its loader, its callbacks and its metrics.

`export_model` compares a file with the model. Only the learner knows how its loader turns images
into batches, and what callbacks do to batches and predictions. So it predicts each validation
image as `validate()` does, and the file must give the same probabilities.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnist_sgd.export.exporter import TOLERANCE, default_tolerance
from mnist_sgd.export.parity import compare
from mnist_sgd.loader.dataloader import Batch, DataLoader
from mnist_sgd.models.summary import evaluating
from mnist_sgd.training.metadata import accuracy_column, measured_row, metric_keys
from mnist_sgd.training.metrics import batch_accuracy
from mnist_sgd.training.recorder import Metric, metric_name

DEVICE_TOLERANCE = 5e-3
"""The largest difference allowed if the learner is not on the CPU: GPUs multiply in TF32."""

MEAN_CHECK_IMAGES = 1024
"""Number of images, evenly spaced, on which a loss is checked to be a mean."""

FIELDS = ("training", "xb", "yb", "pred", "loss", "ranks")
"""The attributes of a learner that a validation changes."""


def validation_batches(learn: Any) -> Iterable[Batch]:
    """Return batches of all validation images, in the set's order, for a single process.

    A subclass of DataLoader may do anything to its batches, so its own iterator is used.
    """
    loader = learn.own_loader()
    return loader.in_order() if type(loader) is DataLoader else iter(loader)


def measured_metrics(learn: Any) -> dict[str, float] | None:
    """Measure the validation loss and the metrics of the current weights.

    Returns:
        None if the recorder has a row for these weights, which then counts.
    """
    if measured_row(learn) is not None:
        return None
    with undisturbed(learn):
        row = learn.validate(validation_batches(learn))
    names = ["valid_loss", *map(metric_name, learn.metrics)]
    return dict(zip(metric_keys(names, accuracy_column(learn)), row, strict=True))


@contextmanager
def undisturbed(learn: Any) -> Iterator[None]:
    """Let this process use the learner as if alone, and restore its state, also within a fit."""
    before = {name: getattr(learn, name) for name in FIELDS}
    try:
        kept = _preserved_random_state(learn)  # a loss, a metric or a callback may draw
        with evaluating(learn.model), learn.own_loader().undisturbed(), kept:
            learn.ranks = replace(learn.ranks, rank=0, world_size=1)
            yield
    finally:
        for name, value in before.items():
            setattr(learn, name, value)


def _preserved_random_state(learn: Any) -> AbstractContextManager[None]:
    device = learn.ranks.device
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def difference_from_learner(
    learn: Any, probabilities: NDArray[np.float32], tolerance: float | None = None
) -> str | None:
    """Say in what a file's probabilities differ from the learner's, or its metrics from the fit's.

    Args:
        learn: a `Learner` with a validation loader of this package.
        probabilities: the file's, `[N]`, in the order of the validation set.
        tolerance: the largest difference allowed between two probabilities; None: 1e-5, 0.01 in
            bfloat16 or float16, or 0.005 on another device.

    Returns:
        One sentence, or None if they agree.
    """
    with undisturbed(learn):
        logits, targets = learn.get_preds(validation_batches(learn), act=None)
    if tolerance is None:
        on_cpu = learn.ranks.device.type == "cpu"
        tolerance = max(default_tolerance(learn.model, logits), 0 if on_cpu else DEVICE_TOLERANCE)
    return _different_probabilities(
        learn, logits, targets, probabilities, tolerance
    ) or _different_metrics(learn, logits, targets, tolerance)


def _different_probabilities(
    learn: Any, logits: Tensor, targets: Tensor, given: NDArray[np.float32], allowed: float
) -> str | None:
    expected = logits.float().sigmoid().cpu().numpy().reshape(-1)
    labels = learn.own_loader().dataset.labels
    seen = targets.cpu().numpy().reshape(-1)
    if not np.array_equal(np.sort(seen), np.sort(labels)):
        return (
            f"the learner predicts {len(seen):,} images, not each of the {len(labels):,} of the "
            "validation set once: a callback or the loader omits or repeats some"
        )
    if type(learn.own_loader()) is not DataLoader:
        # Its order is unknown: compare the sorted probabilities of each class.
        expected = expected[np.lexsort((expected, seen))]
        given = given[np.lexsort((given, labels))]
    parity = compare(expected, given, threshold=0.5)
    if parity.max_difference <= allowed:
        return None
    return (
        f"the learner and the file give {parity.label_disagreements:,} of {len(labels):,} "
        f"validation images different labels and probabilities up to "
        f"{parity.max_difference:.2g} apart; {allowed:g} is allowed. The file holds the "
        "model and the loader's mean, std and dtype, but not what callbacks or a loader's "
        "subclass do to batches and predictions: do that in the model"
    )


def _different_metrics(learn: Any, logits: Tensor, targets: Tensor, allowed: float) -> str | None:
    """Say which metric of these weights differs from what the fit measured."""
    recorder, index = learn.recorder, measured_row(learn)
    if index is None:
        return None
    noted, (_, *row) = recorder.measured[index], recorder.values[index]
    compared: list[tuple[str, int, Metric, float]] = []
    if noted["plain_loss"] and _is_mean(learn, logits, targets):
        compared.append(("valid_loss", 0, learn.loss_func, 0.0))
    if (column := noted.get("accuracy")) is not None:
        compared.append(("batch_accuracy", column, batch_accuracy, 2 / len(targets)))
    for name, column, metric, two_images in compared:
        before, now = row[column], _mean(learn, metric, logits, targets)
        if abs(now - before) > max(allowed * max(1.0, abs(now)), two_images):
            return (
                f"the fit measured a {name} of {before:.6f} with these weights, the file's "
                f"is {now:.6f}: that fit differed in more than the weights, as by a callback "
                "that changes the batches or the predictions, which the file cannot do; do "
                "that in the model, or, if the model was changed after the fit, call "
                "learn.fit(0), after which export measures it again"
            )
    return None


def _is_mean(learn: Any, logits: Tensor, targets: Tensor) -> bool:
    """Whether the loss is deterministic and a mean over the images.

    Only such a loss does not depend on how a validation cuts the images into batches.
    """
    count = min(len(targets), MEAN_CHECK_IMAGES)
    chosen = torch.arange(count) * len(targets) // count
    logits, targets = (t[chosen.to(t.device)] for t in (logits, targets))
    if logits.dtype.itemsize < 4:  # its rounding would hide a difference
        logits = logits.float()
    sizes = (count, count // 2 + 1, learn.own_loader().batch_size, count)
    try:
        with _preserved_random_state(learn):
            first, *others = (
                _mean(learn, learn.loss_func, logits, targets, size) for size in sizes
            )
    except Exception:  # it may need batches of one size, or of what a callback makes
        return False
    return all(abs(each - first) <= TOLERANCE * max(1.0, abs(first)) for each in others)


def _mean(
    learn: Any, metric: Metric, logits: Tensor, targets: Tensor, batch_size: int | None = None
) -> float:
    """Average a loss or a metric over batches, as a validation does."""
    size = batch_size or learn.own_loader().batch_size
    device = learn.ranks.device
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(targets), size):
            preds, correct = (t[start : start + size] for t in (logits, targets))
            value = metric(preds.to(device), correct.to(device))
            total += float(value.float().mean()) * len(correct)
    return total / len(targets)
