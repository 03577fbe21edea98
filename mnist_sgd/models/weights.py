"""Save and load weights as safetensors files; loading one runs no code.

The file's header holds the same `Metadata` as an artifact, so that `mnist-sgd export` needs nothing
else. The same weights give the same bytes. A shared tensor is written once. A layer's
`get_extra_state` is written if it consists of tensors and what JSON can hold.
"""

import copy
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mnist_sgd import _state_file as _document
from mnist_sgd._files import atomic_write
from mnist_sgd.models.state_entries import join, same_bits, shared_names, split
from mnist_sgd.models.wrappers import load_plain_state, plain_state
from mnist_sgd_serve.model.metadata import Metadata, MetadataError

KEY = "mnist_sgd"
"""The only key of the header's metadata: safetensors writes several in varying order."""

CLASSES = "mnist_sgd.classes"

INPUT_SHAPE = "mnist_sgd.input_shape"
"""The property with the shape of one image as the model takes it; omitted for [784]."""


class WeightsError(ValueError):
    """A file does not hold the requested weights, or a model's weights cannot be written."""


@dataclass(frozen=True)
class WeightsFile:
    """The content of a weights file.

    Attributes:
        path: of the file.
        state: as `Module.load_state_dict` takes it, with shared tensors under each name.
        properties: the metadata as text, by name.
    """

    path: Path
    state: dict[str, Any]
    properties: Mapping[str, str] = field(default_factory=dict)

    @property
    def metadata(self) -> Metadata:
        """The properties as `Metadata`.

        Raises:
            WeightsError: they are damaged, or lack the classes and the normalisation, as when
                the training batches did not come from this package's DataLoader.
        """
        if CLASSES not in self.properties:
            raise WeightsError(
                f"{self.path} does not say what its classes are and how its images are "
                "normalised, because its batches did not come from a mnist_sgd.DataLoader; load "
                "it into a Learner that has one, and export from there"
            )
        try:
            return Metadata.from_properties(self.properties)
        except MetadataError as error:
            raise WeightsError(f"{self.path}: not weights of mnist_sgd: {error}") from error

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image as the model takes it.

        Raises:
            WeightsError: it is damaged.
        """
        try:
            return tuple(map(int, json.loads(self.properties.get(INPUT_SHAPE, "[784]"))))
        except (ValueError, TypeError) as error:
            raise WeightsError(
                f"{self.path}: not weights of mnist_sgd: its input_shape cannot be read"
            ) from error


def save_weights(
    model: nn.Module,
    path: str | os.PathLike[str],
    metadata: Metadata | Mapping[str, str],
) -> None:
    """Write a model's parameters, buffers and metadata to a file, atomically.

    Args:
        model: any model; of a wrapped one, as by `torch.compile`, the model inside is written.
        path: of the file.
        metadata: the metadata, or its properties.

    Raises:
        WeightsError: the model holds something that such a file cannot; the message names it.
        OSError: the file cannot be written.
    """
    atomic_write(path, packed_weights(model, path, metadata))


def packed_weights(
    model: nn.Module, path: str | os.PathLike[str], metadata: Metadata | Mapping[str, str]
) -> bytes:
    """Return the bytes that `save_weights` writes to `path`.

    Raises:
        WeightsError: as in `save_weights`.
    """
    from safetensors.torch import save

    properties = metadata.to_properties() if isinstance(metadata, Metadata) else dict(metadata)
    try:
        tensors, more = split(plain_state(model))
        return save(tensors, {KEY: json.dumps(properties | more)})
    except (RuntimeError, ValueError, TypeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise WeightsError(f"{path}: these weights cannot be written: {reason}") from error


def open_weights(path: str | os.PathLike[str]) -> WeightsFile:
    """Read a weights file.

    Raises:
        WeightsError: the file is missing, or `save_weights` did not write it.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if path.is_dir():
        there = path / "model.safetensors"
        hint = f"; the weights are {there}" if there.is_file() else ""
        raise WeightsError(f"{path}: this is a folder{hint}")
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            properties = json.loads(header.get(KEY, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise WeightsError(f"{path}: not a safetensors file: {error}") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise WeightsError(f"{path}: not weights of mnist_sgd: {error}") from error
    if _document.KEY in header:
        raise WeightsError(
            f"{path}: a checkpoint of a training, not weights: resume that training, which writes "
            "them at its end (train --resume; in Python fit(resume=...) and save)"
        )
    if not isinstance(properties, dict) or "mnist_sgd.format" not in properties:
        raise WeightsError(f"{path}: not weights of mnist_sgd: it has no mnist_sgd metadata")
    try:
        return WeightsFile(path, join(tensors, properties), properties)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise WeightsError(
            f"{path}: not weights of mnist_sgd: its header cannot be read"
        ) from error


def read_weights(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Metadata]:
    """Read the state and the metadata of a weights file.

    Raises:
        WeightsError: the file is missing, `save_weights` did not write it, or it has no classes.
    """
    file = open_weights(path)
    return file.state, file.metadata


def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> WeightsFile:
    """Load the weights of a file into a model of the same architecture, and return the file.

    A shared tensor is loaded under each of its names, also if the model does not share it.

    Raises:
        WeightsError: the file is missing, `save_weights` did not write it, or its weights are of
            another architecture; the model is then unchanged.
    """
    file = open_weights(path)
    _check(model, file)
    before = copy.deepcopy(plain_state(model))
    try:
        load_plain_state(model, file.state)
    except Exception as error:  # a layer's set_extra_state may raise anything
        with suppress(Exception):  # what could not be loaded was not changed either
            load_plain_state(model, before)
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise WeightsError(f"{path}: this model does not take its weights: {reason}") from error
    return file


def shapes(state: Mapping[str, Any]) -> str:
    """Format the names and the shapes of a model's weights in one line."""
    return _listed({name: _shape(name, value) for name, value in state.items()})


def _check(model: nn.Module, file: WeightsFile) -> None:
    """Check that the weights of a file fit a model's architecture."""
    state = plain_state(model)
    own = {name: _shape(name, value) for name, value in state.items()}
    given = {name: _shape(name, value) for name, value in file.state.items()}
    # A lazy layer takes any shape.
    fitting = {name: given.get(name) if is_lazy(state[name]) else own[name] for name in own}
    if fitting != given:
        theirs, ours = (_listed(dict(sorted(each.items()))) for each in (given, own))
        raise WeightsError(f"{file.path}: its weights are {theirs}; this model has {ours}")
    for other, name in shared_names(state).items():
        if not same_bits(file.state[other], file.state[name]):
            raise WeightsError(
                f"{file.path}: its {name} and {other} differ; in this model they are one tensor"
            )


def _shape(name: str, value: Any) -> tuple[int, ...] | None:
    """Return the shape of a weight; None for an extra state, which may have any."""
    if not isinstance(value, Tensor) or name.endswith("_extra_state") or is_lazy(value):
        return None
    return tuple(value.shape)


def _listed(shapes: Mapping[str, tuple[int, ...] | None]) -> str:
    parts = [name if shape is None else f"{name} {list(shape)}" for name, shape in shapes.items()]
    return ", ".join(parts) or "none"
