"""Training in several processes, which `torchrun` starts, on one machine or on several.

Each rank trains on its part of every batch (`DataLoader(rank=..., world_size=...)`), and gradients
are averaged over the ranks, see `data_parallel`. A `DistributedContext` tells the `Learner` and the
commands which process this is, and holds the collectives that they call. In a single process each
collective returns its input.

    with init_distributed() as context:
        train = DataLoader(images, 256, rank=context.rank, world_size=context.world_size)
        ...
        learn = Learner(DataLoaders(train, valid), model, ranks=context)
        learn.fit(10, lr=1.0)
        if context.is_main_process:
            learn.save("model.safetensors")

All ranks must call the collectives in the same order. A rank that fails or dies ends the others:
their next collective raises RuntimeError, or torchrun ends them.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed

from mnist_sgd.training.torchrun import process_numbers

TIMEOUT = timedelta(minutes=5)
"""How long a collective waits for a silent rank. Exporting, on the main process, takes seconds."""

SHUTDOWN_GRACE = 0.1
"""Seconds for gloo's detached threads to release the last collective's tensors: a thread that still
holds one when the interpreter exits aborts the process."""

CPU = torch.device("cpu")

DONE, REFUSED, FAILED = b"+", b"-", b"!"
"""How the main process's work ended: well, with a ValueError or an OSError, with another error."""


@dataclass(frozen=True)
class DistributedContext:
    """Describes this process among those that train together; by default it is the only one.

    Attributes:
        rank: the number of this process, 0 to `world_size` - 1.
        world_size: the number of processes.
        device: where this process's model and batches belong.
    """

    rank: int = 0
    world_size: int = 1
    device: torch.device = CPU

    @property
    def is_main_process(self) -> bool:
        """Whether this is rank 0, which prints and writes files."""
        return self.rank == 0

    is_first = is_main_process  # its name in an earlier version

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """Sum `values`, of one shape and dtype, over the ranks; the result is on the CPU."""
        if self.world_size == 1:
            return values
        total = values.detach().to(self.device, copy=True)
        distributed.all_reduce(total)
        return total.cpu()

    def all_reduce_mean(self, values: Tensor) -> Tensor:
        """Average `values`, of one shape and a floating dtype, over the ranks, on the CPU."""
        return values if self.world_size == 1 else self.all_reduce_sum(values) / self.world_size

    def all_gather(self, values: Tensor) -> Tensor:
        """Stack all ranks' `values`, of one shape: `[world_size, ...]` on the CPU."""
        rows = values.new_zeros(self.world_size, *values.shape)
        rows[self.rank] = values
        return self.all_reduce_sum(rows)

    def all_gather_bytes(self, content: bytes) -> list[bytes]:
        """Gather each rank's `content`, of any length, in the order of the ranks."""
        sizes: list[int] = self.all_gather(torch.tensor(len(content))).tolist()
        padded = bytearray(content.ljust(max(1, *sizes), b"\0"))
        rows = self.all_gather(torch.frombuffer(padded, dtype=torch.uint8))
        return [row.numpy().tobytes()[:size] for row, size in zip(rows, sizes, strict=True)]

    def broadcast_bytes(self, content: bytes) -> bytes:
        """Return rank 0's `content` on every rank; what the others pass is ignored."""
        if self.world_size == 1:
            return content
        size = torch.tensor([len(content)], device=self.device)
        distributed.broadcast(size, 0)
        own = bytearray(content) if self.is_main_process else bytearray(int(size.item()))
        if not own:
            return b""
        shared = torch.frombuffer(own, dtype=torch.uint8).to(self.device)
        distributed.broadcast(shared, 0)
        return shared.cpu().numpy().tobytes()

    def run_on_main_process(self, work: Callable[[], bytes]) -> bytes:
        """Call `work` on rank 0 only, and return its result on every rank.

        Raises:
            ValueError: on the other ranks, if the work raised a ValueError or an OSError, with its
                message.
            RuntimeError: on the other ranks, if it raised another exception, which is named.
            Exception: on rank 0, what the work raised.
        """
        if not self.is_main_process:
            content = self.broadcast_bytes(b"")
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
            self.broadcast_bytes(outcome + text.encode(errors="surrogatepass"))
            raise
        self.broadcast_bytes(DONE + content)
        return content

    def check_same_on_all_ranks(self, what: str, description: str) -> None:
        """Check that all ranks pass the same `description`.

        Raises:
            ValueError: on every rank, if one of them passes another; `what` names it.
        """
        first, *rest = self.all_gather_bytes(description.encode())
        if others := sum(each != first for each in rest):
            raise ValueError(
                f"all ranks must have the same {what}: {others} of {self.world_size} "
                "have other ones than rank 0"
            )


SINGLE_PROCESS = DistributedContext()
"""One process, on the CPU."""


@contextmanager
def init_distributed(
    device: str = "cpu", timeout: timedelta = TIMEOUT
) -> Iterator[DistributedContext]:
    """Join the processes that torchrun started with this one, and leave them at the end.

    Without torchrun the context is that of a single process. When all goes well every rank waits at
    the end for the others, so that what the main process wrote is there when any of them exits.

    Args:
        device: "cpu", which communicates over gloo, or "cuda", over nccl: each rank then takes the
            GPU of its number on its machine.
        timeout: how long a collective waits for the other ranks.

    Raises:
        ValueError: the environment's `RANK`, `WORLD_SIZE` or `LOCAL_RANK` are not torchrun's, or
            PyTorch finds no GPU for this rank.
        RuntimeError: the others are not there in time.
    """
    rank, world_size, local_rank = process_numbers()
    context = DistributedContext(rank, world_size, _device(device, local_rank))
    if world_size == 1:
        yield context
        return
    distributed.init_process_group(
        "gloo" if context.device == CPU else "nccl",
        timeout=timeout,
        device_id=None if context.device == CPU else context.device,
    )
    try:
        yield context
        distributed.barrier()
        time.sleep(SHUTDOWN_GRACE)
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
