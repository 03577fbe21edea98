"""What torchrun tells each process that it starts, in environment variables.

Only both of `RANK` and `WORLD_SIZE` are torchrun's; one of them alone is a variable that something
else left, and this process then trains alone. This module does not import torch.
"""

import os

__all__ = ["is_first_process", "process_numbers"]


def process_numbers() -> tuple[int, int, int]:
    """The rank of this process, the number of processes, and the rank on this machine.

    Returns:
        Numbers from torchrun's variables; 0, 1, 0 in a process that torchrun did not start.

    Raises:
        ValueError: `RANK`, `WORLD_SIZE` or `LOCAL_RANK` is not a number, or out of range.
    """
    if not _is_started_by_torchrun():
        return 0, 1, 0
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    texts = [os.environ.get(name, "0") for name in names]
    if not all(text.isdecimal() for text in texts) or int(texts[0]) >= int(texts[1]):
        given = ", ".join(f"{name}={text}" for name, text in zip(names, texts, strict=True))
        raise ValueError(f"the environment is not one of torchrun: {given}")
    rank, world_size, local_rank = map(int, texts)
    return rank, world_size, local_rank


def is_first_process() -> bool:
    """Whether this process prints and checks for all: it is alone, or has rank 0."""
    return not _is_started_by_torchrun() or os.environ["RANK"] == "0"


def _is_started_by_torchrun() -> bool:
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ
