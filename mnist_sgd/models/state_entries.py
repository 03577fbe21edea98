"""The entries of a model's state, as tensors that a file can hold and a few words of JSON.

`state_dict()` gives a tensor again under every name that the model has it by, and whatever a
layer's `get_extra_state` gives. A safetensors file holds neither: it takes each tensor once, and
nothing else.
"""

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from mnist_sgd._state_file import DocumentError, digest, pack, unpack

__all__ = ["check_extra", "fingerprint", "join", "same_bits", "shared_names", "split"]

SHARED = "mnist_sgd.shared"
"""The property with the other names of tensors, each with the name under which it is written."""

EXTRA = "mnist_sgd.extra_state"
"""The property with the entries of the state that are no tensors; those in them are named so."""


def split(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Split a state into tensors, each once and on the CPU, and properties that say the rest.

    Raises:
        ValueError: an entry has no shape yet, or is made of other things than JSON and tensors
            can hold; the message says which.
        RuntimeError: a tensor has no memory, or is not a dense one.
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
    """See that the entries of a state that are no tensors can be written.

    Raises:
        ValueError: one cannot; the message says which.
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
    """The state that `split` split.

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
    """32 hexadecimal digits that change with any entry of a state.

    Raises:
        ValueError, RuntimeError: as in `split`.
    """
    tensors, more = split(state)
    return digest(json.dumps(more), tensors)


def shared_names(state: Mapping[str, Any]) -> dict[str, str]:
    """The names of tensors that came before under another name, each with the first one."""
    first: dict[Any, str] = {}
    shared = {}
    for name, value in state.items():
        if isinstance(value, Tensor) and (place := _place(value)) is not None:
            if place in first:
                shared[name] = first[place]
            else:
                first[place] = name
    return shared


def _place(tensor: Tensor) -> tuple[Any, ...] | None:
    """Where a tensor lies and how; None if it has no memory of that kind."""
    if is_lazy(tensor) or tensor.layout != torch.strided or tensor.is_meta or not tensor.numel():
        return None
    address = tensor.data_ptr()
    return tensor.device, address, tensor.dtype, tuple(tensor.shape), tensor.stride()


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal to the last bit."""
    bits = [t.contiguous().reshape(-1).view(torch.uint8) for t in (a, b)]
    return a.dtype == b.dtype and torch.equal(*bits)
