"""How a run ended, as its folder says it: `exit.json`.

    {"state": "finished", "reason": "", "seconds": 12.3, "time": ...}

The states are `finished`; `stopped`, if a request ended the training early and its weights are
kept; and `failed`, with the reason. A process that is interrupted or killed writes nothing: the run
is unfinished, nobody holds its folder's lock, and `--resume` continues it.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mnist_sgd.cli.terminal import one_line
from mnist_sgd.report.folder import EXIT, write_json

if TYPE_CHECKING:
    from mnist_sgd.report.run_log import RunLog
    from mnist_sgd.report.stop_request import StopOnRequest

FINISHED, STOPPED, FAILED = "finished", "stopped", "failed"


@contextmanager
def recording_end(log: "RunLog | None", stop: "StopOnRequest | None") -> Iterator[None]:
    """Write `exit.json` when the block has ended, unless a signal ended it.

    A run whose first batch has not been trained is not begun: its folder may still hold an older
    run, and nothing is written.

    Raises:
        OSError: after a success, if the file cannot be written.
    """
    if log is None or stop is None:
        yield
        return
    try:
        yield
    except Exception as error:
        if log.has_begun:
            try:
                _write(log, FAILED, one_line(error) or type(error).__name__)
            except OSError as lost:
                error.add_note(f"{lost.filename} cannot be written: {lost.strerror}")
        raise
    if log.has_begun:
        _write(log, STOPPED if stop.stopped else FINISHED)
        stop.path.unlink(missing_ok=True)


def _write(log: "RunLog", state: str, reason: str = "") -> None:
    facts = {"state": state, "reason": reason, "seconds": round(log.seconds, 3)}
    write_json(log.folder / EXIT, facts | {"time": round(time.time(), 3)})
