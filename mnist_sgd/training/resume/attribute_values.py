"""Values of plain attributes: as text to compare them, and as a checkpoint stores them."""

import dataclasses
from argparse import Namespace
from collections.abc import Mapping
from enum import Enum
from hashlib import blake2b
from inspect import isclass
from types import BuiltinFunctionType, FunctionType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mnist_sgd._state_file import NumpyValue

SCALARS = (type(None), bool, int, float, str)

MAX_VALUES = 1000
"""Values within one attribute; a longer list is data, or a log."""

MAX_LENGTH = 60
"""Characters of a text; a longer one is cut, and a digest of all of it is added."""


def is_record(value: object) -> bool:
    """Whether a value is a record of other values, such as a program's arguments."""
    if isinstance(value, Mapping | SimpleNamespace | Namespace):
        return True
    return dataclasses.is_dataclass(value) and not isclass(value) and not callable(value)


def value_text(value: object, tensors: bool) -> str | None:
    """Return a short text that differs for each value; None if it is not a plain value.

    Args:
        value: anything.
        tensors: whether tensors and arrays that are not parameters are plain.
    """
    left = [MAX_VALUES]
    text = _full_text(value, tensors, left)
    if text is None or left[0] < 0:
        return None
    if len(text) <= MAX_LENGTH:
        return text
    digest = blake2b(text.encode(), digest_size=4).hexdigest()
    return f"{text[: MAX_LENGTH - 20]}... (of digest {digest})"


def _full_text(value: Any, tensors: bool, left: list[int]) -> str | None:
    left[0] -= len(value) if isinstance(value, list | tuple | set | frozenset | dict) else 1
    if left[0] < 0:
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 1.0 is 1
    if isinstance(value, str) and ("/" in value or "\\" in value):
        return None  # a path, which may differ between machines
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | range):
        return repr(value)
    if isinstance(value, Enum | torch.dtype):
        return str(value)
    if isclass(value) or isinstance(value, FunctionType | BuiltinFunctionType):
        return value.__qualname__
    if isinstance(value, Tensor | np.ndarray):
        return _tensor_text(value) if tensors else None
    if isinstance(value, list | tuple | set | frozenset):
        texts = [_full_text(each, tensors, left) for each in value]
        ordered = sorted(map(str, texts)) if isinstance(value, set | frozenset) else texts
        return None if None in texts else f"[{', '.join(map(str, ordered))}]"
    if isinstance(value, Mapping):
        pairs = {key: _full_text(each, tensors, left) for key, each in value.items()}
        if None in pairs.values():
            return None
        return f"{{{', '.join(sorted(f'{key!r}: {text}' for key, text in pairs.items()))}}}"
    return None


def _tensor_text(value: Tensor | NDArray[Any]) -> str | None:
    """Return None for parameters and for results that autograd tracks."""
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


def is_storable(value: Any) -> bool:
    """Whether a checkpoint can store a value so that its type comes back too.

    A named tuple, a counter or a set would come back as another type, and is not stored at all.
    """
    if type(value) in SCALARS:
        return True
    if type(value) in (list, tuple):
        return all(map(is_storable, value))
    if type(value) is dict:
        return all(type(key) in SCALARS and is_storable(each) for key, each in value.items())
    if isinstance(value, np.generic) or type(value) is np.ndarray:
        return value.dtype.kind in "biuf" and value.dtype.isnative and value.dtype.itemsize <= 8
    return type(value) is Tensor and value.layout == torch.strided and not value.is_meta


def to_stored(value: Any) -> Any:
    """Convert a storable value for a state file, see `mnist_sgd._state_file`."""
    if isinstance(value, np.generic | np.ndarray):
        return NumpyValue(value)
    if isinstance(value, list | tuple):
        return type(value)(map(to_stored, value))
    if isinstance(value, dict):
        return {key: to_stored(each) for key, each in value.items()}
    return value


def from_stored(value: Any, current: Any, device: torch.device) -> Any:
    """Copy a value out of a state file.

    Args:
        value: as the file holds it.
        current: what it replaces. A tensor decides the device, and one that is trained is changed
            in place, since an optimizer may hold it.
        device: of other tensors.
    """
    if isinstance(value, Tensor):
        if not isinstance(current, Tensor):
            return value.to(device, copy=True)
        if current.requires_grad and current.is_leaf and current.shape == value.shape:
            with torch.no_grad():
                return current.copy_(value)
        return value.to(current.device, copy=True)
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, list | tuple):
        return type(value)(from_stored(each, None, device) for each in value)
    if isinstance(value, dict):
        return {key: from_stored(each, None, device) for key, each in value.items()}
    return value
