"""Logs to standard error: as JSON, one object a line, or as text for those who read along.

Every line of JSON has `time` (UTC, to the millisecond), `level`, `event` and the event's own
fields; that of a request has its id. Nothing waits for a reader of the log: lines that nobody reads
are lost, and the next one that can be written is preceded by one that counts them.
"""

import contextlib
import io
import json
import logging
import os
import re
import select
import sys
import time
import traceback
from collections import Counter
from datetime import UTC, datetime
from itertools import count
from typing import Protocol

from mnist_sgd_serve.metrics import Metrics
from mnist_sgd_serve.settings import Settings

PATIENCE_MS = 100
"""How long to wait for a reader that falls behind, the first time."""

LOG_SECONDS = 1.0
"""Between two lines for failures of one status, so that an overload does not flood the log."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class Log:
    """Writes events; a line is one write, so that lines of several workers do not mix."""

    def __init__(self, worker: int = 0) -> None:
        self.worker = worker

    def info(self, event: str, **fields: object) -> None:
        """Write an event of normal operation."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Write a request that failed by its client's fault, or a model file that was rejected."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Write a failure of the server."""
        self._write("error", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "level": level, "event": event, "worker": self.worker} | fields
        write(json.dumps(_plain(line), default=_text, separators=(",", ":")) + "\n")


class TextLog(Log):
    """Writes events for people: the time of day, what happened, and greets when it is ready."""

    def __init__(self, worker: int = 0) -> None:
        super().__init__(worker)
        _WRITER.is_text = True

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        if event == "ready":
            if self.worker == 0:  # of several, the first greets
                write(_greeting(fields))
            return
        fields = _plain(fields)
        trace = fields.pop("trace", "")
        text = f"{fields.pop('text', '')}"
        error = fields.pop("error", "")
        if event == "request":
            for name in ("request", "more"):
                fields.pop(name, None)
            text = "{method} {path} {status}, {milliseconds} ms, {client}".format(**fields)
        elif event == "draining":
            text = "ending after the requests in flight"
        elif not text:
            told = ", ".join(f"{name} {value}" for name, value in fields.items())
            text = f"{event}: {told}" if told else event
        mark = "" if level == "info" else f"{level}: "
        line = f"{datetime.now():%H:%M:%S} {mark}{text}{f': {error}' if error else ''}\n"
        write(f"{line}{trace}\n" if trace else line)


def _greeting(ready: dict[str, object]) -> str:
    classes = ready["classes"]
    assert isinstance(classes, list)
    grpc = f", gRPC at {ready['grpc']}" if "grpc" in ready else ""
    return f"{' or '.join(reversed(classes))}? {ready['address']}{grpc}  (Ctrl-C ends)\n"


def make_log(settings: Settings, worker: int = 0) -> Log:
    """Make the log that the settings ask for."""
    return (TextLog if settings.log == "text" else Log)(worker)


class LibraryLog(logging.Handler):
    """Writes what libraries log by the module logging."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self.log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        trace = {} if record.exc_info is None else {"trace": self.format(record)}
        write = self.log.warning if record.levelno < logging.ERROR else self.log.error
        write("library", library=record.name, text=record.getMessage(), **trace)


class LoggedRequest(Protocol):
    """What the log needs of a request."""

    @property
    def method(self) -> bytes:
        """As sent."""

    @property
    def path(self) -> bytes:
        """As sent."""

    @property
    def client(self) -> str:
        """The client's address."""

    @property
    def started(self) -> float:
        """When it was complete, in the time of `time.perf_counter`."""

    @property
    def request_id(self) -> bytes:
        """The client's own id for the request, unchecked; empty if there is none."""


class RequestLog:
    """Counts and logs requests of any protocol, and gives them ids.

    Args:
        metrics: counts all of them.
        log: gets failures of the server, one a second for each status.
        log_all: log every request.
    """

    def __init__(self, metrics: Metrics, log: Log, log_all: bool) -> None:
        self.metrics = metrics
        self.log = log
        self.log_all = log_all
        self._ids = count(1)
        self._logged: dict[int, float] = {}  # when a failure of a status was logged last
        self._unlogged = Counter[int]()  # how many were not, since then

    def record(
        self,
        request: LoggedRequest,
        route: str,
        status: int,
        message: str | None = None,
        failure: Exception | None = None,
    ) -> bytes | None:
        """Count a request that is over, and log it if it is to be logged.

        Args:
            request: the request.
            route: its name in the metrics.
            status: the HTTP status.
            message: the error message for its client, if it failed.
            failure: the exception, if the server is to blame.

        Returns:
            Its id: the client's, or a new one for a request that failed or is logged.
        """
        seconds = time.perf_counter() - request.started
        self.metrics.answered(route, status, seconds)
        given = request.request_id
        if not given and not self.log_all and status < 400:
            return None
        own = b"%x-%x" % (os.getpid(), next(self._ids))
        request_id = given if _REQUEST_ID.fullmatch(given) else own
        if not self.log_all and not (status >= 500 and self._is_due(status)):
            return request_id
        fields: dict[str, object] = {
            "request": request_id.decode(),
            "method": request.method.decode(),
            "path": request.path[:200].decode("ascii", "replace"),
            "client": request.client[:100],
            "status": status,
            "milliseconds": round(1000 * seconds, 3),
        }
        if unlogged := self._unlogged.pop(status, 0):
            fields["more"] = unlogged
        if message is not None:
            fields["error"] = message[:300]
        if failure is not None:
            fields["error"] = str(failure)[:300] or type(failure).__name__
            fields["trace"] = "".join(traceback.format_exception(failure))
        write = self.log.info if status < 400 else self.log.warning
        (self.log.error if status == 500 else write)("request", **fields)
        return request_id

    def rejected(self, status: int, message: str, client: str) -> None:
        """Count a request that did not arrive completely, and log it if all are logged."""
        self.metrics.rejected(status)
        if self.log_all:
            self.log.warning("refused", client=client, status=status, error=message)

    def _is_due(self, status: int) -> bool:
        """Whether to log a failure, rather than count it in the next line of its status."""
        now = time.monotonic()
        if now - self._logged.get(status, -LOG_SECONDS) < LOG_SECONDS:
            self._unlogged[status] += 1
            return False
        self._logged[status] = now
        return True


def _plain(fields: dict[str, object]) -> dict[str, object]:
    return {key: _text(one) if isinstance(one, str) else one for key, one in fields.items()}


def _text(value: object) -> str:
    """Escape the bytes of a file name that are not UTF-8, which JSON cannot hold."""
    return str(value).encode(errors="backslashreplace").decode()


def write(text: str) -> None:
    """Write to standard error in one piece, if there is one; never raise, never write elsewhere.

    It may be None, closed, or a stream without a file; a disk may be full, a pipe have no reader.
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
    """Writes lines to files that may be pipes nobody reads; drops lines rather than wait."""

    def __init__(self) -> None:
        self.lost = 0  # lines since the last one that was written
        self.torn = False  # only a part of the last one was written
        self.is_text = False

    def write(self, file: int, line: bytes) -> None:
        """Write a line, after a line that counts the lost ones."""
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
        if self.is_text:
            text = f"{datetime.now():%H:%M:%S} warning: {self.lost - 1} lines lost"
        return f"{chr(10) * self.torn}{text}\n".encode()


_WRITER = _Writer()


def _takes_more(file: int, wait: int) -> bool:
    """Whether, within `wait` milliseconds, a write of `PIPE_BUF` bytes would not block."""
    poll = select.poll()
    poll.register(file, select.POLLOUT)
    return bool(poll.poll(wait))
