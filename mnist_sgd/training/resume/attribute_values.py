"""Values of plain attributes that a checkpoint holds so that they come back as they were.

A value comes back with its type: a number as Python's or as NumPy's, a tuple as a tuple. What
would come back as another kind, such as a named tuple, a counter or a set, is not held at all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mnist_sgd._state_file import NumpyValue

__all__ = ["held", "is_held", "taken"]

SCALARS = (type(None), bool, int, float, str)


def is_held(value: Any) -> bool:
    """Whether a checkpoint can hold a value exactly."""
    if type(value) in SCALARS:
        return True
    if type(value) in (list, tuple):
        return all(map(is_held, value))
    if type(value) is dict:
        return all(type(key) in SCALARS and is_held(each) for key, each in value.items())
    if isinstance(value, np.generic) or type(value) is np.ndarray:
        return value.dtype.kind in "biuf" and value.dtype.isnative and value.dtype.itemsize <= 8
    return type(value) is Tensor and value.layout == torch.strided and not value.is_meta


def held(value: Any) -> Any:
    """A value that a checkpoint can hold, as a document has it, see `_document`."""
    if isinstance(value, np.generic | np.ndarray):
        return NumpyValue(value)
    if isinstance(value, list | tuple):
        return type(value)(map(held, value))
    if isinstance(value, dict):
        return {key: held(each) for key, each in value.items()}
    return value


def taken(value: Any, instead_of: Any, device: torch.device) -> Any:
    """A value of a document, which it shares nothing with.

    Args:
        value: as a document has it.
        instead_of: what it takes the place of; a tensor there decides the device, and one that is
            trained takes the new values itself, as an optimizer may have it.
        device: where tensors are put otherwise.
    """
    if isinstance(value, Tensor):
        if not isinstance(instead_of, Tensor):
            return value.to(device, copy=True)
        if instead_of.requires_grad and instead_of.is_leaf and instead_of.shape == value.shape:
            with torch.no_grad():
                return instead_of.copy_(value)
        return value.to(instead_of.device, copy=True)
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, list | tuple):
        return type(value)(taken(each, None, device) for each in value)
    if isinstance(value, dict):
        return {key: taken(each, None, device) for key, each in value.items()}
    return value
