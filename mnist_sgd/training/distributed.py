"""Training in several processes, which `torchrun` starts, on one machine or on several.

Every rank takes its part of each batch (`DataLoader(rank=..., world_size=...)`), and gradients are
averaged over the ranks. A `Ranks` is what the `Learner` and the commands know of this: where
this process stands among the others, and the few things that they do together. With one process
each of them does nothing, so that the figures stay those of the plain loop.

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

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from hashlib import blake2b
from itertools import starmap
from typing import Any

import torch
from torch import Tensor, distributed, nn

from mnist_sgd.loader.dataloader import DataLoader
from mnist_sgd.loader.device import DeviceCopy
from mnist_sgd.training.empty_parts import without_nan
from mnist_sgd.training.synced_loss import Loss, SyncedLoss
from mnist_sgd.training.synced_model import SyncedModel
from mnist_sgd.training.torchrun import process_numbers

__all__ = ["ALONE", "Ranks", "joined_ranks"]

TIMEOUT = timedelta(minutes=5)
"""How long a rank waits for a silent one. The first rank exports while the others wait: seconds."""

LETTING_GO = 0.1
"""Seconds in which gloo's threads, which nobody joins, let go of the last exchange: one that still
holds a tensor when the interpreter ends aborts the process (2 of 40 runs on a busy machine)."""

CPU = torch.device("cpu")

DONE, REFUSED, FAILED = b"+", b"-", b"!"
"""How the first rank's work ended: well, as it says of what it was given, or in another error."""


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
        """What to call for `model` in training, see `SyncedModel`."""
        return model if self.world_size == 1 else SyncedModel(model, self._share)

    def average_gradients(self, parameters: Iterable[nn.Parameter], is_empty: bool = False) -> None:
        """Average each parameter's gradient over the ranks, which call this together.

        A rank without a gradient counts as 0; where no rank has one, it stays None. Gradients that
        are equal on all ranks stay as they are, but for rounding. A sparse gradient becomes dense.

        Args:
            parameters: the same on all ranks, in the same order.
            is_empty: whether this rank's part of the batch is empty. Then a gradient of zeros is
                none, as the batch may not use that parameter, and NaN counts as 0.
        """
        if self.world_size == 1:
            return
        kinds: dict[torch.dtype, list[nn.Parameter]] = {}
        for parameter in dict.fromkeys(parameters):
            if parameter.requires_grad:
                kinds.setdefault(parameter.dtype, []).append(parameter)
        for same in kinds.values():
            self._average(same, is_empty)

    def _average(self, parameters: Sequence[nn.Parameter], is_empty: bool) -> None:
        """Average the gradients of parameters of one dtype, in one exchange."""
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
        counts, *means = torch.split(total / self.world_size, sizes)
        for i, (parameter, mean) in enumerate(zip(parameters, means, strict=True)):
            if grads[i] is not None or counts[i] != 0:  # the GPU is asked for a missing one alone
                parameter.grad = mean.reshape(parameter.shape).to(parameter.dtype)
            else:
                parameter.grad = None

    def share_weights(self, *modules: nn.Module) -> None:
        """Give the first rank's parameters and buffers to all ranks, which call this together.

        They are equal already, unless a callback changed them on each rank in another way.
        """
        self._share([t for module in modules for t in (*module.parameters(), *module.buffers())])

    def share_buffers(self, *modules: nn.Module) -> None:
        """Give the first rank's buffers to all ranks, which call this together.

        Each rank's batch norms follow its own parts of the batches. The first rank's buffers are
        taken, not the mean, because they are what the next batch begins with and what is saved: so
        a checkpoint changes nothing, and any kind of buffer stays what its module made of it.
        """
        self._share([buffer for module in modules for buffer in module.buffers()])

    def _share(self, tensors: Sequence[Tensor]) -> None:
        if self.world_size == 1 or not tensors:
            return
        own = torch.cat([t.detach().reshape(-1).view(torch.uint8) for t in tensors])
        flat = own.clone()
        distributed.broadcast(flat, 0)
        if torch.equal(flat, own):  # what autograd still needs must not be written to
            return
        sizes = [t.numel() * t.element_size() for t in tensors]
        for tensor, part in zip(tensors, torch.split(flat, sizes), strict=True):
            tensor.detach().copy_(part.clone().view(tensor.dtype).view(tensor.shape))

    def synced_loss(self, loss_func: Loss, batches: object, count: bool = False) -> Loss:
        """What to call for `loss_func`, so that the ranks' mean is the loss of the whole batch.

        Its value and its gradient are weighted by the size of this rank's part; those of an empty
        part are 0, and `loss_func` is not called. All ranks call it together.

        Args:
            loss_func: of (predictions, targets), the mean over the images of what it is given.
            batches: where the batches come from.
            count: whether the ranks add up how many targets they have, an exchange in each batch;
                False: the batches are as this DataLoader gives them, and its newest iterator tells.
        """
        if self.world_size == 1:
            return loss_func
        loader = batches if isinstance(batches, DataLoader) and not count else None
        counted = self._counted if loader is None else partial(_newest_size, loader)
        return SyncedLoss(loss_func, counted, self.world_size, self.device)

    def _counted(self, targets: Tensor) -> Tensor:
        """How many targets all ranks have, a scalar on the device, for which nothing waits."""
        count = torch.tensor(len(targets), dtype=torch.float64, device=self.device)
        distributed.all_reduce(count)
        return count

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

    def gathered(self, content: bytes) -> list[bytes]:
        """Each rank's `content`, in the order of the ranks. All ranks call it together."""
        sizes: list[int] = self.stacked(torch.tensor(len(content))).tolist()
        padded = bytearray(content.ljust(max(1, *sizes), b"\0"))
        rows = self.stacked(torch.frombuffer(padded, dtype=torch.uint8))
        return [row.numpy().tobytes()[:size] for row, size in zip(rows, sizes, strict=True)]

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
            ValueError: the first rank's work raised one or an OSError: the others raise this, with
                its message.
            RuntimeError: it raised another exception, which the message of the others names.
            Exception: on the first rank, what its work raised.
        """
        if not self.is_first:
            content = self.from_first(b"")
            outcome, rest = content[:1], content[1:]
            if outcome == REFUSED:
                raise ValueError(rest.decode(errors="surrogatepass"))
            if outcome == FAILED:
                raise RuntimeError(rest.decode(errors="surrogatepass"))
            return rest
        try:
            content = work()
        except Exception as error:
            refused = isinstance(error, ValueError | OSError)
            text = str(error) if refused else f"rank 0 failed: {type(error).__name__}: {error}"
            outcome = REFUSED if refused else FAILED
            self.from_first(outcome + text.encode(errors="surrogatepass"))
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


def _of_empty_part(gradient: Tensor) -> Tensor | None:
    """What a rank without images adds to a gradient; None if that is nothing."""
    gradient = without_nan(gradient)
    return gradient if gradient.any() else None


def _newest_size(loader: DataLoader, targets: Tensor) -> int:
    """Images of the newest batch over all ranks: only the last one may be smaller."""
    return (loader.samples_seen - 1) % loader.batch_size + 1


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
