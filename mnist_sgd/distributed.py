"""Training in several processes, which `torchrun` starts, on one machine or on several.

Every rank takes its part of each batch (`DataLoader(rank=..., world_size=...)`), and PyTorch's
DistributedDataParallel averages the gradients. A `Ranks` is what the `Learner` and the commands
know of this: where this process stands among the others, and the few things that they do together.
With one process each of them does nothing, so that the figures stay those of the plain loop.

    with joined_ranks() as ranks:
        train = DataLoader(images, 256, rank=ranks.rank, world_size=ranks.world_size)
        ...
        learn = Learner(DataLoaders(train, valid), model, ranks=ranks)
        learn.fit(10, lr=1.0)
        if ranks.is_first:
            learn.save("model.safetensors")

What all ranks do together must be called by all of them in the same order. A rank that fails or
dies ends the others: their next exchange with it raises RuntimeError, or torchrun ends them.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from itertools import starmap
from typing import Any

import torch
from torch import Tensor, distributed, nn

from mnist_sgd._torchrun import process_numbers
from mnist_sgd.device import DeviceCopy
from mnist_sgd.loader import DataLoader

__all__ = ["ALONE", "Ranks", "joined_ranks"]

Loss = Callable[[Tensor, Tensor], Tensor]

TIMEOUT = timedelta(minutes=5)
"""How long a rank waits for a silent one. The first rank exports while the others wait: seconds."""

LETTING_GO = 0.1
"""Seconds in which gloo's threads, which nobody joins, let go of the last exchange: one that still
holds a tensor when the interpreter ends aborts the process (2 of 40 runs on a busy machine)."""

CPU = torch.device("cpu")

DONE, FAILED = b"+", b"-"


@dataclass(frozen=True)
class Ranks:
    """Where this process stands among those that train together; alone, to begin with.

    Attributes:
        rank: the number of this process, 0 to `world_size` - 1.
        world_size: how many processes there are.
        device: where this process's model and batches belong.
    """

    rank: int = 0
    world_size: int = 1
    device: torch.device = CPU

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that prints and writes files."""
        return self.rank == 0

    def synced_model(self, model: nn.Module) -> Callable[[Tensor], Any]:
        """What to call for `model` in training, so that its gradients become the ranks' mean.

        Parameters and buffers take the first rank's values now, and buffers again at each call.
        All ranks call this, and what it gives, together. A parameter that a batch does not use has
        no gradient, as in one process, and parameters may be frozen and unfrozen on the way.
        """
        return model if self.world_size == 1 else _Synced(model, self.device)

    def share_buffers(self, model: nn.Module) -> None:
        """Give the first rank's buffers to all ranks, which call this together.

        Each rank's batch norms follow its own parts of the batches. DistributedDataParallel shares
        the buffers before a batch, not after the last one. The first rank's are taken, not the
        mean, because they are what the next batch begins with and what is saved: so a checkpoint
        changes nothing, and any kind of buffer stays what its module made of it.
        """
        buffers = list(model.buffers())
        if self.world_size == 1 or not buffers:
            return
        flat = torch.cat([b.detach().reshape(-1).view(torch.uint8) for b in buffers])
        distributed.broadcast(flat, 0)
        if self.is_first:
            return
        sizes = [b.numel() * b.element_size() for b in buffers]
        for buffer, part in zip(buffers, torch.split(flat, sizes), strict=True):
            buffer.detach().copy_(part.clone().view(buffer.dtype).view(buffer.shape))

    def synced_loss(self, loss_func: Loss, batches: object) -> Loss:
        """What to call for `loss_func`, so that the ranks' mean is the loss of the whole batch.

        Its value and its gradient are weighted by the size of this rank's part; those of an empty
        part are 0, and `loss_func` is not asked.

        Args:
            loss_func: of (logits, targets), the mean over the images of what it is given.
            batches: where the batches come from.

        Raises:
            TypeError: the batches do not come from this package's DataLoader.
        """
        if self.world_size == 1:
            return loss_func
        if not isinstance(batches, DataLoader):
            raise TypeError(
                "several processes cut each batch into parts, which a mnist_sgd.DataLoader does; "
                f"the training batches come from a {type(batches).__name__}"
            )
        loader, ranks = batches, self.world_size

        def weighted(predictions: Tensor, targets: Tensor) -> Tensor:
            if len(targets) == 0:
                return predictions.sum()
            # Every batch but the last is whole, so where it ends says how large it is.
            size = (loader.samples_seen - 1) % loader.batch_size + 1
            if len(targets) > -(-size // ranks):
                raise ValueError(
                    f"the training batches are not cut for {ranks} ranks: give their DataLoader "
                    "rank= and world_size="
                )
            return loss_func(predictions, targets) * (len(targets) * ranks / size)

        return weighted

    def moved(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterable[tuple[Tensor, Tensor]]:
        """The batches on this process's device; none is held while the next one is asked for."""
        return batches if self.device == CPU else starmap(DeviceCopy(self.device), batches)

    def sum(self, values: Tensor) -> Tensor:
        """The sum of all ranks' `values`, of one shape, on the CPU. All ranks call it together."""
        if self.world_size == 1:
            return values
        total = values.detach().to(self.device, copy=True)
        distributed.all_reduce(total)
        return total.cpu()

    def mean(self, values: Tensor) -> Tensor:
        """The mean of all ranks' `values`, of one shape, as `sum` gives their sum."""
        return values if self.world_size == 1 else self.sum(values) / self.world_size

    def stacked(self, values: Tensor) -> Tensor:
        """All ranks' `values`, of one shape, as `[world_size, ...]` on the CPU.

        All ranks call it together.
        """
        rows = values.new_zeros(self.world_size, *values.shape)
        rows[self.rank] = values
        return self.sum(rows)

    def from_first(self, content: bytes) -> bytes:
        """The first rank's `content`, whatever the others give. All ranks call it together."""
        if self.world_size == 1:
            return content
        size = torch.tensor([len(content)], device=self.device)
        distributed.broadcast(size, 0)
        own = bytearray(content) if self.is_first else bytearray(int(size.item()))
        if not own:
            return b""
        shared = torch.frombuffer(own, dtype=torch.uint8).to(self.device)
        distributed.broadcast(shared, 0)
        return shared.cpu().numpy().tobytes()

    def done_by_first(self, work: Callable[[], bytes]) -> bytes:
        """What `work` gives on the first rank, which alone does it. All ranks call this together.

        Raises:
            ValueError, OSError: the first rank's work failed, on which every other rank raises a
                ValueError with the same message.
        """
        if not self.is_first:
            content = self.from_first(b"")
            if content[:1] == FAILED:
                raise ValueError(os.fsdecode(content[1:]))
            return content[1:]
        try:
            content = work()
        except (ValueError, OSError) as error:
            self.from_first(FAILED + os.fsencode(str(error)))
            raise
        self.from_first(DONE + content)
        return content

    def require_same(self, what: str, description: str) -> None:
        """See that `description` is the same text on all ranks, which call this together.

        Raises:
            ValueError: on every rank, if one of them has another text; `what` says of what.
        """
        digest = blake2b(description.encode()).digest()
        others = self.sum(torch.tensor(float(self.from_first(digest) != digest)))
        if others:
            raise ValueError(
                f"all ranks must have the same {what}: {others:.0f} of {self.world_size} "
                "have other ones than rank 0"
            )


ALONE = Ranks()
"""One process, on the CPU."""


class _Synced:
    """Calls a model through DistributedDataParallel, which is told of each (un)frozen parameter."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self._model = _WithIdleParameter(model, device)
        self._share()

    def _share(self) -> None:
        from torch.nn.parallel import DistributedDataParallel

        self._trained = self._model.trained()
        self._parallel = DistributedDataParallel(self._model, find_unused_parameters=True)

    def __call__(self, xb: Tensor) -> Any:
        if self._model.trained() != self._trained:
            self._share()
        return self._parallel(xb)


class _WithIdleParameter(nn.Module):
    """A model, and a parameter that nothing uses.

    To look for unused parameters costs a batch a fraction of a millisecond, and lets any model
    train that trains in one process. DistributedDataParallel warns where it finds none.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.model = model
        self.idle = nn.Parameter(torch.zeros((), device=device))

    def trained(self) -> list[bool]:
        """Of each parameter whether it is trained now."""
        return [p.requires_grad for p in self.model.parameters()]

    def forward(self, xb: Tensor) -> Any:
        """What the model gives."""
        return self.model(xb)


@contextmanager
def joined_ranks(device: str = "cpu", timeout: timedelta = TIMEOUT) -> Iterator[Ranks]:
    """Join the processes that torchrun started with this one, and leave them at the end.

    Without torchrun there is this process alone. At a good end every rank waits for the others, so
    that what the first one wrote is there when any of them is over.

    Args:
        device: "cpu", where the ranks speak over gloo, or "cuda", over nccl: each rank then takes
            the GPU of its number on its machine.
        timeout: how long a rank waits for the others in one exchange before it gives up.

    Raises:
        ValueError: the environment's `RANK`, `WORLD_SIZE` or `LOCAL_RANK` are not torchrun's, or
            PyTorch finds no GPU for this rank.
        RuntimeError: the others are not there in time.
    """
    rank, world_size, local_rank = process_numbers()
    ranks = Ranks(rank, world_size, _device(device, local_rank))
    if world_size == 1:
        yield ranks
        return
    distributed.init_process_group(
        "gloo" if ranks.device == CPU else "nccl",
        timeout=timeout,
        device_id=None if ranks.device == CPU else ranks.device,
    )
    try:
        yield ranks
        distributed.barrier()
        time.sleep(LETTING_GO)
    finally:
        distributed.destroy_process_group()


def _device(name: str, local_rank: int) -> torch.device:
    if name == "cpu":
        return CPU
    count = torch.cuda.device_count()
    if count == 0:
        raise ValueError(
            f"--device {name}: PyTorch finds no GPU here; train on the cpu, or see that the driver "
            "and a PyTorch with CUDA are installed"
        )
    if local_rank >= count:
        raise ValueError(
            f"local rank {local_rank} needs a GPU of its own, and torch sees {count} here; "
            "start fewer ranks or train on the cpu"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device
