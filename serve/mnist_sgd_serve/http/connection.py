"""One client's connection: uvicorn's protocol class, with limits and timeouts.

uvicorn parses HTTP/1.1, keeps requests in their order, and runs the application for each. This
subclass adds what it leaves out: limits on headers and framing, timeouts for clients that send
slowly, stay silent or do not read, a JSON error for what is no HTTP, and the bodies of requests
with an Upgrade header.
"""

import asyncio
import logging
import re
import select
from socket import AF_UNIX
from typing import Any, ClassVar, Protocol

import httptools
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from mnist_sgd_serve.http.responses import NO_SNIFFING, Reply
from mnist_sgd_serve.settings import Settings

MAX_HEADER_SIZE = 32 * 2**10
"""Bytes of a request line with its headers."""

STEP = 16 * 2**10
"""Bytes that are parsed at a time, which bounds the number of requests that wait."""

SWEEP_SECONDS = 0.5
"""Between two checks of all connections for timeouts."""

LINGER_SECONDS = 1.0
"""How long to read from a rejected client before closing. Closing while it still sends would be a
reset, which can destroy the response: RFC 9112, section 9.6."""

BLANKS = b" \t"

NEW, IDLE, HEADERS, BODY = range(4)
"""What a client is sending: nothing yet; nothing, between two requests; headers; a body."""

QUIET_SECONDS = {NEW: 1.0, IDLE: 0.5}
"""How long a client must have been silent before a shutdown closes its connection: a request may
be on its way."""

MAPPED = "::ffff:"
"""Before an IPv4 address on a socket for IPv6; trusted proxies are named without."""

UNIX, LEFT = ("unix", 0), ("unknown", 0)
"""The addresses of clients of a Unix socket, and of those that left before it was asked for."""

NO_SNIFFING_LINE = b"%s: %s\r\n" % NO_SNIFFING

INVALID = "the request is not valid HTTP/1.1"

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _Refused(Exception):  # noqa: N818  (stops the parser; nothing has failed)
    """The request that is being parsed has been refused."""


class Rejects(Protocol):
    """What a connection needs of the application."""

    def reject(self, status: int, message: str, client: str) -> Reply:
        """Count a request that did not arrive completely, and make the response."""


class _Flow(FlowControl):
    """Reading stays paused while input is kept, though uvicorn resumes it for each request."""

    is_held = False

    def resume_reading(self) -> None:
        """Resume, unless input is kept."""
        if not self.is_held:
            super().resume_reading()


class _Transport:
    """A connection's transport, on which a response is never lost by its end.

    What is written after the end is dropped, where uvloop would raise an error. Closing while the
    client still sends would be a reset, so the connection lingers first.
    """

    def __init__(self, transport: asyncio.Transport, connection: "Connection") -> None:
        self.transport = transport
        self.connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def write(self, data: bytes) -> None:
        """Write, unless the connection has ended."""
        if not (self.transport.is_closing() or self.connection.lingering):
            self.transport.write(data)

    def close(self) -> None:
        """Close, in a moment if a body is still arriving."""
        connection = self.connection
        if connection.phase == BODY and not (connection.lost or connection.lingering):
            connection.linger()
        else:
            self.transport.close()


