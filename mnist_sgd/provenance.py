"""What is known of a trained model, as the metadata of the files that it leaves as.

Metrics in a file belong to its weights. `measured_state` is a fingerprint of all that the metrics
of a validation depend on; the training loop notes it with each row, and the metrics of a row go
into a file only if the fingerprint is still the same.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnist_sgd.callbacks import Callback
from mnist_sgd.data import ImageSet
from mnist_sgd.export.versions import versions
from mnist_sgd.loader import DataLoader
from mnist_sgd.mixed_precision import MixedPrecision
from mnist_sgd.models import model_name
from mnist_sgd.recorder import Recorder, metric_name, unique_names
from mnist_sgd.state_entries import fingerprint
from mnist_sgd.weights import INPUT_SHAPE
from mnist_sgd.wrappers import passing_buffers, plain_state
from mnist_sgd_serve.metadata import Metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnist_sgd.training_loop import TrainingLoop

__all__ = ["describe", "measured", "measured_row", "measured_state", "properties"]

LICENCE = "Apache-2.0"
"""Of the code and of weights that it trains; the bundled data has its own, which adds to it."""

KNOWN = ("model", "metrics", "data", "versions", "licence")
"""The properties that are known also where no DataLoader of this package tells the classes."""


def describe(learn: TrainingLoop, metrics: Mapping[str, float] | None = None) -> Metadata:
    """The metadata of a learner's model: classes, normalisation, data, metrics, versions.

    Args:
        learn: any.
        metrics: of its weights, by name; None takes the row of the recorder that was measured
            with these weights, if there is one. Those that are infinite or nan are left out, since
            JSON cannot hold them.

    Raises:
        TypeError: neither its training nor its validation batches come from this package's
            DataLoader, so that nobody knows the classes.
    """
    known = _loaders(learn)
    if not known:
        raise TypeError(
            "class names and normalisation come from a mnist_sgd.DataLoader; the batches come from "
            f"a {type(learn.dls.valid).__name__}"
        )
    loader = [*known.values()][-1]  # that of validation, if it is one of them
    trained = next(iter(known.values())).dataset
    return Metadata(
        classes=loader.dataset.classes,
        mean=loader.mean,
        std=loader.std,
        dtype=str(loader.dtype).removeprefix("torch."),
        preparation=loader.dataset.preparation,
        paper=None if loader.dataset.preparation == "mnist" else _paper(trained.images),
        **_facts(learn, metrics),
    )


def _paper(images: NDArray[np.uint8]) -> int:
    """The median grey of the images' borders; of a large set 1,024 images, evenly spaced."""
    count = min(len(images), 1024)
    some = images[np.arange(count) * len(images) // count]
    borders = [some[:, 0], some[:, -1], some[:, :, 0], some[:, :, -1]]
    return int(np.median(np.concatenate(borders, axis=1)) + 0.5)


def properties(learn: TrainingLoop) -> dict[str, str]:
    """What is known of a learner's weights, for their file, whatever its batches come from."""
    if known := _loaders(learn):
        shape = list([*known.values()][-1].sample_shape)
        more = {} if shape == [784] else {INPUT_SHAPE: json.dumps(shape)}
        return describe(learn).to_properties() | more
    everything = Metadata(classes=("0", "1"), **_facts(learn)).to_properties()
    return {name: everything[name] for name in ("mnist_sgd.format", *map(_property, KNOWN))}


def _loaders(learn: TrainingLoop) -> dict[str, DataLoader]:
    """Those of training and validation that know classes and normalisation."""
    parts = {"train": learn.dls.train, "valid": learn.dls.valid}
    return {
        name: part
        for name, part in parts.items()
        if isinstance(part, DataLoader) and isinstance(part.dataset, ImageSet)
    }


def _property(field: str) -> str:
    return f"mnist_sgd.{field}"


def _facts(learn: TrainingLoop, metrics: Mapping[str, float] | None = None) -> dict[str, Any]:
    """The fields of the metadata that are known also of batches from elsewhere."""
    if metrics is None:
        place, recorder = measured_row(learn), learn.recorder
        row = [] if place is None else recorder.values[place][1:]
        names = unique_names(recorder.metric_names[2:-1])
        metrics = dict(zip(names, row, strict=False))
    numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    known = {name: value for name, value in numbers.items() if isfinite(value)}
    loaders = _loaders(learn)
    sets = {part: loader.dataset for part, loader in loaders.items()}
    data = {images.name or part: images.fingerprint() for part, images in sets.items()}
    if "valid" in sets:
        known["images"] = len(sets["valid"])
    return {
        "model": model_name(learn.model),
        "metrics": known,
        "data": data,
        "versions": versions(),
        "licence": LICENCE,
    }


def measured(learn: TrainingLoop) -> dict[str, Any]:
    """What the recorder notes with a row: which weights it is of, and whether `loss` is plain.

    The loss is plain if no callback of the fit could change it or the predictions.
    """
    changers = ("after_pred", "after_loss")
    plain = not any(
        getattr(type(cb), moment) is not getattr(Callback, moment)
        for cb in learn.active_cbs
        for moment in changers
        if not isinstance(cb, MixedPrecision)  # which leaves validation alone
    )
    return {"state": measured_state(learn), "plain_loss": plain}


def measured_state(learn: TrainingLoop) -> str | None:
    """A fingerprint of all that a validation's metrics depend on.

    Returns:
        None if the model's state has no fingerprint.
    """
    try:
        weights = fingerprint({**plain_state(learn.model), **passing_buffers(learn.model)})
    except Exception:  # a layer's get_extra_state may raise anything, and a training must go on
        return None
    facts: list[str | float] = [weights, model_name(learn.model), metric_name(learn.loss_func)]
    valid = learn.dls.valid
    if isinstance(valid, DataLoader):
        facts += [valid.state_dict()["dataset"], valid.mean, valid.std, str(valid.dtype)]
    return blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()


def measured_row(learn: TrainingLoop) -> int | None:
    """The place in `recorder.values` of the metrics that the weights have.

    Returns:
        None if no row was measured with these weights, on these images, each of them once.
    """
    recorder, valid = learn.recorder, learn.dls.valid
    if isinstance(valid, DataLoader):
        dropped = valid.drop_last and len(valid.dataset) % valid.batch_size
        if valid.augment is not None or dropped:
            return None
    state = measured_state(learn) if recorder.measured else None
    rows = [
        i
        for i, noted in enumerate(recorder.measured)
        if state and noted["state"] == state and _is_whole(recorder, i)
    ]
    return rows[-1] if rows else None


def _is_whole(recorder: Recorder, row: int) -> bool:
    """Whether a row's validation was finished."""
    return row not in recorder.partial and not isnan(recorder.values[row][1])
