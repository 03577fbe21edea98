"""Copy batches to a device while it computes.

The copies are asynchronous, so they overlap with the device's kernels although the loop never runs
ahead: the loader's state is that of the current batch. This takes pinned memory, and a stream for
the copies besides the one for the kernels.
"""

from collections.abc import Iterable
from itertools import starmap

import torch
from torch import Tensor

__all__ = ["DeviceCopy"]

BUFFERS = 2
"""Pinned buffers: one that the device still reads, and one to fill."""


class DeviceCopy:
    """Copies the tensors of a batch to a device, asynchronously.

    A tensor is first copied to pinned memory and may then be changed or freed, so the loader can
    reuse its buffer. From there it is copied on a stream of its own, for which the current stream
    waits. Pinned buffers are reused for the next batches.

    Args:
        device: the target; on the CPU both copies are synchronous.
    """

    def __init__(self, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self._pinned = self.device.type == "cuda"
        self._stream: torch.cuda.Stream | None = None
        if self._pinned:
            self._stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        self._copied: list[torch.cuda.Event | None] = [None] * BUFFERS
        self._buffers: list[list[Tensor]] = [[] for _ in range(BUFFERS)]
        self._turn = 0

    def __call__(self, xb: Tensor, yb: Tensor) -> tuple[Tensor, Tensor]:
        """Return the batch in new tensors on the device, before they are filled."""
        self._turn = (self._turn + 1) % BUFFERS
        event = self._copied[self._turn]
        if event is not None:
            event.synchronize()  # the device has read this buffer
        x_staged, y_staged = self._stage(xb, yb)
        if self._stream is None:
            return x_staged.to(self.device, copy=True), y_staged.to(self.device, copy=True)
        with torch.cuda.stream(self._stream):
            x_there = x_staged.to(self.device, non_blocking=True)
            y_there = y_staged.to(self.device, non_blocking=True)
            self._copied[self._turn] = self._stream.record_event()
        current = torch.cuda.current_stream(self.device)
        current.wait_stream(self._stream)
        for there in (x_there, y_there):
            there.record_stream(current)  # its memory is not reused before that stream is done
        return x_there, y_there

    def _stage(self, *tensors: Tensor) -> list[Tensor]:
        """Copy the tensors to this turn's buffers, which grow to the largest batch."""
        buffers = self._buffers[self._turn]
        for number, tensor in enumerate(tensors):
            if number == len(buffers):
                buffers.append(torch.empty(0, dtype=tensor.dtype))
            if buffers[number].numel() < tensor.numel() or buffers[number].dtype != tensor.dtype:
                size = tensor.numel()
                buffers[number] = torch.empty(size, dtype=tensor.dtype, pin_memory=self._pinned)
        parts = [
            buffer[: t.numel()].view(t.shape) for buffer, t in zip(buffers, tensors, strict=False)
        ]
        return [part.copy_(tensor) for part, tensor in zip(parts, tensors, strict=True)]


def to_device(
    batches: Iterable[tuple[Tensor, Tensor]], device: torch.device
) -> Iterable[tuple[Tensor, Tensor]]:
    """Move batches to a device; none is held while the next one is asked for."""
    return batches if device.type == "cpu" else starmap(DeviceCopy(device), batches)