class Connection(HttpToolsProtocol):
    """One client's connection; uvicorn makes it, and calls `shutdown` when the server ends."""

    application: ClassVar[Rejects]
    flow: Any
    cycle: Any  # the latest request: uvicorn's, or what stands in for it

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.phase = NEW
        self.since = self.loop.time()  # of the phase
        self.received = 0  # bytes of the arriving request, without its first step
        self.size = 0  # bytes of the arriving body
        self.backlog = b""  # what was read behind requests that wait
        self.lost = False  # the connection is closed
        self.half_closed = False  # the client sends no more
        self.upgrading = False  # the arriving request asks for another protocol
        self.refused = False  # further input is discarded
        self.lingering = False  # everything is sent, but the client may not have seen it
        self.stalled_since = 0.0  # when the client last stopped reading
        self.closing_since = 0.0  # since when all is sent and the connection is closing
        self.ending = False  # the server ends, and the TLS handshake is not over

    # What the transport calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(_Transport(transport, self))  # type: ignore[arg-type]
        self.flow = _Flow(self.transport)
        socket = transport.get_extra_info("socket")
        if self.client is not None:
            self.client = (self.client[0].removeprefix(MAPPED), self.client[1])
        else:
            self.client = UNIX if socket is not None and socket.family == AF_UNIX else LEFT
        if self.ending:
            self.shutdown()

    @property
    def is_in_handshake(self) -> bool:
        """Whether the TLS handshake is not over, if it has not failed."""
        return self.transport is None

    def connection_lost(self, exc: Exception | None) -> None:
        """End; running requests find out by `is_gone`."""
        self.lost = True
        super().connection_lost(exc)
        self.pipeline.clear()
        self.cycle = None  # leaves no cycle of references

    def eof_received(self) -> bool:  # type: ignore[override]
        """Go on with requests whose client sends no more, if the client is still there.

        One that has left altogether resets the connection when it is sent something.
        """
        is_cut_short = self.phase in (HEADERS, BODY) and not self.refused
        is_alone = self.phase == BODY and not self.pipeline and is_cut_short
        if self.lingering or self.scheme == "https" or not self._is_busy() or is_alone:
            self.phase = IDLE  # nothing more arrives: no reason to linger
            return False
        self.half_closed = True
        if is_cut_short:
            self.refuse(400, "the request is cut short")
        elif self.scope["http_version"] == "1.1" and not (self.pipeline or self._has_started()):
            self.transport.write(CONTINUE)
        return True

    @property
    def client_address(self) -> str:
        """Its address, for the log."""
        return (self.client or LEFT)[0]

    def forwarded_address(self, forwarded: bytes) -> str:
        """The client's address, for the log, as a trusted proxy names it in X-Forwarded-For."""
        own = self.client_address
        if isinstance(self.app, ProxyHeadersMiddleware) and own in self.app.trusted_hosts:
            named, _ = self.app.trusted_hosts.get_trusted_client_address(
                forwarded.decode("latin-1")
            )
            return named or own
        return own

    def is_gone(self) -> bool:
        """Whether the client has left."""
        if self.lost or not self.half_closed:
            return self.lost
        poll = select.poll()  # the event loop no longer looks, as there is nothing to read
        poll.register(self.transport.get_extra_info("socket"), 0)
        return bool(poll.poll(0))  # an error or a hang-up is always reported

    def pause_writing(self) -> None:
        """Send no more while the client does not read, until `write_timeout`."""
        self.stalled_since = self.loop.time()
        super().pause_writing()

    def data_received(self, data: bytes) -> None:
        """Parse, but no more while requests wait for their turn."""
        if self.backlog:
            self._keep(data)
        elif len(data) <= STEP and not self.pipeline:
            self._parse(data)
        else:
            self._take(data)

    def _take(self, data: bytes) -> None:
        for start in range(0, len(data), STEP):
            if self.pipeline:
                self._keep(data[start:])
                return
            self._parse(data[start : start + STEP])

    def _keep(self, data: bytes) -> None:
        self.backlog += data
        self.flow.pause_reading()
        self.flow.is_held = True

    def _continue(self) -> None:
        """Parse what has been kept."""
        data, self.backlog = self.backlog, b""
        self.flow.is_held = False
        if not self.transport.is_closing():
            self._take(data)
            if not self.pipeline:
                self.flow.resume_reading()

    def _parse(self, data: bytes) -> None:
        """Feed the parser, which calls the methods `on_...`."""
        if self.refused:
            return
        self.received += len(data)
        try:
            while data:
                try:
                    self.parser.feed_data(data)
                    break
                except httptools.HttpParserUpgrade as stop:
                    data = self._without_upgrade(data[stop.args[0] :])
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, httptools.HttpParserInvalidURLError):
                self.refuse(400, "the target of the request is not a valid path")
            elif not isinstance(error.__context__, _Refused):
                raise  # a failure of our own
        except httptools.HttpParserError:
            self.refuse(400, INVALID)
        else:
            if self.received > MAX_HEADER_SIZE and not self.refused:
                self._limit()

    def _limit(self) -> None:
        """Check a request that arrives in several reads, and is not small.

        The framing may be a quarter of the body: each chunk costs time, however small it is.
        """
        if self.phase == HEADERS:
            self._refuse_headers()
        elif self.phase == BODY and 4 * self.received > 5 * (self.size + MAX_HEADER_SIZE):
            self.refuse(400, "the chunks of the body are too small, or its trailer is too large")

    def _refuse_headers(self) -> None:
        self.refuse(431, f"the head is larger than {MAX_HEADER_SIZE} bytes, the most allowed")

    def _without_upgrade(self, rest: bytes) -> bytes:
        """Continue with HTTP/1.1 when the client has asked for another protocol.

        The parser stops after such headers and expects no body. So a new parser reads them again,
        without Upgrade.

        Returns:
            What to parse next.
        """
        self.upgrading = False
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return b"\r\n".join([*lines, b"", rest])

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.phase, self.since = HEADERS, self.loop.time()
        self.received = self.size = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, without the blanks after it: RFC 9112, section 5.1."""
        self.headers.append((name.lower(), value.rstrip(BLANKS)))

    def on_headers_complete(self) -> None:
        """Start the request, on the fast path if it can take that."""
        # `received` lacks the first step, of which the request may be any part.
        if self.received + STEP > MAX_HEADER_SIZE and self._head_size() > MAX_HEADER_SIZE:
            self._refuse_headers()
            raise _Refused
        if self.parser.get_http_version() not in ("1.0", "1.1"):
            self.refuse(400, INVALID)
            raise _Refused
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self.phase, self.upgrading = BODY, True
            return
        if not self.url.startswith(b"/"):
            self._take_host()
        self.start_request()
        self.phase = BODY
        self.headers = []  # trailers are no headers

    def _take_host(self) -> None:
        """Replace the header Host by the host of a target that is a whole URL: RFC 9112, 3.2.2."""
        scheme, mark, rest = self.url.partition(b"://")
        if mark and scheme.lower() in (b"http", b"https"):
            url = httptools.parse_url(self.url)
            others = [header for header in self.headers if header[0] != b"host"]
            if len(others) == len(self.headers) - 1:
                self.headers[:] = [(b"host", re.split(rb"[/?#]", rest, maxsplit=1)[0]), *others]
            query = b"" if url.query is None else b"?" + url.query
            self.url = (url.path or b"/") + query

    def start_request(self) -> None:
        """Start the request whose headers have arrived."""
        if self.parser.get_http_version() == "1.1":  # RFC 9110, section 10.1.1
            expects = [value for name, value in self.headers if name == b"expect"]
            self.expect_100_continue = [one.lower() for one in expects] == [b"100-continue"]
        super().on_headers_complete()
        self.scope["state"]["connection"] = self

    def _head_size(self) -> int:
        """Bytes of the request line and the headers, with colons, blanks and line ends."""
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def on_body(self, body: bytes) -> None:
        """Append a part of the body."""
        self.size += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Finish a request."""
        if not self.upgrading:
            self.phase, self.since = IDLE, self.loop.time()
            self.complete_request()

    def complete_request(self) -> None:
        """Handle the end of a request's body."""
        super().on_message_complete()

    # Responses.

    def on_response_complete(self) -> None:
        """Start the next request, or wait for it.

        Unlike uvicorn, read no more while requests wait, and leave timeouts to `close_if_slow`.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing() or self.lingering:
            return
        self.since = self.loop.time()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        if self.backlog and not self.pipeline:
            self.loop.call_soon(self._continue)
        elif self.half_closed and not self._is_busy():
            self.transport.close()
        elif not self.pipeline:
            self.flow.resume_reading()

    def write(self, reply: Reply, *, keep_alive: bool, head_only: bool = False) -> None:
        """Write a response; without `keep_alive` it is the last one."""
        parts = [STATUS_LINE[reply.status], NO_SNIFFING_LINE]
        for name, value in self.server_state.default_headers:
            parts += (name, b": ", value, b"\r\n")
        for name, value in reply.headers:
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"content-length: %d\r\n" % len(reply.body))
        parts.append(b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
        if not head_only:
            parts.append(reply.body)
        self.transport.write(b"".join(parts))

    def refuse(self, status: int, message: str) -> None:
        """Respond to what is no complete request, after those before it, and close."""
        self.refused = True
        cycle, arriving = self.cycle, self.phase == BODY
        if self.transport.is_closing() or (not arriving and cycle and not cycle.keep_alive):
            return
        if arriving and (cycle.response_complete or self._has_started()):
            self.linger()
            return
        has_method = arriving or status == 431  # else the parser still has an earlier one
        is_head = has_method and self.parser.get_method() == b"HEAD"
        reply = self.application.reject(status, message, self.client_address)
        refusal: Any = _Refusal(self, reply, head_only=is_head)
        queued = arriving and self.pipeline and self.pipeline[0][0] is cycle
        if queued:
            self.pipeline[0] = (refusal, self.app)
        elif arriving:  # its handler is waiting for the rest
            cycle.disconnected = cycle.response_complete = True
            cycle.message_event.set()
            refusal.write()
        elif self._is_busy():
            self.pipeline.appendleft((refusal, self.app))
        else:
            refusal.write()
        self.cycle = refusal

    def linger(self) -> None:
        """Close in a moment, and read until then."""
        self.refused = self.lingering = True
        self.since = self.loop.time()
        self.backlog, self.flow.is_held = b"", False
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _is_busy(self) -> bool:
        """Whether a response is still to be written."""
        return bool(self.pipeline) or (self.cycle is not None and not self.cycle.response_complete)

    def _has_started(self) -> bool:
        """Whether the latest request's response has been written in part."""
        return getattr(self.cycle, "response_started", False)

    # The end, and timeouts.

    def shutdown(self) -> None:
        """Close after the response to a started request, or when none has come for a while."""
        self.ending = self.is_in_handshake
        if self.ending:
            return
        if self._is_busy() and not self.lingering:
            self.cycle.keep_alive = False
        if self.phase in (HEADERS, BODY) or self._is_busy() or self.transport.is_closing():
            return
        left = self.since + QUIET_SECONDS[self.phase] - self.loop.time()
        if left > 0:
            self.loop.call_later(left, self.shutdown)
        else:
            self.transport.close()

    def close_if_slow(self, now: float, limits: Settings) -> None:
        """Close the connection if the client has exceeded a timeout."""
        waited = now - self.since
        if self.transport.is_closing() and not self.flow.write_paused:
            self._abort_if_silent(now)
        elif self.lingering:
            if waited > LINGER_SECONDS:
                self.transport.close()
        elif self.flow.write_paused:
            if now - self.stalled_since > limits.write_timeout:
                self.application.reject(
                    408, "the client does not read its answers", self.client_address
                )
                self.transport.abort()
        elif self.pipeline or self.refused:
            return  # the client waits for us
        elif self.phase == BODY:
            if waited > limits.body_timeout:
                self.refuse(408, f"the body did not arrive within {limits.body_timeout:g} s")
        elif self._is_busy():
            return
        elif self.phase == HEADERS:
            if waited > limits.header_timeout:
                self.refuse(408, f"the head did not arrive within {limits.header_timeout:g} s")
        elif waited > (limits.header_timeout if self.phase == NEW else limits.keep_alive_timeout):
            self.transport.close()

    def _abort_if_silent(self, now: float) -> None:
        """End a closing TLS connection whose client does not confirm the end, as most never do.

        Only a socket that takes more has no response left to send.
        """
        socket = self.transport.get_extra_info("socket")
        if self.scheme != "https" or socket is None:  # of TLS it is gone before `connection_lost`
            return
        poll = select.poll()
        poll.register(socket, select.POLLOUT)
        if not self.closing_since or not poll.poll(0):
            self.closing_since = now
        elif now - self.closing_since > LINGER_SECONDS:
            self.transport.abort()


class _Refusal:
    """The response to what is no complete request, in the place of uvicorn's request cycle."""

    def __init__(self, connection: Connection, reply: Reply, *, head_only: bool) -> None:
        self.connection = connection
        self.reply = reply
        self.head_only = head_only
        self.keep_alive = self.response_complete = self.disconnected = False
        self.message_event = asyncio.Event()

    async def run_asgi(self, app: Any) -> None:
        """Write it, when it is its turn."""
        self.write()

    def write(self) -> None:
        """Write it, and close."""
        self.response_complete = True
        if not self.connection.transport.is_closing():
            self.connection.write(self.reply, keep_alive=False, head_only=self.head_only)
            self.connection.linger()


async def close_slow_connections(connections: set[Any], limits: Settings) -> None:
    """Check all connections twice a second, until cancelled."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        now = asyncio.get_running_loop().time()
        for connection in list(connections):
            try:
                connection.close_if_slow(now, limits)
            except Exception:  # else no timeout would be kept any more
                logging.getLogger(__name__).exception("a connection failed, and is closed")
                connection.transport.abort()
