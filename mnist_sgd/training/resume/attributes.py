"""The plain attributes of a model, a loss or an optimizer: numbers, words and names of functions.

Much of what decides a computation is neither a tensor nor in a `repr`: the `delta` of a loss, the
`dropout` of an attention, a number that a custom module was made with, what a function has from
its surroundings. `attributes` finds these values, by dotted names that are the same in each
process, and can set them. It also says which of them surely decide what is computed: those of
torch's and this package's modules, and what a loss holds itself.
"""

from __future__ import annotations

import dataclasses
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from functools import partial
from hashlib import blake2b
from inspect import isclass
from types import BuiltinFunctionType, FunctionType, MethodType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mnist_sgd.models.wrappers import plain_modules, unwrapped

__all__ = ["Attribute", "attributes", "is_record", "modules_within", "put_attribute"]

INTERNAL = frozenset(vars(nn.Module()))
"""What torch keeps in every module; `training` is set by the loop."""

MARKS = ("_ddp", "_is_torch", "_is_fsdp", "_fsdp", "_distribute")
"""What the names begin with of attributes by which torch marks a module that it wraps."""

LEFT_OUT = frozenset(
    {"device", "rank", "local_rank", "world_size", "num_threads", "num_workers", "verbose"}
)
"""Names of what decides where something is computed and what is said of it, but not the result."""

MOST = 1000
"""Values within one attribute; a longer list is data, or a log."""

SHOWN = 60
"""Characters of a value that are shown; of more there are the first, and a digest of all."""

DEPTH = 4
"""How deep objects lie within objects."""


@dataclasses.dataclass(frozen=True)
class Attribute:
    """A value and where it is.

    Attributes:
        value: as it is.
        text: short, and another for each value.
        put: sets another value; None for what cannot be set.
        decides: whether it surely decides what is computed.
    """

    value: Any
    text: str
    put: Callable[[Any], None] | None
    decides: bool


def attributes(
    root: object, *, tensors: bool = False, loss: bool = False, apart: Iterable[object] = ()
) -> dict[str, Attribute]:
    """The plain attributes of an object and of the modules, functions and records within it.

    Args:
        root: a module, a function, a partial of one, or any other object.
        tensors: whether tensors and arrays count that are no parameters.
        loss: whether it is a loss: its buffers count, and the numbers that it holds itself decide
            what is computed.
        apart: what has its own attributes, and is not looked into.

    Returns:
        By dotted names. Those of a lazy layer, which a first batch will change, are left out.
    """
    found: dict[str, Attribute] = {}
    for path, owner, is_direct in _owners(root, "", DEPTH, set(map(id, apart))):
        is_own = _is_of(owner, "torch", "torchvision", "mnist_sgd")
        for name, value, put in _entries(owner):
            text = _text(value, tensors and not is_own)
            if text is not None:
                decides = is_own or (loss and is_direct and _decides(owner, value))
                found[_join(path, name)] = Attribute(value, text, put, decides)
        buffers = owner._buffers if loss and isinstance(owner, nn.Module) else {}
        for name, value in buffers.items():
            text = _text(value, tensors)
            if text is not None:
                found[_join(path, name)] = Attribute(value, text, None, True)
    return found


def put_attribute(found: Mapping[str, Attribute], root: object, name: str, value: object) -> None:
    """Set an attribute, also one that an object does not have yet.

    Args:
        found: the attributes of `root`.
        root: as in `attributes`.
        name: as in `attributes`; where nothing is that could have it, nothing is set.
        value: what it gets.
    """
    if name in found:
        put = found[name].put
        if put is not None:
            put(value)
        return
    place, _, last = name.rpartition(".")
    for path, owner, _ in _owners(root, "", DEPTH, set()):
        if path == place and last.isidentifier() and hasattr(owner, "__dict__"):
            if not isinstance(owner, partial | FunctionType | type):
                object.__setattr__(owner, last, value)
            return


def _is_of(owner: object, *libraries: str) -> bool:
    """Whether an object is a module of a library."""
    return isinstance(owner, nn.Module) and type(owner).__module__.split(".")[0] in libraries


def _decides(owner: object, value: object) -> bool:
    """Whether something that a loss holds itself surely decides what it computes."""
    if isinstance(owner, partial | FunctionType):
        return not isinstance(value, Mapping)
    return isinstance(value, bool | int | float | complex | np.number | np.bool_ | Tensor)


def modules_within(root: object, *, apart: Iterable[object] = ()) -> dict[str, nn.Module]:
    """The outermost modules that an object is or holds, by dotted names; "" is `root` itself.

    Args:
        root: as in `attributes`.
        apart: what is not looked into.
    """
    found: dict[str, nn.Module] = {}
    inner: set[int] = set()
    for path, owner, _ in _owners(root, "", DEPTH, set(map(id, apart))):
        if isinstance(owner, nn.Module) and id(owner) not in inner:
            found[path] = owner
            inner |= set(map(id, owner.modules()))
    return found


def _owners(
    root: object, path: str, depth: int, seen: set[int], is_direct: bool = True
) -> Iterator[tuple[str, object, bool]]:
    """What has attributes: an object, the modules in it, and what is among its attributes.

    Each comes with whether it is the root itself, or what a function or a partial there calls.
    """
    root = getattr(root, "_torchdynamo_orig_callable", root)  # of what torch.compile wraps
    root = root.__self__ if isinstance(root, MethodType) else root
    root = unwrapped(root) if isinstance(root, nn.Module) else root
    if depth == 0 or id(root) in seen:
        return
    inner = plain_modules(root) if isinstance(root, nn.Module) else {"": root}
    owners = {_join(path, name): each for name, each in inner.items() if id(each) not in seen}
    seen |= set(map(id, owners.values()))
    for place, owner in owners.items():
        yield place, owner, is_direct and owner is root
        calls = is_direct and isinstance(owner, partial | FunctionType)
        for name, value, _ in _entries(owner):
            if _has_entries(value):
                direct = calls and not is_record(value)
                yield from _owners(value, _join(place, name), depth - 1, seen, direct)


