"""Read the environment variables that torchrun sets for each process, without importing torch.

Only both of `RANK` and `WORLD_SIZE` together count; one of them alone was set by something else.
"""

import os


def process_numbers() -> tuple[int, int, int]:
    """Return (rank, world size, local rank); 0, 1, 0 without torchrun.

    Raises:
        ValueError: `RANK`, `WORLD_SIZE` or `LOCAL_RANK` is not a number or out of range.
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
    """Whether this process, which prints and writes files, has rank 0 or is the only one."""
    return not _is_started_by_torchrun() or os.environ["RANK"] == "0"


def _is_started_by_torchrun() -> bool:
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ
