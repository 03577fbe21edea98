"""Logs as JSON, one object a line on standard error: for machines first, and readable.

Every line has `time` (UTC, to the millisecond), `level`, `event` and what else the event has to
say; that of a request has its id. A server answers though nobody can read what it writes.
"""

import contextlib
import json
import os
import sys
from datetime import UTC, datetime

__all__ = ["Log"]


class Log:
    """Writes events; a line is one write, so that lines of several workers do not mix."""

    def __init__(self, worker: int = 0) -> None:
        self.worker = worker

    def info(self, event: str, **fields: object) -> None:
        """Write an event of normal operation."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Write a request that failed by its client's doing, or a model file that was refused."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Write a failure of the server's own."""
        self._write("error", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "level": level, "event": event, "worker": self.worker} | fields
        if sys.stderr is None:  # it was closed before the start
            return
        with contextlib.suppress(OSError):  # a full disk or a closed pipe, and no place to say so
            text = json.dumps(line, default=str, separators=(",", ":"))
            os.write(sys.stderr.fileno(), f"{text}\n".encode())
