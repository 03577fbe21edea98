"""A loss that several ranks take of their parts of a batch: its mean is that of the whole batch."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mnist_sgd.training.empty_parts import tensors_of, zero_of
from mnist_sgd.training.resume.attributes import modules_within

__all__ = ["Loss", "SyncedLoss"]

Loss = Callable[[Tensor, Tensor], Tensor]


class SyncedLoss:
    """Calls a loss on this rank's part of a batch, and weights it by the size of the part.

    Args:
        loss_func: of (predictions, targets), the mean over the images of what it is given.
        count: how many targets all ranks have, of this rank's.
        world_size: how many ranks there are.
        device: where the loss belongs.

    Attributes:
        weight: what the newest loss was multiplied by: the size of this rank's part over the mean
            size of the ranks' parts.
    """

    def __init__(
        self,
        loss_func: Loss,
        count: Callable[[Tensor], int | Tensor],
        world_size: int,
        device: torch.device,
    ) -> None:
        self._loss_func = loss_func
        self._count = count
        self._world_size = world_size
        self._device = device
        self.weight: float | Tensor = 1.0

    def __call__(self, predictions: Any, targets: Tensor) -> Tensor:
        """The weighted loss; that of an empty part is 0, and the loss is not called."""
        count = self._count(targets)
        if len(targets) == 0:
            self.weight = 0.0
            return self._of_nothing(predictions)
        self.weight = weight = len(targets) * self._world_size / count
        loss = self._loss_func(predictions, targets)
        return loss * (weight.to(loss.dtype) if isinstance(weight, Tensor) else weight)

    def _of_nothing(self, predictions: Any) -> Tensor:
        """0, with a gradient of 0 with respect to the predictions and the loss's parameters."""
        zero = torch.zeros((), device=self._device, requires_grad=True)  # if nothing else has one
        modules = modules_within(self._loss_func).values()
        parameters = [p for module in modules for p in module.parameters()]
        return zero + zero_of([*tensors_of(predictions), *parameters])
