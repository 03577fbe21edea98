"""What one rank finds before a training is said once, and ends all ranks."""

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from mnist_sgd.training.torchrun import is_first_process

if TYPE_CHECKING:
    from mnist_sgd.training.distributed import DistributedContext

__all__ = ["first_refusal", "refuse_together"]


def first_refusal(*checks: Callable[[], None]) -> str:
    """Run checks on the first rank, before the ranks have joined.

    Returns:
        The message of the first check that fails, for `refuse_together`; "" on other ranks.

    Raises:
        ValueError, OSError, ImportError: a check failed, and this process trains alone.
    """
    if not is_first_process():
        return ""
    for check in checks:
        try:
            check()
        except (ValueError, OSError, ImportError) as error:
            if "WORLD_SIZE" not in os.environ:  # no other process waits to be told
                raise
            return str(error)
    return ""


def refuse_together(refusal: str, ranks: "DistributedContext") -> None:
    """End every rank if the first one was refused; all ranks call this together.

    Raises:
        ValueError: on the first rank, with the refusal.
        SystemExit: on the others, with code 2.
    """
    refusal = ranks.broadcast_bytes(refusal.encode(errors="surrogateescape")).decode(
        errors="surrogateescape"
    )
    if not refusal:
        return
    if ranks.is_main_process:
        raise ValueError(refusal)
    sys.exit(2)
