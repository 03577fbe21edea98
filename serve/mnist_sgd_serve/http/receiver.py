"""From the bytes of a connection to its requests: HTTP/1.1 as httptools parses it, with limits.

A request that is too large is refused as soon as it is known to be; the rest of it is read and
thrown away, so that the client sees why. Memory is bounded: a head by `MAX_HEAD`, a body by the
application's limit, what frames a body by its size, and all bodies that are arriving, or whose
requests are not answered yet, by one count.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, ClassVar, Protocol

import httptools

from mnist_sgd_serve.http.exchange import READ, Answer, Exchange

__all__ = ["BODY", "HEAD", "IDLE", "NEW", "Handles", "Receiver"]

MAX_HEAD = 32 * 2**10
"""Bytes of a request line with its headers. A body of more counts as a large one."""

HEAD_TOO_LARGE = f"the head is larger than {MAX_HEAD} bytes, the most allowed"

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

NEW, IDLE, HEAD, BODY = range(4)
"""What a client is sending: nothing so far; nothing, between two requests; a head; a body."""


class Handles(Protocol):
    """What a connection needs of the application.

    Attributes:
        max_body: bytes of a request's body.
        max_held: bytes of all large bodies that are arriving or wait for their answers.
        held: how many there are now.
        draining: no more requests are welcome.
    """

    max_body: int
    max_held: int
    held: int
    draining: bool

    def answer(self, exchange: Exchange) -> Coroutine[Any, Any, Answer]:
        """Answer a request; never raises."""

    def refuse(self, status: int, message: str) -> Answer:
        """Answer a request that did not arrive whole."""


class Receiver(asyncio.Protocol):
    """The half of a connection that listens; the other half says what becomes of requests."""

    application: ClassVar[Handles]

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.parser = httptools.HttpRequestParser(self)
        self.transport: asyncio.Transport
        self.closed = False
        self.phase = NEW
        self.since = loop.time()  # of the phase
        self.body: bytes | bytearray = b""
        self.received = 0  # bytes of the request that is arriving, but for its first read
        self.held = 0  # what the application's count has of the body that is arriving
        self.refused = False  # it has its answer already
        self.upgrade = False  # it asks for another protocol
        self.keep_alive = True
        self.broken = False  # what comes is not looked at any more

    def enqueue(self, item: Exchange | Answer) -> None:
        """Take a request that has arrived, or the answer to one that is refused."""
        raise NotImplementedError

    def break_off(self, status: int, message: str) -> None:
        """Answer what is no request, after what came before it, and end the connection."""
        raise NotImplementedError

    def arrived(self) -> None:
        """Take note that the last of a refused request has come."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        """Parse, which calls the methods `on_...`."""
        if self.broken:
            return
        self.received += len(data)
        while data:
            try:
                self.parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as stop:
                data = self.stay(data[stop.args[0] :])
            except httptools.HttpParserCallbackError:
                raise  # that is our own failure
            except httptools.HttpParserError:
                self.break_off(400, "the request is not valid HTTP/1.1")
                return
        if self.received > MAX_HEAD:
            self.limit()

    def stay(self, rest: bytes) -> bytes:
        """Go on with HTTP/1.1 where the client has asked for another protocol.

        The parser stops at such a head and expects no body, so that a new one has to read the
        head again, without the wish.

        Returns:
            What is to be parsed next.
        """
        if not self.upgrade:  # CONNECT, which has its answer: what follows is for nobody
            self.broken = True
            return b""
        self.upgrade = False
        lines = [b"%s %s HTTP/1.1" % (self.parser.get_method(), self.target)]
        lines += [b"%s: %s" % header for header in self.head.items() if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        return b"\r\n".join([*lines, b"", rest])

    def limit(self) -> None:
        """Look at a request that comes in several reads, and is not small.

        What frames its body may be a quarter of it: each chunk costs time, however small it is.
        """
        if self.phase == HEAD:
            self.break_off(431, HEAD_TOO_LARGE)
        elif self.phase == BODY and 4 * self.received > 5 * (self.size + MAX_HEAD):
            self.break_off(400, "the chunks of the body are too small, or its trailer is too large")
        elif self.phase == BODY and not self.refused:
            self.hold(self.size)
            if self.application.held > self.application.max_held:
                self.refuse(503, "too many large bodies are arriving, try again soon")

    def hold(self, size: int) -> None:
        """Let the application's count have so many bytes of the body that is arriving."""
        self.application.held += size - self.held
        self.held = size

    def refuse(self, status: int, message: str) -> None:
        """Answer a request that is still arriving, and read the rest of it to no purpose."""
        self.refused = True
        self.body = b""
        self.hold(0)
        self.enqueue(self.application.refuse(status, message))

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin a request."""
        self.phase, self.since = HEAD, self.loop.time()
        self.received = self.size = self.head_size = 0
        self.target = b""
        self.head: dict[bytes, bytes] = {}
        self.body = b""

    def on_url(self, url: bytes) -> None:
        """Take a part of the request's target."""
        self.target += url
        self.head_size += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header that somebody looks at; several of one name are a list: RFC 9110, 5.3."""
        self.head_size += len(name) + len(value) + 4  # with its colon, blank and line end
        name = name.lower()
        if name in READ and self.phase == HEAD:  # what follows a body counts for nothing
            given = self.head.get(name)
            self.head[name] = value if given is None else b"%s, %s" % (given, value)

    def on_headers_complete(self) -> None:
        """Refuse what is too large already, or wait for the body."""
        self.phase = BODY
        if self.head_size > MAX_HEAD:
            self.keep_alive = False
            self.refuse(431, HEAD_TOO_LARGE)
        elif b"upgrade" in self.head and self.parser.should_upgrade():
            self.upgrade = True
        elif int(self.head.get(b"content-length", b"0")) > self.application.max_body:
            # A client that has asked first may send the body now or never: RFC 9110, 10.1.1.
            self.keep_alive = self.keep_alive and b"expect" not in self.head
            self.refuse_body()
        elif self.head.get(b"expect", b"").lower() == b"100-continue":
            self.transport.write(CONTINUE)

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body, unless the request is refused."""
        self.size += len(body)
        if self.refused:
            return
        if self.size > self.application.max_body:
            self.refuse_body()
        elif not self.body:
            self.body = body
        else:
            if isinstance(self.body, bytes):
                self.body = bytearray(self.body)
            self.body += body

    def refuse_body(self) -> None:
        """Refuse a body that is too large."""
        limit = self.application.max_body
        self.refuse(413, f"the body is larger than {limit} bytes, the most allowed")

    def on_message_complete(self) -> None:
        """Hand the request over, unless it is refused."""
        if self.upgrade:
            return
        self.phase = IDLE
        method = self.parser.get_method()
        if (
            not self.parser.should_keep_alive()
            or method == b"CONNECT"
            # To keep it, an HTTP/1.0 client would need to be told so.
            or (b"connection" in self.head and self.parser.get_http_version() == "1.0")
        ):
            self.keep_alive = False
        if self.refused:
            self.refused = False
            self.arrived()
            return
        body, self.body = bytes(self.body), b""
        self.hold(len(body) if len(body) > MAX_HEAD else 0)
        held, self.held = self.held, 0  # from here on it is the request's
        path, _, query = self.target.partition(b"?")
        self.enqueue(
            Exchange(
                method=method,
                path=path,
                query=query,
                head=self.head,
                body=body,
                connection=self,
                started=time.perf_counter(),
                held=held,
            )
        )
