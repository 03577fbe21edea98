"""HTTP/1.1 as httptools parses it, with limits.

A request that is too large is rejected as soon as that is known; the rest of it is read and
discarded, so that the client sees why. Memory is bounded: request line and headers by
`MAX_HEADER_SIZE`, a body by `max_body`, its framing relative to its size, and all bodies that are
arriving or wait for their responses by one `BodyBudget`.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, ClassVar, Protocol

import httptools

from mnist_sgd_serve.http.messages import KEPT_HEADERS, Request, Response
from mnist_sgd_serve.inference import BodyBudget, TooManyBodies

MAX_HEADER_SIZE = 32 * 2**10
"""Bytes of a request line with its headers. A larger body counts in the `BodyBudget`."""

HEADER_TOO_LARGE = f"the head is larger than {MAX_HEADER_SIZE} bytes, the most allowed"

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

NEW, IDLE, HEADERS, BODY = range(4)
"""What a client is sending: nothing yet; nothing, between two requests; headers; a body."""


class Handles(Protocol):
    """What a connection needs of the application."""

    def handle(self, request: Request) -> Coroutine[Any, Any, Response]:
        """Respond to a request; never raises."""

    def reject(self, status: int, message: str) -> Response:
        """Respond to a request that did not arrive completely."""


class Admits(Protocol):
    """What a connection needs of the service.

    Attributes:
        bodies: what may be in memory.
        draining: the server is about to end.
    """

    bodies: BodyBudget
    draining: bool


class HttpProtocol(asyncio.Protocol):
    """Parses incoming bytes into requests; the subclass handles them."""

    application: ClassVar[Handles]
    service: ClassVar[Admits]

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.parser = httptools.HttpRequestParser(self)
        self.transport: asyncio.Transport
        self.closed = False
        self.phase = NEW
        self.since = loop.time()  # of the phase
        self.body: bytes | bytearray = b""
        self.received = 0  # bytes of the arriving request, without its first read
        self.held = 0  # bytes of the arriving body in the budget
        self.rejected = False  # the arriving request has its response already
        self.upgrade = False  # it asks for another protocol
        self.keep_alive = True
        self.broken = False  # further input is ignored

    def enqueue(self, item: Request | Response) -> None:
        """Take a request that has arrived, or the response to a rejected one."""
        raise NotImplementedError

    def reject_and_close(self, status: int, message: str) -> None:
        """Respond to what is no request, after the requests before it, and close."""
        raise NotImplementedError

    def rejected_body_done(self) -> None:
        """Handle the end of a rejected request."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        """Parse; the parser calls the methods `on_...`."""
        if self.broken:
            return
        self.received += len(data)
        while data:
            try:
                self.parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as stop:
                data = self.ignore_upgrade(data[stop.args[0] :])
            except httptools.HttpParserCallbackError:
                raise  # a failure of our own
            except httptools.HttpParserError:
                self.reject_and_close(400, "the request is not valid HTTP/1.1")
                return
        if self.received > MAX_HEADER_SIZE:
            self.limit()

    def ignore_upgrade(self, rest: bytes) -> bytes:
        """Continue with HTTP/1.1 when the client has asked for another protocol.

        The parser stops after such headers and expects no body. So a new parser reads them again,
        without Upgrade.

        Returns:
            What to parse next.
        """
        if not self.upgrade:  # CONNECT, which has been rejected: discard what follows
            self.broken = True
            return b""
        self.upgrade = False
        lines = [b"%s %s HTTP/1.1" % (self.parser.get_method(), self.target)]
        lines += [b"%s: %s" % header for header in self.headers.items() if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        return b"\r\n".join([*lines, b"", rest])

    def limit(self) -> None:
        """Check a request that arrives in several reads, and is not small.

        The framing may be a quarter of the body: each chunk costs time, however small it is.
        """
        if self.phase == HEADERS:
            self.reject_and_close(431, HEADER_TOO_LARGE)
        elif self.phase == BODY and 4 * self.received > 5 * (self.size + MAX_HEADER_SIZE):
            self.reject_and_close(
                400, "the chunks of the body are too small, or its trailer is too large"
            )
        elif self.phase == BODY and not self.rejected:
            self.account_body(self.size)
            if self.service.bodies.held > self.service.bodies.max_held:
                self.reject(503, str(TooManyBodies()))

    def account_body(self, size: int) -> None:
        """Count `size` bytes of the arriving body in the budget."""
        self.service.bodies.held += size - self.held
        self.held = size

    def reject(self, status: int, message: str) -> None:
        """Respond to a request that is still arriving, and discard the rest of it."""
        self.rejected = True
        self.body = b""
        self.account_body(0)
        self.enqueue(self.application.reject(status, message))

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Handle the beginning of a request."""
        self.phase, self.since = HEADERS, self.loop.time()
        self.received = self.size = self.header_size = 0
        self.target = b""
        self.headers: dict[bytes, bytes] = {}
        self.body = b""

    def on_url(self, url: bytes) -> None:
        """Append a part of the request's target."""
        self.target += url
        self.header_size += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header that the server uses; join repeated ones to a list: RFC 9110, 5.3."""
        self.header_size += len(name) + len(value) + 4  # with colon, space and line end
        name = name.lower()
        if name in KEPT_HEADERS and self.phase == HEADERS:  # trailers are ignored
            given = self.headers.get(name)
            self.headers[name] = value if given is None else b"%s, %s" % (given, value)

    def on_headers_complete(self) -> None:
        """Reject what is too large already, or wait for the body."""
        self.phase = BODY
        if self.header_size > MAX_HEADER_SIZE:
            self.keep_alive = False
            self.reject(431, HEADER_TOO_LARGE)
        elif b"upgrade" in self.headers and self.parser.should_upgrade():
            self.upgrade = True
        elif int(self.headers.get(b"content-length", b"0")) > self.service.bodies.max_body:
            # After Expect the client may send the body or not: RFC 9110, 10.1.1.
            self.keep_alive = self.keep_alive and b"expect" not in self.headers
            self.reject_body()
        elif self.headers.get(b"expect", b"").lower() == b"100-continue":
            self.transport.write(CONTINUE)

    def on_body(self, body: bytes) -> None:
        """Append a part of the body, unless the request is rejected."""
        self.size += len(body)
        if self.rejected:
            return
        if self.size > self.service.bodies.max_body:
            self.reject_body()
        elif not self.body:
            self.body = body
        else:
            if isinstance(self.body, bytes):
                self.body = bytearray(self.body)
            self.body += body

    def reject_body(self) -> None:
        """Reject a body that is too large."""
        limit = self.service.bodies.max_body
        self.reject(413, f"the body is larger than {limit} bytes, the most allowed")

    def on_message_complete(self) -> None:
        """Hand the request over, unless it is rejected."""
        if self.upgrade:
            return
        self.phase = IDLE
        method = self.parser.get_method()
        if (
            not self.parser.should_keep_alive()
            or method == b"CONNECT"
            # An HTTP/1.0 client would need a Keep-Alive response.
            or (b"connection" in self.headers and self.parser.get_http_version() == "1.0")
        ):
            self.keep_alive = False
        if self.rejected:
            self.rejected = False
            self.rejected_body_done()
            return
        body, self.body = bytes(self.body), b""
        self.account_body(len(body) if len(body) > MAX_HEADER_SIZE else 0)
        held, self.held = self.held, 0  # from here on they are the request's
        path, _, query = self.target.partition(b"?")
        self.enqueue(
            Request(
                method=method,
                path=path,
                query=query,
                headers=self.headers,
                body=body,
                client=self,
                started=time.perf_counter(),
                held=held,
            )
        )
