"""Build the metadata of model files: classes, normalisation, data, metrics, versions.

A file's metrics belong to its weights and to the validation data. `measured_state` is a fingerprint
of all that the metrics of a validation depend on; the training loop notes it with each row, and the
metrics of a row are only written to a file if the fingerprint is still the same.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache, partial
from hashlib import blake2b
from math import isfinite, isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mnist_sgd.data import ImageSet
from mnist_sgd.export.versions import versions
from mnist_sgd.loader.dataloader import DataLoader
from mnist_sgd.loader.items import FIXED
from mnist_sgd.models.builtin import model_name
from mnist_sgd.models.state_entries import fingerprint
from mnist_sgd.models.weights import INPUT_SHAPE
from mnist_sgd.models.wrappers import non_persistent_buffers, plain_modules, plain_state, unwrapped
from mnist_sgd.training.callbacks.base import Callback
from mnist_sgd.training.callbacks.mixed_precision import MixedPrecision
from mnist_sgd.training.identity import identity
from mnist_sgd.training.metrics import batch_accuracy
from mnist_sgd.training.recorder import Recorder, unique_names
from mnist_sgd.training.resume.attributes import attributes
from mnist_sgd_serve.model.metadata import Metadata

LICENCE = "Apache-2.0"
"""Of the code and of weights trained with it; the bundled data adds its own."""

KNOWN = ("model", "metrics", "data", "versions", "licence")
"""The properties that do not need a DataLoader of this package."""


def build_metadata(learn: Any, metrics: Mapping[str, float] | None = None) -> Metadata:
    """Build the metadata of a learner's model.

    Args:
        learn: any.
        metrics: of its weights, by name; None takes the row of the recorder that was measured with
            these weights, if there is one. Infinite and nan values are left out, since JSON has
            none.

    Raises:
        TypeError: neither the training nor the validation batches are from this package's
            DataLoader of an ImageSet, which knows the classes.
    """
    known = _loaders(learn)
    if not known:
        raise TypeError(
            "class names and normalisation come from a mnist_sgd.DataLoader; the batches come from "
            f"a {type(learn.dls.valid).__name__}"
        )
    loader = [*known.values()][-1]  # the validation loader, if it is one of them
    trained = next(iter(known.values())).dataset
    return Metadata(
        classes=loader.dataset.classes,
        mean=loader.mean,
        std=loader.std,
        dtype=str(loader.dtype).removeprefix("torch."),
        preprocessing=loader.dataset.preprocessing,
        paper=None if loader.dataset.preprocessing == "mnist" else _paper(trained.images),
        **_facts(learn, metrics),
    )


def _paper(images: NDArray[np.uint8]) -> int:
    """Return the median grey of the images' borders, of at most 1,024 images, evenly spaced."""
    count = min(len(images), 1024)
    some = images[np.arange(count) * len(images) // count]
    borders = [some[:, 0], some[:, -1], some[:, :, 0], some[:, :, -1]]
    return int(np.median(np.concatenate(borders, axis=1)) + 0.5)


def properties(learn: Any) -> dict[str, str]:
    """Build the properties of a weights file, wherever the learner's batches come from."""
    if known := _loaders(learn):
        shape = list([*known.values()][-1].sample_shape)
        more = {} if shape == [784] else {INPUT_SHAPE: json.dumps(shape)}
        return build_metadata(learn).to_properties() | more
    everything = Metadata(classes=("0", "1"), **_facts(learn)).to_properties()
    return {name: everything[name] for name in ("mnist_sgd.format", *map(_property, KNOWN))}


def _loaders(learn: Any) -> dict[str, DataLoader]:
    """Return the loaders of training and validation that know classes and normalisation."""
    parts = {"train": learn.dls.train, "valid": learn.dls.valid}
    return {
        name: part
        for name, part in parts.items()
        if isinstance(part, DataLoader) and isinstance(part.dataset, ImageSet)
    }


def _property(field: str) -> str:
    return f"mnist_sgd.{field}"


def _facts(learn: Any, metrics: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Return the metadata fields that do not need a DataLoader of this package."""
    if metrics is None:
        metrics = _recorded(learn)
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


def _recorded(learn: Any) -> dict[str, float]:
    """Return the metrics of the row that was measured with the current weights, if there is one."""
    place, recorder = measured_row(learn), learn.recorder
    if place is None:
        return {}
    _, *row = recorder.values[place]
    keys = metric_keys(recorder.metric_names[2:-1], recorder.measured[place].get("accuracy"))
    return dict(zip(keys, row, strict=True))


def metric_keys(names: Sequence[str], accuracy: int | None) -> list[str]:
    """Return unique names of a validation's loss and metrics in a file.

    Args:
        names: of the loss and the metrics, in their order.
        accuracy: the index of this package's `batch_accuracy` among them; None if it is not there.
    """
    others = [name for i, name in enumerate(names) if i != accuracy]
    reserved = ["images"] if accuracy is None else ["images", "batch_accuracy"]
    keys = unique_names([*reserved, *others])[len(reserved) :]
    return keys if accuracy is None else [*keys[:accuracy], "batch_accuracy", *keys[accuracy:]]


def accuracy_column(learn: Any) -> int | None:
    """Return the index of this package's `batch_accuracy` among the loss and the metrics."""
    return 1 + learn.metrics.index(batch_accuracy) if batch_accuracy in learn.metrics else None


def measured(learn: Any, before: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return what the recorder notes with a row: the weights and data that were measured.

    The loss is plain if no callback of the fit could change it or the predictions.

    Args:
        learn: after a validation.
        before: its `attribute_texts` before the first batch of the validation. What the model
            itself changes during validation, such as a count of its calls, is passing: the metrics
            do not depend on it.
    """
    changers = ("after_pred", "after_loss")
    plain = not any(
        getattr(type(cb), event) is not getattr(Callback, event)
        for cb in learn.active_cbs
        for event in changers
        if not isinstance(cb, MixedPrecision)  # which leaves validation alone
    )
    now = attribute_texts(learn) or {}
    names = [name for name in now if before is not None and before.get(name) != now[name]]
    state, accuracy = measured_state(learn, names), accuracy_column(learn)
    return {"state": state, "passing": names, "plain_loss": plain, "accuracy": accuracy}


def measured_state(learn: Any, passing: Sequence[str] = ()) -> str | None:
    """Compute a fingerprint of all that a validation's metrics depend on.

    Args:
        learn: any.
        passing: names among its `attribute_texts` to leave out.

    Returns:
        32 hexadecimal digits; None if the model's state has no fingerprint.
    """
    try:
        state = {**plain_state(learn.model), **non_persistent_buffers(learn.model)}
        facts = [fingerprint(state), _layers(learn.model)]
    except Exception:  # code of the model may raise anything, and a training must go on
        return None
    texts = attribute_texts(learn)
    if texts is None:
        return None
    facts.append(repr([item for item in texts.items() if item[0] not in passing]))
    valid = learn.dls.valid
    facts += [model_name(learn.model), identity(learn.loss_func)]
    if not isinstance(valid, DataLoader):
        facts.append(identity(valid))
    else:
        tensors = [str(valid.dtype), list(valid.sample_shape), valid.mean, valid.std]
        facts += [repr([valid.state_dict()["dataset"], *tensors, *_left_out(learn, valid)])]
        if type(valid) is not DataLoader:
            facts.append(identity(valid))
        if not isinstance(valid.dataset, ImageSet) and type(valid.dataset) not in FIXED:
            facts.append(identity(valid.dataset))
    return blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()


def _layers(model: nn.Module) -> str:
    """Describe the layers of a model, without the settings of dropouts."""
    text = re.sub(r" at 0x[0-9a-f]+", "", repr(unwrapped(model)))
    return re.sub(r"(\w*Dropout\w*)\([^()]*\)", r"\1", text)


def attribute_texts(learn: Any) -> dict[str, str] | None:
    """Return the plain attributes of the model and the loss, except dropouts', as text by name.

    Returns:
        None if their code raises an error.
    """
    dropouts = tuple(
        f"{name}."
        for name, module in plain_modules(unwrapped(learn.model)).items()
        if "Dropout" in type(module).__name__
    )
    try:
        model = attributes(learn.model, tensors=True)
        loss = attributes(learn.loss_func, tensors=True)
    except Exception:  # as in measured_state
        return None
    return {
        f"{part} {name}": each.text
        for part, found in (("model", model), ("loss", loss))
        for name, each in found.items()
        if part == "loss" or not name.startswith(dropouts)
    }


def _left_out(learn: Any, valid: DataLoader) -> list[object]:
    """Return why a validation does not see each image of the data set once, unchanged.

    The reasons are a short last batch that is dropped, an augmentation, and a split for other ranks
    than those that validate together; [] if there is none.
    """
    found: list[object] = []
    if valid.drop_last and len(valid.dataset) % valid.batch_size:
        found.append(["drop_last", valid.batch_size])
    if valid.augment is not None:
        found.append(["augment", valid.augment.fingerprint()])
    if valid.world_size not in (1, learn.ranks.world_size):
        found.append(["rank", valid.rank, valid.world_size])
    return found


def measured_row(learn: Any) -> int | None:
    """Return the index in `recorder.values` of the metrics of the current weights.

    Returns:
        None if no row was measured with these weights, on each of these images once.
    """
    recorder, valid = learn.recorder, learn.dls.valid
    if isinstance(valid, DataLoader) and _left_out(learn, valid):
        return None
    state_without = cache(partial(measured_state, learn))
    for row in reversed(range(len(recorder.measured))):
        noted = recorder.measured[row]
        if not _is_whole(recorder, row) or noted["state"] is None:
            continue
        if noted["state"] == state_without(tuple(noted.get("passing", ()))):
            return row
    return None


def is_of_last_row(learn: Any) -> bool:
    """Whether the recorder's last row was measured with the current weights and data."""
    noted = learn.recorder.measured[-1]
    state = noted["state"]
    return state is not None and state == measured_state(learn, noted.get("passing", ()))


def _is_whole(recorder: Recorder, row: int) -> bool:
    """Whether a row's validation was complete."""
    return row not in recorder.partial and not isnan(recorder.values[row][1])
