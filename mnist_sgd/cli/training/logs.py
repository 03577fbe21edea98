"""Logs of a training that cannot be written: the training goes on, and says so at its end."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mnist_sgd.cli.terminal import say

if TYPE_CHECKING:
    from mnist_sgd.report.run_log import RunLog
    from mnist_sgd.training.callbacks.base import Callback

__all__ = ["LostLogs", "telling_of_lost_logs"]


class LostLogs:
    """What the logs of a training lack at its end.

    Attributes:
        exit_code: 0, or 2 if a log is not complete though the training has come to its end.
    """

    exit_code = 0


@contextmanager
def telling_of_lost_logs(
    watching: Sequence["Callback"], log: "RunLog | None"
) -> Iterator[LostLogs]:
    """Name each log that is not complete on standard error, however the block ends.

    The block writes the history of a run once more at its good end, or raises what that met.

    Args:
        watching: callbacks, of which those that write keep what that met as `error`.
        log: of the run, if there is one.
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
                say(f"{error.filename} is not complete: {error.strerror or error}{others}")


def _is_the_same(error: BaseException, other: OSError | None) -> bool:
    """Whether an error, which is said by itself, names the same file as another."""
    return isinstance(error, OSError) and other is not None and error.filename == other.filename
