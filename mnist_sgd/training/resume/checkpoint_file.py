"""Read a checkpoint file, and let all ranks agree on errors of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mnist_sgd._state_file import DocumentError, parse
from mnist_sgd.training.distributed import DistributedContext
from mnist_sgd.training.resume.fit_identity import public_name

FORMAT = 2


class CheckpointError(ValueError):
    """A checkpoint cannot be written, or this fit cannot resume from a file."""


def read_checkpoint(path: Path, ranks: DistributedContext) -> dict[str, Any]:
    """Read a checkpoint on rank 0, and return its content on every rank.

    Raises:
        CheckpointError: the file is missing, damaged, or of another format.
    """

    def content() -> bytes:
        if not path.is_file():
            raise CheckpointError(f"{path}: there is no such file")
        return path.read_bytes()

    try:
        state = parse(on_main_process(ranks, content))
    except DocumentError as error:
        raise CheckpointError(f"{path}: not a checkpoint: {error}") from error
    if state.get("checkpoint") != FORMAT:
        raise CheckpointError(
            f"{path}: a checkpoint of format {state.get('checkpoint')}; "
            f"this version of mnist_sgd reads {FORMAT}"
        )
    for noted in (state.get("fit", {}), state.get("parts", {}).get("texts", {})):
        if "optimizer" in noted:  # earlier versions noted the module of the class
            noted["optimizer"] = public_name(noted["optimizer"])
    return state


def on_main_process(ranks: DistributedContext, work: Callable[[], bytes]) -> bytes:
    """Call `work` on rank 0 only, and return its result on every rank.

    Raises:
        CheckpointError: on every rank, if the work raised a ValueError or an OSError.
    """
    try:
        return ranks.run_on_main_process(work)
    except ValueError as error:
        raise CheckpointError(str(error)) from None
