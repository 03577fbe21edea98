"""The folder that a training writes into: one training at a time, and the files of a run."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_sgd._lock import one_writer
from mnist_sgd.cli.terminal import say
from mnist_sgd.cli.training.config import TrainConfig
from mnist_sgd.report.folder import RunError, create_run

if TYPE_CHECKING:
    from mnist_sgd.report.run_log import RunLog
    from mnist_sgd.training.distributed import DistributedContext


@contextmanager
def only_training(folder: Path, ranks: "DistributedContext") -> Iterator[None]:
    """Be the only training that writes into the folder; all ranks call this together.

    Raises:
        ValueError: on the first rank, if another training writes there.
        OSError: on the first rank, if the folder cannot be made.
        SystemExit: on the other ranks, with code 2: one of them says why.
    """
    with ExitStack() as lock:

        def take() -> bytes:
            lock.enter_context(one_writer(folder, say))
            return b""

        try:
            ranks.run_on_main_process(take)
        except ValueError:
            if ranks.is_main_process:
                raise
            sys.exit(2)
        yield


def create_output_folder(config: TrainConfig, ranks: "DistributedContext") -> "RunLog | None":
    """Create the folder for the files on the first rank; all ranks call this together.

    An older run in it stays unchanged until the new one has trained a batch.

    Returns:
        The callback that writes the run's files while it trains; None without `--run`.

    Raises:
        RunError: on every rank, if the folder may not be taken.
        OSError: it cannot be made.
    """
    output = config.output
    if not config.is_run:
        if ranks.is_main_process:
            output.out.mkdir(parents=True, exist_ok=True)
        return None
    from mnist_sgd.report.run_log import RunLog

    refusal = b""
    if ranks.is_main_process:
        try:
            create_run(output.out, resume=config.checkpoints.resume, overwrite=output.overwrite)
        except RunError as error:
            refusal = str(error).encode()
    refusal = ranks.broadcast_bytes(refusal)
    if refusal:
        raise RunError(refusal.decode())
    return RunLog(output.out, config.arguments(), overwrite=output.overwrite)
