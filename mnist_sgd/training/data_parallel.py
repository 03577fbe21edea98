"""Data-parallel training: every rank has the same weights, and trains on its part of each batch.

torch's DistributedDataParallel expects parts of equal size, on which the model is called as often
on each rank. Here the parts of a small last batch differ, and some may be empty; the loss of a part
counts by its size, so that the ranks' average gradient is the gradient of the whole batch.

All ranks call these functions in the same order. In a single process they do nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, distributed, nn

from mnist_sgd.loader.dataloader import DataLoader
from mnist_sgd.training.distributed import DistributedContext
from mnist_sgd.training.losses import Loss
from mnist_sgd.training.resume.attributes import modules_within


class SyncedModel:
    """Calls a model on this rank's part of a batch, with rank 0's weights on every rank.

    Parameters that were replaced since the last call, by a callback on each rank, take rank 0's
    values, and so do buffers at each call.

    Some models fail on an empty batch. The output for an empty part is therefore that of the batch
    before without its rows, with a gradient of 0 for the images and the parameters.
    """

    def __init__(self, model: nn.Module, context: DistributedContext) -> None:
        self.model = model
        self._context = context
        self._parameters: list[nn.Parameter] = []
        self._empty: Any = None

    def __call__(self, xb: Tensor) -> Any:
        """Return the model's output for `xb`."""
        parameters = list(self.model.parameters())
        if list(map(id, parameters)) != list(map(id, self._parameters)):
            broadcast(parameters, self._context)
            self._parameters = parameters
        broadcast_buffers([self.model], self._context)
        if len(xb) == 0 and self._empty is not None:
            return _connected(self._empty, [*_tensors_of(xb), *parameters])
        output = self.model(xb)
        self._empty = map_tensors(output, _without_rows)
        return output


class SyncedLoss:
    """Calls a loss on this rank's part of a batch, and scales it by the size of the part.

    The mean of the ranks' losses is then the loss of the whole batch. The loss of an empty part is
    0, and `loss_func` is not called.

    Args:
        loss_func: of (predictions, targets), the mean over the images.
        batches: where the batches come from.
        context: of this process.
        count: whether the ranks sum up their numbers of targets in each batch; False: the batches
            are as this DataLoader makes them, so that their sizes are known.

    Attributes:
        weight: the factor of the newest loss: the size of this rank's part over the mean size of
            the ranks' parts.
    """

    def __init__(
        self, loss_func: Loss, batches: object, context: DistributedContext, count: bool = False
    ) -> None:
        self._loss_func = loss_func
        self._context = context
        self._total = (
            partial(_batch_size, batches)
            if isinstance(batches, DataLoader) and not count
            else self._counted
        )
        self.weight: float | Tensor = 1.0

    def __call__(self, predictions: Any, targets: Tensor) -> Tensor:
        """Return the scaled loss."""
        total = self._total(targets)
        if len(targets) == 0:
            self.weight = 0.0
            return self._of_empty_part(predictions)
        self.weight = weight = len(targets) * self._context.world_size / total
        loss = self._loss_func(predictions, targets)
        return loss * (weight.to(loss.dtype) if isinstance(weight, Tensor) else weight)

    def _counted(self, targets: Tensor) -> Tensor:
        """Sum the numbers of targets over the ranks, on the device, without waiting for it."""
        count = torch.tensor(len(targets), dtype=torch.float64, device=self._context.device)
        distributed.all_reduce(count)
        return count

    def _of_empty_part(self, predictions: Any) -> Tensor:
        """Return 0, with a gradient of 0 for the predictions and the loss's parameters."""
        zero = torch.zeros((), device=self._context.device, requires_grad=True)
        modules = modules_within(self._loss_func).values()
        parameters = [p for module in modules for p in module.parameters()]
        return zero + _zero_of([*_tensors_of(predictions), *parameters])


def _batch_size(loader: DataLoader, targets: Tensor) -> int:
    """Return the size of the newest batch over all ranks: only the last one may be smaller."""
    return (loader.samples_seen - 1) % loader.batch_size + 1


def broadcast_weights(modules: Iterable[nn.Module], context: DistributedContext) -> None:
    """Copy rank 0's parameters and buffers to all ranks.

    They are equal already, unless a callback changed them differently on each rank.
    """
    broadcast([t for each in modules for t in (*each.parameters(), *each.buffers())], context)


def broadcast_buffers(modules: Iterable[nn.Module], context: DistributedContext) -> None:
    """Copy rank 0's buffers to all ranks, as each rank's batch norms follow its own parts.

    They are not averaged: rank 0's are what the next batch begins with and what is saved. So a
    checkpoint changes nothing, and any kind of buffer stays what its module made of it.
    """
    broadcast([buffer for each in modules for buffer in each.buffers()], context)


