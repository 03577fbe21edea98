"""A model that several ranks train: its weights are equal on all of them at each call."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from mnist_sgd.training.empty_parts import linked, tensors_of, without_rows

__all__ = ["SyncedModel"]


class SyncedModel:
    """Calls a model on this rank's part of a batch; all ranks call it together.

    Parameters that were replaced since the last call, by a callback on each rank, take the first
    rank's values, and so do buffers at each call.

    Some models cannot take an empty batch. So the answer for an empty part is the one for the batch
    before, without its rows; its gradient with respect to the images and the parameters is 0.

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
            return linked(self._empty, [*tensors_of(xb), *parameters])
        given = self._model(xb)
        self._empty = without_rows(given)
        return given
