"""A model whose gradients become the mean of all ranks', through DistributedDataParallel (DDP)."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["SyncedModel", "tensors_in"]


class SyncedModel:
    """Calls a model through DDP, which is told when parameters are replaced, frozen or unfrozen.

    Args:
        model: parameters and buffers take the first rank's values now and whenever it changes.
        device: where the model is.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self._model = _WithIdleParameter(model, device)
        self._share()

    def _share(self) -> None:
        from torch.nn.parallel import DistributedDataParallel

        self._parameters = self._model.parameters_now()
        self._parallel = DistributedDataParallel(self._model, find_unused_parameters=True)

    def __call__(self, xb: Tensor) -> Any:
        """What the model gives; all ranks call this together."""
        if self._model.parameters_now() != self._parameters:
            self._share()
        return self._parallel(xb)


class _WithIdleParameter(nn.Module):
    """A model, and a parameter that the model does not use.

    DDP looks for unused parameters in each batch, a fraction of a millisecond, so that any model
    trains that trains in one process. It warns where it finds none.

    The model is not asked about an empty batch, which some models cannot take: the answer is that
    to the batch before, without its rows. It depends on the idle parameter alone, so that DDP does
    not wait for gradients of the others on this rank.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.model = model
        self.idle = nn.Parameter(torch.zeros((), device=device))
        self._empty: Any = None

    def parameters_now(self) -> list[tuple[int, bool]]:
        """Which the model's parameters are, and whether each is trained."""
        return [(id(p), p.requires_grad) for p in self.model.parameters()]

    def forward(self, xb: Tensor) -> Any:
        """What the model gives."""
        if len(xb) == 0 and self._empty is not None:
            return _mapped(self._empty, self._with_idle)
        given = self.model(xb)
        self._empty = _mapped(given, _without_rows)
        return given

    def _with_idle(self, tensor: Tensor) -> Tensor:
        differentiable = tensor.is_floating_point() or tensor.is_complex()
        return tensor + self.idle.to(tensor.dtype) if differentiable else tensor


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in what a model gives: a tensor, or tuples, lists, dicts and dataclasses."""
    found: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    _mapped(value, keep)
    return iter(found)


def _without_rows(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return tensor[:0].clone() if tensor.ndim else torch.zeros_like(tensor)


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same structure with each tensor changed; these are the structures that DDP looks into."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple | list):
        items = [_mapped(item, change) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value) if field.init]
        return replace(value, **{name: _mapped(getattr(value, name), change) for name in names})
    if isinstance(value, dict):
        return {key: _mapped(item, change) for key, item in value.items()}
    return value
