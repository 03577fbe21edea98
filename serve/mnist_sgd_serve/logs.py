"""Logs as JSON, one object a line on standard error: for machines first, and readable.

Every line has `time` (UTC, to the millisecond), `level`, `event` and what else the event has to
say; that of a request has its id. A server answers though nobody can read what it writes:
lines are lost then, and the next one that can be written is preceded by one that counts them.
"""

import contextlib
import io
import json
import os
import select
import sys
from datetime import UTC, datetime

__all__ = ["Log", "write"]

PATIENCE_MS = 100
"""For a reader that is behind, if it was not before."""


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
        write(json.dumps(_plain(line), default=_text, separators=(",", ":")) + "\n")


def _plain(fields: dict[str, object]) -> dict[str, object]:
    return {key: _text(one) if isinstance(one, str) else one for key, one in fields.items()}


def _text(value: object) -> str:
    """What JSON can hold: a name's bytes that are not UTF-8 are shown by their escapes."""
    return str(value).encode(errors="backslashreplace").decode()


def write(text: str) -> None:
    """Write to standard error in one piece, if there is one; never raise, never write elsewhere.

    It may be None, as in a process that was started without one, a stream without a file, or
    closed; a disk may be full and a pipe without a reader.
    """
    stream = sys.stderr
    if stream is None:
        return
    with contextlib.suppress(OSError, ValueError):
        try:
            file = stream.fileno()
        except (AttributeError, io.UnsupportedOperation):
            stream.write(text)
        else:
            _WRITER.write(file, text.encode(errors="backslashreplace"))


class _Writer:
    """Writes lines to files that may be pipes which nobody reads; drops lines rather than wait."""

    def __init__(self) -> None:
        self.lost = 0  # lines since the last one that was written
        self.torn = False  # of the last one a part was written

    def write(self, file: int, line: bytes) -> None:
        """Write a line, and before it how many were lost."""
        wait = 0 if self.lost else PATIENCE_MS
        self.lost += 1
        if self.lost > 1:
            line = self._notice() + line
        for start in range(0, len(line), select.PIPE_BUF):
            if not _takes_more(file, wait):
                self.torn = self.torn or start > 0
                return
            os.write(file, line[start : start + select.PIPE_BUF])
        self.lost, self.torn = 0, False

    def _notice(self) -> bytes:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        fields = {"time": now, "level": "warning", "event": "lines lost", "lines": self.lost - 1}
        text = json.dumps(fields, separators=(",", ":"))
        return f"{chr(10) * self.torn}{text}\n".encode()


_WRITER = _Writer()


def _takes_more(file: int, wait: int) -> bool:
    """Whether a write of `PIPE_BUF` bytes would not block, at the latest in so many ms."""
    poll = select.poll()
    poll.register(file, select.POLLOUT)
    return bool(poll.poll(wait))
