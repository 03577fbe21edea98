"""A value with tensors in it, as the bytes of one safetensors file: reading one runs no code.

The value is what an optimizer's `state_dict()` is made of: dictionaries, lists, tuples, strings,
numbers, booleans, None and tensors, in any depth; NumPy's numbers become Python's, but for those in
a `NumpyValue`, which stay what they are. Its tensors
become tensors of the file, named by where they are (`optimizer.state.0.momentum_buffer`), and the
rest is JSON in the file's header, in which integers and floats keep every digit. A BLAKE2b digest
of it all lies beside the JSON, since safetensors itself does not notice a changed byte.
"""

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["DocumentError", "NumpyValue", "digest", "dump", "pack", "parse", "unpack"]

KEY = "mnist_sgd.document"
"""The one key of the header's metadata: safetensors writes several in an order that varies."""


class DocumentError(ValueError):
    """Bytes are not a whole document, or a value cannot be one."""


class NumpyValue:
    """A number or an array of NumPy that is read again as one.

    Args:
        value: its dtype is one of numbers that torch has too.
    """

    def __init__(self, value: Any) -> None:
        self.value = value


def dump(value: Mapping[str, Any]) -> bytes:
    """The file of a value. Tensors are copied from their devices; shared memory is written twice.

    Raises:
        DocumentError: the value holds something else than the module allows; the message says
            where.
    """
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    text = json.dumps(pack(value, "", tensors))
    return save(tensors, {KEY: f"{digest(text, tensors)} {text}"})


def parse(content: bytes) -> dict[str, Any]:
    """The value of a file; its tensors lie in memory of their own, on the CPU.

    Raises:
        DocumentError: the bytes are not those of `dump`, to the last bit.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(content)
    except (SafetensorError, KeyError) as error:  # KeyError: a type that torch does not have
        raise DocumentError(f"not a safetensors file: {error}") from error
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    entry = header.get("__metadata__", {}).get(KEY)
    if entry is None:
        raise DocumentError("a safetensors file of another kind")
    noted, _, text = entry.partition(" ")
    if noted != digest(text, tensors):
        raise DocumentError("damaged: its digest is not that of its content")
    value: dict[str, Any] = unpack(json.loads(text), tensors)
    return value


def pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Split a value into what JSON can hold, which is returned, and tensors.

    Args:
        value: as the module allows.
        name: what its tensors are named after.
        tensors: takes copies of its tensors, on the CPU.

    Raises:
        DocumentError: there is something else in the value; the message says where.
    """
    if isinstance(value, Tensor):
        while name in tensors:  # as of {"a": {"b": ...}, "a.b": ...}
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
    """The value that `pack` split, put together again."""
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
    """32 hexadecimal digits of the JSON and of every tensor's name, type, shape and bytes."""
    state = blake2b(text.encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        state.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        state.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return state.hexdigest()