def broadcast(tensors: Sequence[Tensor], context: DistributedContext) -> None:
    """Copy rank 0's values of tensors to all ranks, in one collective."""
    if context.world_size == 1 or not tensors:
        return
    own = torch.cat([t.detach().reshape(-1).view(torch.uint8) for t in tensors])
    flat = own.clone()
    distributed.broadcast(flat, 0)
    if torch.equal(flat, own):  # what autograd still needs must not be written to
        return
    sizes = [t.numel() * t.element_size() for t in tensors]
    for tensor, part in zip(tensors, torch.split(flat, sizes), strict=True):
        tensor.detach().copy_(part.clone().view(tensor.dtype).view(tensor.shape))


def average_gradients(
    parameters: Iterable[nn.Parameter], context: DistributedContext, is_empty: bool = False
) -> None:
    """Average each parameter's gradient over the ranks.

    A rank without a gradient counts as 0; where no rank has one, it stays None. Gradients that are
    equal on all ranks stay as they are, up to rounding. A sparse gradient becomes dense.

    Args:
        parameters: the same on all ranks, in the same order.
        context: of this process.
        is_empty: whether this rank's part of the batch is empty. Then a gradient of zeros counts
            as None, as the batch may not use that parameter, and NaN counts as 0.
    """
    if context.world_size == 1:
        return
    by_dtype: dict[torch.dtype, list[nn.Parameter]] = {}
    for parameter in dict.fromkeys(parameters):
        if parameter.requires_grad:
            by_dtype.setdefault(parameter.dtype, []).append(parameter)
    for same in by_dtype.values():
        _average_gradients(same, context.world_size, is_empty)


def _average_gradients(parameters: Sequence[nn.Parameter], world_size: int, is_empty: bool) -> None:
    """Average the gradients of parameters of one dtype, in one all-reduce."""
    grads = [None if p.grad is None else p.grad.detach().to_dense() for p in parameters]
    if is_empty:
        grads = [None if g is None else _of_empty_part(g) for g in grads]
    filled = [
        torch.zeros_like(p) if g is None else g for p, g in zip(parameters, grads, strict=True)
    ]
    known = torch.tensor([g is not None for g in grads])
    flat = torch.cat([known.to(filled[0]), *(g.reshape(-1) for g in filled)])
    short = flat.dtype.itemsize < 4  # sums of half precision lose digits
    total = flat.float() if short else flat
    distributed.all_reduce(torch.view_as_real(total) if total.is_complex() else total)
    sizes = [len(grads), *(each.numel() for each in filled)]
    counts, *means = torch.split(total / world_size, sizes)
    for i, (parameter, mean) in enumerate(zip(parameters, means, strict=True)):
        if grads[i] is not None or counts[i] != 0:  # only a missing one waits for the GPU
            parameter.grad = mean.reshape(parameter.shape).to(parameter.dtype)
        else:
            parameter.grad = None


def _of_empty_part(gradient: Tensor) -> Tensor | None:
    """Return what a rank without images adds to a gradient; None for nothing."""
    gradient = without_nan(gradient)
    return gradient if gradient.any() else None


def without_nan(value: Tensor) -> Tensor:
    """Replace NaN, the mean of nothing, by 0."""
    return value.masked_fill(value.isnan(), 0)


def _without_rows(value: Tensor) -> Tensor:
    empty = value.detach()[:0].clone() if value.ndim else value.detach().clone().zero_()
    return empty.requires_grad_(value.requires_grad)


def _connected(output: Any, sources: Iterable[Tensor]) -> Any:
    """Let an output without rows depend on the images and the parameters, with gradients of 0."""
    zero = _zero_of(sources)

    def connect(value: Tensor) -> Tensor:
        return value.detach() + zero.to(value.dtype) if value.requires_grad else value

    return map_tensors(output, connect)


def _zero_of(sources: Iterable[Tensor]) -> Tensor:
    """Compute 0 from the sources that require a gradient.

    It is the sum of no elements of each, so no value of theirs is read and none can make it NaN;
    nor can any gradient of it make theirs NaN.
    """
    total = torch.zeros(())
    for each in sources:
        if each.requires_grad and each.layout == torch.strided:
            none = torch.view_as_real(each) if each.is_complex() else each
            total = total + none[None][:0].sum()
    return total


def _tensors_of(value: Any) -> list[Tensor]:
    """List the tensors of a structure."""
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_tensors(value, note)
    return found


def map_tensors(value: Any, fn: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to each tensor of a structure: tuples, lists, dictionaries, dataclasses."""
    if isinstance(value, Tensor):
        return fn(value)
    if isinstance(value, tuple | list):
        items = [map_tensors(item, fn) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value) if field.init]
        return replace(value, **{name: map_tensors(getattr(value, name), fn) for name in names})
    if isinstance(value, dict):
        return {key: map_tensors(item, fn) for key, item in value.items()}
    return value
