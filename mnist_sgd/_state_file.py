"""Store a value with tensors as a safetensors file; reading one runs no code.

The value is what an optimizer's `state_dict()` consists of: dictionaries, lists, tuples, strings,
numbers, booleans, None and tensors, nested to any depth. NumPy numbers become Python's, except in a
`NumpyValue`. Tensors become tensors of the file, named by their path
(`optimizer.state.0.momentum_buffer`); the rest is JSON in the file's header, in which integers and
floats keep every digit. A BLAKE2b digest of everything is stored with the JSON, because safetensors
itself does not detect a changed byte.
"""

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor

KEY = "mnist_sgd.document"
"""The only key of the header's metadata: safetensors writes several in varying order."""


class DocumentError(ValueError):
    """The bytes are not a complete state file, or a value cannot be stored in one."""


class NumpyValue:
    """A NumPy number or array that stays one when it is read.

    Args:
        value: of a numeric dtype that torch has too.
    """

    def __init__(self, value: Any) -> None:
        self.value = value


def dump(value: Mapping[str, Any]) -> bytes:
    """Serialise a value; tensors that share memory are written separately.

    Raises:
        DocumentError: the value contains another type; the message says where.
    """
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    text = json.dumps(pack(value, "", tensors))
    return save(tensors, {KEY: f"{digest(text, tensors)} {text}"})


def parse(content: bytes) -> dict[str, Any]:
    """Deserialise a value; its tensors are new, on the CPU.

    Raises:
        DocumentError: not a file of `dump`, or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(content)
    except (SafetensorError, KeyError) as error:  # KeyError: a dtype that torch lacks
        raise DocumentError(f"not a safetensors file: {error}") from error
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    entry = header.get("__metadata__", {}).get(KEY)
    if entry is None:
        raise DocumentError("a safetensors file of another kind")
    stored, _, text = entry.partition(" ")
    if stored != digest(text, tensors):
        raise DocumentError("damaged: its digest does not match its content")
    value: dict[str, Any] = unpack(json.loads(text), tensors)
    return value


def pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Split a value into JSON data, which is returned, and tensors.

    Args:
        value: to split.
        name: prefix of the tensors' names.
        tensors: receives copies of the tensors, on the CPU.

    Raises:
        DocumentError: the value contains another type; the message says where.
    """
    if isinstance(value, Tensor):
        while name in tensors:  # as for {"a": {"b": ...}, "a.b": ...}
            name += "_"
        tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"$tensor": name}
    if isinstance(value, NumpyValue):
        array = np.array(value.value)  # a copy
        packed = pack(torch.from_numpy(array), name, tensors)
        return {"$array" if isinstance(value.value, np.ndarray) else "$number": packed["$tensor"]}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        items = [pack(item, _join(name, i), tensors) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if isinstance(value, Mapping):
        pairs = [(key, pack(item, _join(name, key), tensors)) for key, item in value.items()]
        plain = all(isinstance(key, str) and not key.startswith("$") for key, _ in pairs)
        return dict(pairs) if plain else {"$pairs": pairs}
    raise DocumentError(f"{name} is a {type(value).__name__}, which a file of tensors cannot hold")


def _join(name: str, key: object) -> str:
    return f"{name}.{key}" if name else str(key)


def unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Reassemble a value that `pack` split."""
    match value:
        case {"$tensor": name}:
            return tensors[name]
        case {"$array": name}:
            return tensors[name].numpy()
        case {"$number": name}:
            return tensors[name].numpy()[()]
        case {"$tuple": items}:
            return tuple(unpack(item, tensors) for item in items)
        case {"$pairs": pairs}:
            return {key: unpack(item, tensors) for key, item in pairs}
        case dict():
            return {key: unpack(item, tensors) for key, item in value.items()}
        case list():
            return [unpack(item, tensors) for item in value]
    return value


def digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    """Return a digest, 32 hexadecimal digits, of the JSON and all tensors with names and types."""
    state = blake2b(text.encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        state.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        state.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return state.hexdigest()