Entry = tuple[str, Any, Callable[[Any], None] | None]


def _entries(owner: Any) -> Iterator[Entry]:
    """The names, values and setters of what an object holds itself."""
    if isinstance(owner, partial):
        yield "function", owner.func, None
        yield from ((f"argument {i}", value, None) for i, value in enumerate(owner.args, 1))
        for key, value in sorted(owner.keywords.items()):
            yield key, value, partial(owner.keywords.__setitem__, key)
    elif isinstance(owner, FunctionType):
        yield from _of_function(owner)
    elif not isclass(owner) and not isinstance(owner, BuiltinFunctionType):
        yield from _of_object(owner)


def _of_function(function: FunctionType) -> Iterator[Entry]:
    """The values that a function has from the functions around it, and its defaults."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # not set yet
            continue
        yield name, value, partial(setattr, cell, "cell_contents")
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    defaults = function.__defaults__ or ()
    named = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))
    for name, value in {**named, **(function.__kwdefaults__ or {})}.items():
        yield f"default {name}", value, None


def _of_object(owner: Any) -> Iterator[Entry]:
    kinds = [kind for kind in type(owner).__mro__ if not _is_of_libraries(kind)]
    slots = [name for kind in kinds for name in _slots(kind) if hasattr(owner, name)]
    own = dict.fromkeys([*getattr(owner, "__dict__", ()), *slots])
    for name in own:
        if isinstance(owner, nn.Module) and _is_internal(owner, name):
            continue
        if name not in LEFT_OUT:
            yield name, getattr(owner, name, None), partial(object.__setattr__, owner, name)
    for kind in kinds:
        for name, value in vars(kind).items():
            plain = not (name.startswith("_") or hasattr(value, "__get__") or name in own)
            if plain and name not in LEFT_OUT:
                yield name, getattr(owner, name, None), partial(setattr, kind, name)


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _is_of_libraries(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in ("builtins", "torch", "typing", "abc", "enum")


def _is_internal(module: nn.Module, name: str) -> bool:
    lazy = isinstance(module, nn.modules.lazy.LazyModuleMixin)
    return lazy or name in INTERNAL or name.startswith(MARKS)


def _has_entries(value: object) -> bool:
    """Whether a value is a function or a record, whose own values decide what is computed."""
    if isinstance(value, nn.Module | partial | FunctionType | MethodType):
        return True
    if isclass(value) or isinstance(value, BuiltinFunctionType | Tensor | Enum):
        return False
    if isinstance(value, Mapping):
        return False  # it is one value
    return is_record(value) or (callable(value) and not _is_of_libraries(type(value)))


def is_record(value: object) -> bool:
    """Whether a value is a record of others, such as the arguments of a program."""
    if isinstance(value, Mapping | SimpleNamespace | Namespace):
        return True
    return dataclasses.is_dataclass(value) and not isclass(value) and not callable(value)


def _text(value: object, tensors: bool) -> str | None:
    """A value as text; None if it is no plain one."""
    left = [MOST]
    whole = _whole_text(value, tensors, left)
    if whole is None or left[0] < 0:
        return None
    if len(whole) <= SHOWN:
        return whole
    digest = blake2b(whole.encode(), digest_size=4).hexdigest()
    return f"{whole[: SHOWN - 20]}... (of digest {digest})"


def _whole_text(value: Any, tensors: bool, left: list[int]) -> str | None:
    left[0] -= len(value) if isinstance(value, list | tuple | set | frozenset | dict) else 1
    if left[0] < 0:
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 1.0 is 1
    if isinstance(value, str) and ("/" in value or "\\" in value):
        return None  # a path, which may be another on each machine
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | range):
        return repr(value)
    if isinstance(value, Enum | torch.dtype):
        return str(value)
    if isclass(value) or isinstance(value, FunctionType | BuiltinFunctionType):
        return value.__qualname__
    if isinstance(value, Tensor | np.ndarray):
        return _tensor_text(value) if tensors else None
    if isinstance(value, list | tuple | set | frozenset):
        texts = [_whole_text(each, tensors, left) for each in value]
        ordered = sorted(map(str, texts)) if isinstance(value, set | frozenset) else texts
        return None if None in texts else f"[{', '.join(map(str, ordered))}]"
    if isinstance(value, Mapping):
        pairs = {key: _whole_text(each, tensors, left) for key, each in value.items()}
        if None in pairs.values():
            return None
        return f"{{{', '.join(sorted(f'{key!r}: {text}' for key, text in pairs.items()))}}}"
    return None


def _tensor_text(value: Tensor | NDArray[Any]) -> str | None:
    """Of parameters, and of what is computed from them, none."""
    if isinstance(value, nn.Parameter) or getattr(value, "grad_fn", None) is not None:
        return None
    if isinstance(value, np.ndarray) and value.dtype.kind not in "biuf":
        return None
    tensor = torch.as_tensor(value)
    if tensor.layout != torch.strided or tensor.is_meta:
        return None
    if tensor.numel() <= 4:
        return str(tensor.detach().cpu().tolist())
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    digest = blake2b(flat.view(torch.uint8).numpy().tobytes(), digest_size=4).hexdigest()
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)} of digest {digest}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name
