"""From a request to its answer: what went wrong, what is counted, what is logged.

A request is checked whole before it joins a batch, so a bad one fails alone. Every answer that is
not 2xx is JSON, `{"error": "..."}`, in plain words; what fails by our own doing is logged with its
trace and answered without. What is at which path is in routes.py, who may ask in access.py and
site.py.
"""

import asyncio
import os
import re
import time
import traceback
from collections import Counter
from collections.abc import Callable
from itertools import count

from mnist_sgd_serve.http.access import Access
from mnist_sgd_serve.http.exchange import JSON, Answer, Exchange, Headers, Route
from mnist_sgd_serve.http.site import Site
from mnist_sgd_serve.logs import Log
from mnist_sgd_serve.metrics import Metrics
from mnist_sgd_serve.model.batcher import ClientGone, DeadlineExceeded, QueueFull
from mnist_sgd_serve.protocol import RequestError, error_body, shown
from mnist_sgd_serve.settings import Settings

__all__ = ["Application"]

MOST_HELD = 16
"""So many of the largest bodies may be there at once: 256 MiB unless the settings say otherwise."""

LOG_SECONDS = 1.0
"""Between two lines for failures of one status: an overload shall not become one of the log."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_REQUEST = b"x-request-id"
_OTHER = "other"
_LEFT = "the client has left"


class MethodNotAllowed(RequestError):  # noqa: N818  (it says all without "Error")
    """405, with what is allowed."""

    def __init__(self, given: bytes, allowed: bytes) -> None:
        self.allowed = b"GET, HEAD" if allowed == b"GET" else allowed
        text = f"{shown(given.decode())} is not allowed here: use {self.allowed.decode()}"
        super().__init__(405, "bad_method", text)


class Application:
    """Answers requests.

    Args:
        settings: of the server.
        find: gives the route of a path as sent.
        metrics: counts what is answered.
        log: is told of failures, and of every request if the settings say so.

    Attributes:
        max_body: bytes of a body that is still read.
        max_held: bytes of all large bodies that are arriving or wait for their answers.
        held: how many there are now, as the connections count them.
        draining: no more requests are welcome, though they are still answered.
    """

    def __init__(
        self, settings: Settings, find: Callable[[bytes], Route], metrics: Metrics, log: Log
    ) -> None:
        self.max_body = settings.max_body
        self.max_held = MOST_HELD * settings.max_body
        self.held = 0
        self.draining = False
        self.find = find
        self.metrics = metrics
        self.log = log
        self.access_log = settings.access_log
        self.access = Access(settings)
        self.site = Site(settings)
        self._ids = count(1)
        self._logged: dict[int, float] = {}  # when a failure of a status was logged last
        self._unlogged = Counter[int]()  # how many were not, since then

    async def answer(self, exchange: Exchange) -> Answer:
        """Answer a request; whatever happens, there is an answer."""
        name, extra = _OTHER, self.access.headers
        try:
            self.site.check(exchange)
            answer = self.access.preflight(exchange)
            if answer is None:
                route = self._route(exchange)
                name = route.name
                _check_method(exchange.method, route.method)
                answer = await route.handler(exchange)
        # The error must not outlive this clause: it leads to this frame, and so to the body, and
        # only the garbage collector could free the circle.
        except Exception as error:
            status, said = _failure(error)
            answer = _error(status, said, _allowed(error))
            status = _outcome(exchange, status)
            trace = error if status == 500 else None
            extra = [*extra, (_REQUEST, self._note(exchange, status, said, trace))]
        except asyncio.CancelledError:  # as gRPC does when the client has left
            self._note(exchange, 499, "the request was cancelled")
            self._count(name, 499, exchange)
            raise
        else:
            status = _outcome(exchange, answer.status)
            if self.access_log or _REQUEST in exchange.head:
                left = _LEFT if status == 499 else None
                extra = [*extra, (_REQUEST, self._note(exchange, status, left))]
        if extra:
            answer = Answer(answer.body, [*answer.headers, *extra], answer.status)
        self._count(name, status, exchange)
        return answer

    def refuse(self, status: int, message: str) -> Answer:
        """Answer a request that did not arrive whole."""
        self.metrics.refused(status)
        if self.access_log:
            self.log.warning("refused", status=status, error=message)
        return _error(status, message, self.access.headers)

    def _count(self, name: str, status: int, exchange: Exchange) -> None:
        self.metrics.answered(name, status, time.perf_counter() - exchange.started)

    def _route(self, exchange: Exchange) -> Route:
        """Find the route of a request that may be asked."""
        try:
            route = self.find(exchange.path)
        except RequestError:
            self.access.check(exchange)  # what there is and what not, is not for everybody
            raise
        if not route.open:
            self.access.check(exchange)
        return route

    def _note(
        self,
        exchange: Exchange,
        status: int,
        said: str | None = None,
        failure: Exception | None = None,
    ) -> bytes:
        """Log a request as far as the settings say, and give it its id.

        Args:
            exchange: the request.
            status: that it is counted under.
            said: what its client is told, if it failed.
            failure: what failed by our own doing, which the client is not told.
        """
        given = exchange.head.get(_REQUEST, b"")
        own = not _REQUEST_ID.fullmatch(given)
        request = b"%x-%x" % (os.getpid(), next(self._ids)) if own else given
        if not self.access_log and not (status >= 500 and self._due(status)):
            return request
        fields: dict[str, object] = {
            "request": request.decode(),
            "method": exchange.method.decode(),
            "path": exchange.path[:200].decode("ascii", "replace"),
            "status": status,
            "milliseconds": round(1000 * (time.perf_counter() - exchange.started), 3),
        }
        if unlogged := self._unlogged.pop(status, 0):
            fields["more"] = unlogged
        if said is not None:
            fields["error"] = said[:300]
        if failure is not None:
            fields["error"] = str(failure)[:300] or type(failure).__name__
            fields["trace"] = "".join(traceback.format_exception(failure))
        write = self.log.info if status < 400 else self.log.warning
        (self.log.error if status == 500 else write)("request", **fields)
        return request

    def _due(self, status: int) -> bool:
        """Whether a failure is to be logged, or only counted with the next that is."""
        now = time.monotonic()
        if now - self._logged.get(status, -LOG_SECONDS) < LOG_SECONDS:
            self._unlogged[status] += 1
            return False
        self._logged[status] = now
        return True


def _check_method(given: bytes, allowed: bytes) -> None:
    if given != allowed and not (given == b"HEAD" and allowed == b"GET"):
        raise MethodNotAllowed(given, allowed)


def _outcome(exchange: Exchange, status: int) -> int:
    """The status to count and to log: 499 if nobody is there to read the answer.

    A failure of our own stays one, with its trace, whoever has left.
    """
    return 499 if status != 500 and exchange.gone() else status


def _failure(error: Exception) -> tuple[int, str]:
    """The status for an exception of a handler, and what the client is told."""
    if isinstance(error, RequestError):
        return error.status, str(error)
    if isinstance(error, QueueFull):
        return 503, "too many images are waiting, try again soon"
    if isinstance(error, DeadlineExceeded):
        return 504, "the request waited too long for its turn"
    if isinstance(error, ClientGone):
        return 499, _LEFT
    return 500, "the server failed to answer; its log says why"


def _allowed(error: Exception) -> Headers:
    return [(b"allow", error.allowed)] if isinstance(error, MethodNotAllowed) else []


_OF_STATUS: dict[int, Headers] = {
    401: [(b"www-authenticate", b"Bearer")],
    503: [(b"retry-after", b"1")],
}


def _error(status: int, message: str, extra: Headers | None = None) -> Answer:
    headers = [*JSON, *_OF_STATUS.get(status, []), *(extra or [])]
    return Answer(error_body(message), headers, status)
