"""What stands for a rank's part of a batch that has no images.

The rank takes part in the batch as the others do, so its predictions and its loss have gradients,
which are 0.
"""

from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

__all__ = ["linked", "tensors_of", "without_nan", "without_rows", "zero_of"]


def without_rows(given: Any) -> Any:
    """What a model gave, a tensor or a structure of tensors, for no images."""
    return _mapped(given, _without_rows)


def _without_rows(value: Tensor) -> Tensor:
    empty = value.detach()[:0].clone() if value.ndim else value.detach().clone().zero_()
    return empty.requires_grad_(value.requires_grad)


def linked(given: Any, sources: Iterable[Tensor]) -> Any:
    """What `without_rows` gave, as if it were computed from the sources.

    Args:
        given: a structure; its tensors that required a gradient do so again.
        sources: the images and the parameters.
    """
    zero = zero_of(sources)

    def link(value: Tensor) -> Tensor:
        return value.detach() + zero.to(value.dtype) if value.requires_grad else value

    return _mapped(given, link)


def zero_of(sources: Iterable[Tensor]) -> Tensor:
    """0, computed from the sources that require a gradient.

    It is the sum of no elements of each, so no value of theirs is read and none can make it NaN;
    nor can any gradient of it make theirs NaN.
    """
    total = torch.zeros(())
    for each in sources:
        if each.requires_grad and each.layout == torch.strided:
            none = torch.view_as_real(each) if each.is_complex() else each
            total = total + none[None][:0].sum()
    return total


def tensors_of(given: Any) -> list[Tensor]:
    """The tensors of a structure."""
    found: list[Tensor] = []

    def note(value: Tensor) -> Tensor:
        found.append(value)
        return value

    _mapped(given, note)
    return found


def without_nan(value: Tensor) -> Tensor:
    """A figure of an empty part: what is NaN, as the mean of nothing is, counts as 0."""
    return value.masked_fill(value.isnan(), 0)


def _mapped(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """A structure with other tensors."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple | list):
        items = [_mapped(item, function) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value) if field.init]
        return replace(value, **{name: _mapped(getattr(value, name), function) for name in names})
    if isinstance(value, dict):
        return {key: _mapped(item, function) for key, item in value.items()}
    return value
