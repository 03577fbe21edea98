"""Logs that cannot be written: the training continues, and names them at its end."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mnist_sgd.cli.terminal import say

if TYPE_CHECKING:
    from mnist_sgd.report.run_log import RunLog
    from mnist_sgd.training.callbacks.base import Callback


class LostLogs:
    """Whether logs were lost.

    Attributes:
        exit_code: 0, or 2 if the training has finished and a log is incomplete.
    """

    exit_code = 0


@contextmanager
def reporting_lost_logs(watching: Sequence["Callback"], log: "RunLog | None") -> Iterator[LostLogs]:
    """Name each incomplete log on standard error, however the block ends.

    A block that succeeds has written the history of a run once more, or raises why it could not.

    Args:
        watching: callbacks; those that write have the last failure as `error`.
        log: the run's, if there is one.
    """
    lost = LostLogs()
    others = "; all other files are written"
    try:
        yield lost
    except BaseException as failure:
        others = ""
        if log is not None and not _is_the_same(failure, log.error):
            watching = [*watching, log]
        raise
    finally:
        for error in [getattr(cb, "error", None) for cb in watching]:
            if isinstance(error, OSError):
                lost.exit_code = 2
                say(f"{error.filename} is incomplete: {error.strerror or error}{others}")


def _is_the_same(error: BaseException, other: OSError | None) -> bool:
    """Whether an error, which is printed anyway, names the same file as another."""
    return isinstance(error, OSError) and other is not None and error.filename == other.filename
