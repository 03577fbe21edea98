"""Convert a model's `state_dict` to what a safetensors file can hold, and back.

A `state_dict` lists a shared tensor under each of its names, and may hold any `get_extra_state`. A
safetensors file holds each tensor once, and nothing else: the rest goes into JSON.
"""

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from mnist_sgd._state_file import DocumentError, digest, pack, unpack

SHARED = "mnist_sgd.shared"
"""The property that maps the other names of shared tensors to the written name."""

EXTRA = "mnist_sgd.extra_state"
"""The property with the extra states; also the prefix of the names of tensors in them."""


def split(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Split a state into tensors, each once and on the CPU, and JSON properties for the rest.

    Raises:
        ValueError: an entry has no shape yet, or holds something other than tensors and what JSON
            can hold; the message names it.
        RuntimeError: a tensor has no memory, or is not dense.
    """
    shared = shared_names(state)
    tensors: dict[str, Tensor] = {}
    extra = {}
    for name, value in state.items():
        if not isinstance(value, Tensor):
            extra[name] = _packed(name, value, tensors)
        elif name not in shared:
            if is_lazy(value):
                raise ValueError(f"{name} has no shape yet, as the model has had no batch")
            tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
    more = {SHARED: shared, EXTRA: extra}
    return tensors, {key: json.dumps(value) for key, value in more.items() if value}


def check_extra(state: Mapping[str, Any]) -> None:
    """Check that the extra states among the entries can be written.

    Raises:
        ValueError: one cannot; the message names it.
    """
    for name, value in state.items():
        if not isinstance(value, Tensor):
            _packed(name, value, {})


def _packed(name: str, value: Any, tensors: dict[str, Tensor]) -> Any:
    try:
        return pack(value, f"{EXTRA}.{name}", tensors)
    except DocumentError as error:
        raise ValueError(str(error).removeprefix(f"{EXTRA}.")) from error


def join(tensors: Mapping[str, Tensor], properties: Mapping[str, str]) -> dict[str, Any]:
    """Join what `split` returned.

    Raises:
        ValueError, TypeError, KeyError, AttributeError, RecursionError: the properties are damaged.
    """
    state: dict[str, Any] = {
        name: tensor for name, tensor in tensors.items() if not name.startswith(f"{EXTRA}.")
    }
    for other, name in json.loads(properties.get(SHARED, "{}")).items():
        state[other] = state[name]
    extra = json.loads(properties.get(EXTRA, "{}"))
    return state | {name: unpack(value, tensors) for name, value in extra.items()}


def fingerprint(state: Mapping[str, Any]) -> str:
    """Return 32 hexadecimal digits that change with any entry of a state.

    Raises:
        ValueError, RuntimeError: as in `split`.
    """
    tensors, more = split(state)
    return digest(json.dumps(more), tensors)


def shared_names(state: Mapping[str, Any]) -> dict[str, str]:
    """Map each further name of a shared tensor to its first one."""
    first: dict[Any, str] = {}
    shared = {}
    for name, value in state.items():
        if isinstance(value, Tensor) and (memory := _memory(value)) is not None:
            if memory in first:
                shared[name] = first[memory]
            else:
                first[memory] = name
    return shared


def _memory(tensor: Tensor) -> tuple[Any, ...] | None:
    """Identify a tensor's memory and layout; None if it has no memory."""
    if is_lazy(tensor) or tensor.layout != torch.strided or tensor.is_meta or not tensor.numel():
        return None
    address = tensor.data_ptr()
    return tensor.device, address, tensor.dtype, tuple(tensor.shape), tensor.stride()


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal to the last bit."""
    bits = [t.contiguous().reshape(-1).view(torch.uint8) for t in (a, b)]
    return a.dtype == b.dtype and torch.equal(*bits)
