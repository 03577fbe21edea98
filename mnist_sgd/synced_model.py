"""A model that several ranks train: its weights are equal on all of them at each call."""

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from torch import Tensor, nn

__all__ = ["SyncedModel"]


class SyncedModel:
    """Calls a model on this rank's part of a batch; all ranks call it together.

    Parameters that were replaced since the last call, by a callback on each rank, take the first
    rank's values, and so do buffers at each call.

    Some models cannot take an empty batch. So the answer for an empty part is the one for the batch
    before, without its rows.

    Args:
        model: what is called.
        share: gives tensors the first rank's values.
    """

    def __init__(self, model: nn.Module, share: Callable[[Sequence[Tensor]], None]) -> None:
        self._model = model
        self._share = share
        self._parameters: list[nn.Parameter] = []
        self._empty: Any = None

    def __call__(self, xb: Tensor) -> Any:
        """What the model gives."""
        parameters = list(self._model.parameters())
        if list(map(id, parameters)) != list(map(id, self._parameters)):
            self._share(parameters)
            self._parameters = parameters
        self._share(list(self._model.buffers()))
        if len(xb) == 0 and self._empty is not None:
            return self._empty
        given = self._model(xb)
        self._empty = _without_rows(given)
        return given


def _without_rows(value: Any) -> Any:
    """What a model gave, a tensor or a structure of tensors, for no images."""
    if isinstance(value, Tensor):
        return value.detach()[:0].clone() if value.ndim else value.detach().clone().zero_()
    if isinstance(value, tuple | list):
        items = [_without_rows(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value) if field.init]
        return replace(value, **{name: _without_rows(getattr(value, name)) for name in names})
    if isinstance(value, dict):
        return {key: _without_rows(item) for key, item in value.items()}
    return value
