"""One client's connection, in the place of uvicorn's own: requests in, answers out, in order.

httptools parses, uvicorn owns the sockets and the event loop, and this class carries a request from
the one to the application and its answer back: one coroutine a request that is driven from here
without a task, and one write an answer. So an image's answer, model included, takes 24 us of a core
at 64 connections, where an empty ASGI application on uvicorn takes 27 to 31. It also gives what
uvicorn's connection lacks: limits for heads and bodies, and deadlines for clients that send slowly,
stay silent, or do not read.

Requests of one connection are answered in their order, one at a time. While some of them wait, or
the client does not read its answers, no more are taken.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from http import HTTPStatus
from typing import Any

from mnist_sgd_serve.http.exchange import Answer, Exchange
from mnist_sgd_serve.http.receiver import BODY, HEAD, IDLE, NEW, Handles, Receiver
from mnist_sgd_serve.settings import Settings

__all__ = ["Connection", "close_slow_connections", "connection_class"]

SWEEP_SECONDS = 0.5
"""Between two looks at the deadlines of all connections."""

MOST_AT_ONCE = 16
"""Requests of one read that are answered before the event loop has a turn."""

LINGER_SECONDS = 1.0
"""For which a client that is refused is still listened to."""

QUIET_SECONDS = {NEW: 1.0, IDLE: 0.5}
"""For which a client must have sent nothing before the end of the server closes its connection: its
request may be on the way."""

CLOSE = b"connection: close\r\n"
STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
BODILESS = (204, 304)
"""Statuses whose answers have no body and give no length of it: RFC 9110, section 8.6."""


class Connection(Receiver):
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
        self.lingering = False  # all is said, and the client may not have seen it
        self.stalled_since: float | None = None  # the client does not read
        self.waiting: deque[Exchange | Answer] = deque()
        self.begun = 0  # requests of this read
        self.current: Exchange | None = None
        self.running: Coroutine[Any, Any, Answer] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; a protocol of a stream is given no other kind of transport."""
        self.transport = transport
        self.state.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End; a request that is being answered finds out by `Exchange.gone`.

        Its body stays in memory until then, and so in the count.
        """
        self.closed = True
        for item in self.waiting:
            self.let_go(item)
        self.waiting.clear()
        self.hold(0)
        self.state.connections.discard(self)

    def pause_writing(self) -> None:
        """Begin no request while the client does not read; what it may cost is `write_seconds`."""
        self.stalled_since = self.loop.time()

    def resume_writing(self) -> None:
        """Go on."""
        self.stalled_since = None
        self.next()

    def let_go(self, item: Exchange | Answer) -> None:
        """Take the body of a request that is over out of the application's count."""
        if isinstance(item, Exchange):
            self.application.held -= item.held

    def data_received(self, data: bytes) -> None:
        """Take what was read."""
        self.begun = 0
        super().data_received(data)

    # From a request to its answer.

    def enqueue(self, item: Exchange | Answer) -> None:
        """Begin with a request, or with one refused already, once it is its turn."""
        free = self.current is None and not self.waiting and self.stalled_since is None
        if free and self.begun < MOST_AT_ONCE:
            self.begun += 1
            self.begin(item)
        elif not self.transport.is_closing():
            if free:
                self.loop.call_soon(self.next)
            self.waiting.append(item)
            self.transport.pause_reading()
        else:
            self.let_go(item)

    def next(self) -> None:
        """Begin with the request that waits longest, if nothing is in the way."""
        free = self.current is None and self.stalled_since is None
        if free and self.waiting and not self.transport.is_closing():
            item = self.waiting.popleft()
            if not self.waiting:
                self.transport.resume_reading()
            self.begin(item)

    def begin(self, item: Exchange | Answer) -> None:
        """Answer a request; what needs no waiting is answered before this returns."""
        if isinstance(item, Answer):
            self.write(item, head_only=False)
            return
        self.current = item
        self.running = self.application.answer(item)
        self.step()

    def step(self, awaited: "asyncio.Future[Any] | None" = None) -> None:
        """Drive the application's coroutine to its next wait, or to the answer."""
        assert self.running is not None
        try:
            future = self.running.send(None)
        except StopIteration as stop:
            exchange, self.current, self.running = self.current, None, None
            assert exchange is not None
            self.let_go(exchange)
            self.write(stop.value, head_only=exchange.method == b"HEAD")
            return
        if future is None:  # a bare yield, such as asyncio.sleep(0)
            self.loop.call_soon(self.step)
            return
        future._asyncio_future_blocking = False  # as a task says that it has seen the wait
        future.add_done_callback(self.step)

    def write(self, answer: Answer, *, head_only: bool) -> None:
        """Send an answer, and go on with the next request."""
        if self.transport.is_closing():
            return
        if self.application.draining:
            self.keep_alive = False
        parts = [STATUS_LINES[answer.status]]
        for name, value in self.state.default_headers:
            parts += (name, b": ", value, b"\r\n")
        for name, value in answer.headers:
            parts += (name, b": ", value, b"\r\n")
        if answer.status not in BODILESS:
            parts.append(b"content-length: %d\r\n" % len(answer.body))
        if not self.keep_alive and not self.waiting:
            parts.append(CLOSE)
        parts.append(b"\r\n")
        if not head_only:
            parts.append(answer.body)
        self.transport.write(b"".join(parts))
        self.state.total_requests += 1
        if self.waiting:
            self.loop.call_soon(self.next)
        elif not self.refused:
            self.rest()

    # Between requests, and the end.

    def rest(self) -> None:
        """Wait for the next request, or close where there will be none."""
        if self.keep_alive:
            if self.phase == IDLE:
                self.since = self.loop.time()
        elif self.broken:
            # To close on a client that is still sending would be a reset, which can take the
            # answer from it: RFC 9112, section 9.6.
            self.lingering, self.since = True, self.loop.time()
            self.transport.write_eof()
        else:
            self.transport.close()

    def arrived(self) -> None:
        """Go on after a request that was refused, unless others are before it."""
        if self.current is None and not self.waiting:
            self.rest()

    def break_off(self, status: int, message: str) -> None:
        """Answer what is no request, after what came before it, and close."""
        last = not self.keep_alive and self.phase == IDLE  # nothing was to follow, or to be said
        answered, self.refused = self.refused, False
        self.keep_alive, self.broken = False, True
        if last or self.transport.is_closing():
            return
        if answered:
            self.arrived()
        else:
            self.enqueue(self.application.refuse(status, message))

    def shutdown(self) -> None:
        """Close after the answer to a request that has begun, or when none has come for a while."""
        self.keep_alive = False
        begun = self.phase in (HEAD, BODY) or self.current is not None or self.waiting
        if begun or self.lingering or self.transport.is_closing():
            return
        left = self.since + QUIET_SECONDS[self.phase] - self.loop.time()
        if left > 0:
            self.loop.call_later(left, self.shutdown)
        else:
            self.transport.close()

    def close_if_slow(self, now: float, limits: Settings) -> None:
        """Close the connection if the client is over a deadline."""
        waited = now - self.since
        if self.stalled_since is not None:
            if now - self.stalled_since > limits.write_seconds:
                self.application.refuse(408, "the client does not read its answers")
                self.transport.abort()
        elif self.lingering:
            if waited > LINGER_SECONDS:
                self.transport.close()
        elif self.current is not None or self.waiting or self.broken:
            return  # the next move is ours
        elif self.phase in (IDLE, NEW):
            if waited > (limits.idle_seconds if self.phase == IDLE else limits.head_seconds):
                self.transport.close()
        elif self.phase == HEAD and waited > limits.head_seconds:
            self.break_off(408, f"the head did not arrive within {limits.head_seconds:g} s")
        elif self.phase == BODY and waited > limits.body_seconds:
            self.break_off(408, f"the body did not arrive within {limits.body_seconds:g} s")


def connection_class(application: Handles) -> type[Connection]:
    """The class of the connections that an application answers."""
    return type("Connection", (Connection,), {"application": application})


async def close_slow_connections(connections: set[Any], limits: Settings) -> None:
    """Look at all connections twice a second, until cancelled."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        now = asyncio.get_running_loop().time()
        for connection in list(connections):
            connection.close_if_slow(now, limits)
