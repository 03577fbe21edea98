"""One client's connection. Replaces uvicorn's protocol class.

httptools parses, uvicorn owns the sockets and the event loop. This class takes each request to the
application and writes its response: one coroutine a request, driven without a task, and one write
a response, which costs less than ASGI. It adds what uvicorn's class lacks: limits on headers and
bodies, and timeouts for clients that send slowly, stay silent, or do not read.

Requests of one connection are handled one at a time, in their order. While some of them wait, or
the client does not read its responses, no more are read.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from http import HTTPStatus
from typing import Any

from mnist_sgd_serve.http.http_protocol import (
    BODY,
    HEADERS,
    IDLE,
    NEW,
    Admits,
    Handles,
    HttpProtocol,
)
from mnist_sgd_serve.http.messages import Request, Response
from mnist_sgd_serve.settings import Settings

SWEEP_SECONDS = 0.5
"""Between two checks of all connections for timeouts."""

MAX_AT_ONCE = 16
"""Requests of one read that are handled before the event loop has a turn."""

LINGER_SECONDS = 1.0
"""How long to read from a rejected client before closing."""

QUIET_SECONDS = {NEW: 1.0, IDLE: 0.5}
"""How long a client must have been silent before a shutdown closes its connection: a request may
be on its way."""

CLOSE = b"connection: close\r\n"
STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
BODILESS = (204, 304)
"""Statuses of responses without a body and Content-Length: RFC 9110, section 8.6."""


class Connection(HttpProtocol):
    """One client's connection; uvicorn makes it, and calls `shutdown` when the server ends."""

    def __init__(
        self,
        config: Any,
        server_state: Any,
        app_state: Any,
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(_loop or asyncio.get_running_loop())
        self.state = server_state
        self.lingering = False  # everything is sent, but the client may not have seen it
        self.stalled_since: float | None = None  # the client does not read
        self.waiting: deque[Request | Response] = deque()
        self.started = 0  # requests of this read
        self.current: Request | None = None
        self.running: Coroutine[Any, Any, Response] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start; a stream protocol is given no other kind of transport."""
        self.transport = transport
        self.state.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End; a running request finds out by `Request.is_disconnected`.

        Its body stays in memory until then, and so in the budget.
        """
        self.closed = True
        for item in self.waiting:
            self.release_body(item)
        self.waiting.clear()
        self.account_body(0)
        self.state.connections.discard(self)

    def pause_writing(self) -> None:
        """Start no request while the client does not read, until `write_timeout`."""
        self.stalled_since = self.loop.time()

    def resume_writing(self) -> None:
        """Continue."""
        self.stalled_since = None
        self.start_next()

    def release_body(self, item: Request | Response) -> None:
        """Take the body of a finished request out of the budget."""
        if isinstance(item, Request):
            self.service.bodies.held -= item.held

    def data_received(self, data: bytes) -> None:
        """Parse what was read."""
        self.started = 0
        super().data_received(data)

    # From a request to its response.

    def enqueue(self, item: Request | Response) -> None:
        """Start a request, or write a rejection, now or when it is its turn."""
        free = self.current is None and not self.waiting and self.stalled_since is None
        if free and self.started < MAX_AT_ONCE:
            self.started += 1
            self.start_request(item)
        elif not self.transport.is_closing():
            if free:
                self.loop.call_soon(self.start_next)
            self.waiting.append(item)
            self.transport.pause_reading()
        else:
            self.release_body(item)

    def start_next(self) -> None:
        """Start the oldest waiting request, if nothing is in the way."""
        free = self.current is None and self.stalled_since is None
        if free and self.waiting and not self.transport.is_closing():
            item = self.waiting.popleft()
            if not self.waiting:
                self.transport.resume_reading()
            self.start_request(item)

    def start_request(self, item: Request | Response) -> None:
        """Handle a request; one that needs no waiting is done when this returns."""
        if isinstance(item, Response):
            self.write(item, head_only=False)
            return
        self.current = item
        self.running = self.application.handle(item)
        self.resume()

    def resume(self, awaited: "asyncio.Future[Any] | None" = None) -> None:
        """Drive the application's coroutine to its next wait, or to the response."""
        assert self.running is not None
        try:
            future = self.running.send(None)
        except StopIteration as stop:
            request, self.current, self.running = self.current, None, None
            assert request is not None
            self.release_body(request)
            self.write(stop.value, head_only=request.method == b"HEAD")
            return
        if future is None:  # a bare yield, such as asyncio.sleep(0)
            self.loop.call_soon(self.resume)
            return
        future._asyncio_future_blocking = False  # as a task says that it has seen the wait
        future.add_done_callback(self.resume)

    def write(self, response: Response, *, head_only: bool) -> None:
        """Write a response, and continue with the next request."""
        if self.transport.is_closing():
            return
        if self.service.draining:
            self.keep_alive = False
        parts = [STATUS_LINES[response.status]]
        for name, value in self.state.default_headers:
            parts += (name, b": ", value, b"\r\n")
        for name, value in response.headers:
            parts += (name, b": ", value, b"\r\n")
        if response.status not in BODILESS:
            parts.append(b"content-length: %d\r\n" % len(response.body))
        if not self.keep_alive and not self.waiting:
            parts.append(CLOSE)
        parts.append(b"\r\n")
        if not head_only:
            parts.append(response.body)
        self.transport.write(b"".join(parts))
        self.state.total_requests += 1
        if self.waiting:
            self.loop.call_soon(self.start_next)
        elif not self.rejected:
            self.finish_request()

    # Between requests, and the end.

    def finish_request(self) -> None:
        """Wait for the next request, or close if there will be none."""
        if self.keep_alive:
            if self.phase == IDLE:
                self.since = self.loop.time()
        elif self.broken:
            # Closing while the client still sends would be a reset, which can destroy the
            # response: RFC 9112, section 9.6.
            self.lingering, self.since = True, self.loop.time()
            self.transport.write_eof()
        else:
            self.transport.close()

    def rejected_body_done(self) -> None:
        """Continue after a rejected request, unless others are before it."""
        if self.current is None and not self.waiting:
            self.finish_request()

    def reject_and_close(self, status: int, message: str) -> None:
        """Respond to what is no request, after the requests before it, and close."""
        last = not self.keep_alive and self.phase == IDLE  # no request was to follow
        rejected, self.rejected = self.rejected, False
        self.keep_alive, self.broken = False, True
        if last or self.transport.is_closing():
            return
        if rejected:
            self.rejected_body_done()
        else:
            self.enqueue(self.application.reject(status, message))

    def shutdown(self) -> None:
        """Close after the response to a started request, or when none has come for a while."""
        self.keep_alive = False
        begun = self.phase in (HEADERS, BODY) or self.current is not None or self.waiting
        if begun or self.lingering or self.transport.is_closing():
            return
        left = self.since + QUIET_SECONDS[self.phase] - self.loop.time()
        if left > 0:
            self.loop.call_later(left, self.shutdown)
        else:
            self.transport.close()

    def close_if_slow(self, now: float, limits: Settings) -> None:
        """Close the connection if the client has exceeded a timeout."""
        waited = now - self.since
        if self.stalled_since is not None:
            if now - self.stalled_since > limits.write_timeout:
                self.application.reject(408, "the client does not read its answers")
                self.transport.abort()
        elif self.lingering:
            if waited > LINGER_SECONDS:
                self.transport.close()
        elif self.current is not None or self.waiting or self.broken:
            return  # the client waits for us
        elif self.phase in (IDLE, NEW):
            if waited > (
                limits.keep_alive_timeout if self.phase == IDLE else limits.header_timeout
            ):
                self.transport.close()
        elif self.phase == HEADERS and waited > limits.header_timeout:
            self.reject_and_close(
                408, f"the head did not arrive within {limits.header_timeout:g} s"
            )
        elif self.phase == BODY and waited > limits.body_timeout:
            self.reject_and_close(408, f"the body did not arrive within {limits.body_timeout:g} s")


def connection_class(application: Handles, service: Admits) -> type[Connection]:
    """Make the class of the connections to an application."""
    return type("Connection", (Connection,), {"application": application, "service": service})


async def close_slow_connections(connections: set[Any], limits: Settings) -> None:
    """Check all connections twice a second, until cancelled."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        now = asyncio.get_running_loop().time()
        for connection in list(connections):
            connection.close_if_slow(now, limits)
