"""Find and set the plain attributes of a model, a loss or an optimizer.

Much of what decides a computation is neither a tensor nor in a `repr`: the `delta` of a loss, the
`dropout` of an attention layer, a number in a custom module, a variable in a function's closure.
`attributes` finds such values under dotted names that are the same in each process. It also says
which of them certainly decide the result: those of torch's and this package's modules, and those
that a loss itself holds.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from inspect import isclass
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np
from torch import Tensor, nn

from mnist_sgd.models.wrappers import plain_modules, unwrapped
from mnist_sgd.training.resume.attribute_values import is_record, value_text

INTERNAL = frozenset(vars(nn.Module()))
"""Attributes of every module; the loop sets `training`."""

WRAPPER_PREFIXES = ("_ddp", "_is_torch", "_is_fsdp", "_fsdp", "_distribute")
"""Prefixes of attributes that torch's wrappers set on a module."""

IGNORED = frozenset(
    {"device", "rank", "local_rank", "world_size", "num_threads", "num_workers", "verbose"}
)
"""Names of attributes that decide where something is computed or what is printed."""

MAX_DEPTH = 4
"""Levels of objects within objects."""

Setter = Callable[[Any], None]
Entry = tuple[str, Any, Setter | None]


@dataclass(frozen=True)
class Attribute:
    """A value and how to replace it.

    Attributes:
        value: the value itself.
        text: short, and different for each value.
        put: sets another value; None if it cannot be set.
        decides: whether it certainly decides what is computed.
    """

    value: Any
    text: str
    put: Setter | None
    decides: bool


def attributes(
    root: object, *, tensors: bool = False, loss: bool = False, apart: Iterable[object] = ()
) -> dict[str, Attribute]:
    """Return the plain attributes of an object and of the modules, functions and records within it.

    Args:
        root: a module, a function, a partial, or any other object.
        tensors: whether to include tensors and arrays that are not parameters.
        loss: whether `root` is a loss: then its buffers are included, and its own numbers decide
            what is computed.
        apart: objects that are not searched, because their attributes are found separately.

    Returns:
        Attributes by dotted names, without those of lazy layers, which a first batch changes.
    """
    found: dict[str, Attribute] = {}
    for path, owner, is_direct in _owners(root, "", MAX_DEPTH, set(map(id, apart))):
        is_known = _is_module_of(owner, "torch", "torchvision", "mnist_sgd")
        for name, value, put in _entries(owner):
            text = value_text(value, tensors and not is_known)
            if text is not None:
                decides = is_known or (loss and is_direct and _decides(owner, value))
                found[_join(path, name)] = Attribute(value, text, put, decides)
        buffers = owner._buffers if loss and isinstance(owner, nn.Module) else {}
        for name, value in buffers.items():
            text = value_text(value, tensors)
            if text is not None:
                found[_join(path, name)] = Attribute(value, text, None, True)
    return found


def put_attribute(found: Mapping[str, Attribute], root: object, name: str, value: object) -> None:
    """Set an attribute, also one that its object does not have yet.

    Args:
        found: the attributes of `root`.
        root: as in `attributes`.
        name: as in `attributes`; ignored if there is no object that could have it.
        value: the new value.
    """
    if name in found:
        put = found[name].put
        if put is not None:
            put(value)
        return
    parent, _, last = name.rpartition(".")
    for path, owner, _ in _owners(root, "", MAX_DEPTH, set()):
        if path == parent and last.isidentifier() and hasattr(owner, "__dict__"):
            if not isinstance(owner, partial | FunctionType | type):
                object.__setattr__(owner, last, value)
            return


def modules_within(root: object, *, apart: Iterable[object] = ()) -> dict[str, nn.Module]:
    """Return the outermost modules that an object is or holds, by dotted names; "" is `root`.

    Args:
        root: as in `attributes`.
        apart: objects that are not searched.
    """
    found: dict[str, nn.Module] = {}
    inner: set[int] = set()
    for path, owner, _ in _owners(root, "", MAX_DEPTH, set(map(id, apart))):
        if isinstance(owner, nn.Module) and id(owner) not in inner:
            found[path] = owner
            inner |= set(map(id, owner.modules()))
    return found


def _is_module_of(owner: object, *packages: str) -> bool:
    return isinstance(owner, nn.Module) and type(owner).__module__.split(".")[0] in packages


def _decides(owner: object, value: object) -> bool:
    """Whether something that a loss itself holds certainly decides what it computes."""
    if isinstance(owner, partial | FunctionType):
        return not isinstance(value, Mapping)
    return isinstance(value, bool | int | float | complex | np.number | np.bool_ | Tensor)


def _owners(
    root: object, path: str, depth: int, seen: set[int], is_direct: bool = True
) -> Iterator[tuple[str, object, bool]]:
    """Yield the path and the object of all that has attributes: `root` and what it holds.

    Each comes with whether it is the root itself, or what a function or partial there calls.
    """
    root = getattr(root, "_torchdynamo_orig_callable", root)  # inside torch.compile
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


def _entries(owner: Any) -> Iterator[Entry]:
    """Yield the names, values and setters of what an object itself holds."""
    if isinstance(owner, partial):
        yield "function", owner.func, None
        yield from ((f"argument {i}", value, None) for i, value in enumerate(owner.args, 1))
        for key, value in sorted(owner.keywords.items()):
            yield key, value, partial(owner.keywords.__setitem__, key)
    elif isinstance(owner, FunctionType):
        yield from _function_entries(owner)
    elif not isclass(owner) and not isinstance(owner, BuiltinFunctionType):
        yield from _object_entries(owner)


def _function_entries(function: FunctionType) -> Iterator[Entry]:
    """Yield the closure variables and the defaults of a function."""
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


def _object_entries(owner: Any) -> Iterator[Entry]:
    """Yield the attributes of an object, its slots, and the plain ones of its classes."""
    kinds = [kind for kind in type(owner).__mro__ if not _is_library_class(kind)]
    slots = [name for kind in kinds for name in _slots(kind) if hasattr(owner, name)]
    own = dict.fromkeys([*getattr(owner, "__dict__", ()), *slots])
    for name in own:
        if isinstance(owner, nn.Module) and _is_internal(owner, name):
            continue
        if name not in IGNORED:
            yield name, getattr(owner, name, None), partial(object.__setattr__, owner, name)
    for kind in kinds:
        for name, value in vars(kind).items():
            plain = not (name.startswith("_") or hasattr(value, "__get__") or name in own)
            if plain and name not in IGNORED:
                yield name, getattr(owner, name, None), partial(setattr, kind, name)


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _is_library_class(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in ("builtins", "torch", "typing", "abc", "enum")


def _is_internal(module: nn.Module, name: str) -> bool:
    lazy = isinstance(module, nn.modules.lazy.LazyModuleMixin)
    return lazy or name in INTERNAL or name.startswith(WRAPPER_PREFIXES)


def _has_entries(value: object) -> bool:
    """Whether a value is a function or an object whose own values decide what is computed."""
    if isinstance(value, nn.Module | partial | FunctionType | MethodType):
        return True
    if isclass(value) or isinstance(value, BuiltinFunctionType | Tensor | Enum):
        return False
    if isinstance(value, Mapping):
        return False  # it is one value
    return is_record(value) or (callable(value) and not _is_library_class(type(value)))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name
