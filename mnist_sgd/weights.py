"""Weights on disk as safetensors: loading one runs no code, whoever made it.

The file's header carries the same `Metadata` as an artefact, so that `mnist-sgd export` can turn
weights into one without being told anything else. The same weights give the same bytes.
"""

import json
import os
from pathlib import Path

from torch import Tensor, nn

from mnist_sgd._files import atomic_write
from mnist_sgd_serve.metadata import Metadata, MetadataError

__all__ = ["WeightsError", "load_weights", "read_weights", "save_weights"]


KEY = "mnist_sgd"
"""The one key of the header's metadata: safetensors writes several in an order that varies."""


class WeightsError(ValueError):
    """A file does not hold the weights that were asked for."""


def save_weights(model: nn.Module, path: str | os.PathLike[str], metadata: Metadata) -> None:
    """Write a model's parameters and buffers, and what is known of them, as one whole file.

    Raises:
        OSError: the file cannot be written.
    """
    from safetensors.torch import save

    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    header = {KEY: json.dumps(metadata.to_properties())}
    atomic_write(path, save(tensors, header))


def read_weights(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], Metadata]:
    """The tensors of a file by name, and its metadata.

    Raises:
        WeightsError: the file is missing or is not one that `save_weights` wrote.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file")
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(KEY, "{}")
            metadata = Metadata.from_properties(json.loads(header))
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except SafetensorError as error:
        raise WeightsError(f"{path}: not a safetensors file: {error}") from error
    except (MetadataError, json.JSONDecodeError) as error:
        raise WeightsError(f"{path}: not weights of mnist_sgd: {error}") from error


def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> Metadata:
    """Put the weights of a file into a model of the same shape, and return the file's metadata.

    Raises:
        WeightsError: the file is missing, is not one that `save_weights` wrote, or is of another
            architecture; the model is then as it was.
    """
    tensors, metadata = read_weights(path)
    wanted = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    given = {name: tuple(t.shape) for name, t in tensors.items()}
    if wanted != given:
        raise WeightsError(
            f"{path}: its weights are {_describe(given)}; this model has {_describe(wanted)}"
        )
    model.load_state_dict(tensors)
    return metadata


def _describe(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in sorted(shapes.items())) or "none"
