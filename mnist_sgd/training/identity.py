"""Fingerprints that distinguish losses, or sources of batches, of the same name.

The fingerprint of an object that its parts describe completely is computed from them, and is the
same in every process. Any other object has a random one for its lifetime, as its content may change
and another object may look alike.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any
from uuid import uuid4

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device)
"""Types that their `repr` describes completely."""

SMALL = 1 << 12
"""Up to how many elements a tensor is read; a larger one counts by its object and version."""

OWN_LOSSES = {
    "mnist_loss": "d049557e6f16263792380084c2ad7220",
    "cross_entropy": "5fbef9c5cdc62c0b231d7ff9b09a74be",
}
"""Fingerprints of this package's losses, as earlier checkpoints hold them."""

_tokens: Any = WeakIdKeyDictionary()


def identity(thing: object) -> str:
    """Compute a fingerprint of 32 hexadecimal digits.

    Args:
        thing: a function, a loss module, a loader, a list of batches, or anything else.
    """
    return _own_loss(thing) or _digest(_parts(thing, ()))


def _own_loss(thing: object) -> str | None:
    if isinstance(thing, FunctionType) and thing.__module__ == "mnist_sgd.training.losses":
        return OWN_LOSSES.get(thing.__qualname__)
    return None


def _parts(thing: Any, outer: tuple[int, ...]) -> object:
    """Describe an object as nested lists of text; `outer` are the ids of what contains it."""
    if type(thing) in PLAIN:
        return repr(thing)
    if id(thing) in outer:  # a function that calls itself
        return "itself"
    within = (*outer, id(thing))

    def parts(*others: object) -> list[object]:
        return [type(thing).__qualname__, *(_parts(other, within) for other in others)]

    if type(thing) in _CONTAINERS:
        return parts(*_CONTAINERS[type(thing)](thing))
    for kind, taken in _PARTS:
        if isinstance(thing, kind):
            return parts(*taken(thing))
    return parts(_token(thing))


def _of_function(function: FunctionType) -> list[object]:
    if own := _own_loss(function):
        return [own]
    cells = [_content(cell) for cell in function.__closure__ or ()]
    named = [function.__module__, function.__qualname__, function.__defaults__]
    return [*named, function.__kwdefaults__, function.__code__, cells]


def _content(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # a variable without a value yet
        return None


def _of_module(module: nn.Module) -> list[object]:
    attributes = {name: value for name, value in vars(module).items() if name != "training"}
    return [type(module), type(module).forward, attributes]


def _of_tensor(tensor: Tensor) -> list[object]:
    described = [str(tensor.dtype), str(tensor.device), list(tensor.shape)]
    if tensor.layout != torch.strided or tensor.is_meta or tensor.numel() > SMALL:
        version = None if tensor.is_inference() else tensor._version
        return [*described, _token(tensor), version]
    values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return [*described, blake2b(values.numpy().data).hexdigest()]


_PARTS: tuple[tuple[Any, Callable[[Any], Sequence[object]]], ...] = (
    (type, lambda kind: [kind.__module__, kind.__qualname__]),
    (BuiltinFunctionType, lambda each: [each.__module__, each.__qualname__]),
    (FunctionType, _of_function),
    (MethodType, lambda method: [method.__func__, method.__self__]),
    (CodeType, lambda code: [code.co_code, code.co_consts, code.co_names, code.co_varnames]),
    (partial, lambda each: [each.func, each.args, each.keywords]),
    (nn.Module, _of_module),
    (Tensor, _of_tensor),
)
"""The parts of an object by its type; the first type that fits counts."""

_CONTAINERS: dict[type, Callable[[Any], Sequence[object]]] = {
    list: list,
    tuple: list,
    set: lambda each: sorted(map(repr, each)),
    frozenset: lambda each: sorted(map(repr, each)),
    dict: lambda each: [*each, *each.values()],
    OrderedDict: lambda each: [*each, *each.values()],
}
"""The parts of containers, but not of their subclasses, whose code may differ."""


def _token(thing: object) -> str:
    """Return a random text for an object's lifetime; a new one each time if that is unknown."""
    try:
        return str(_tokens.setdefault(thing, uuid4().hex))
    except TypeError:  # of some kinds no weak reference can be made
        return uuid4().hex


def _digest(parts: object) -> str:
    return blake2b(repr(parts).encode(errors="surrogatepass"), digest_size=16).hexdigest()
