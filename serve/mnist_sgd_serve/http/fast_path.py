"""The fast path of inference: without ASGI, for the requests that high rates consist of.

A POST for inference with a Content-Length and nothing unusual about it is collected here, handled
in a task of its own, and answered by one write. Every other request, and every one that is to be
refused by its headers, is left to the application.
"""

import time
from typing import ClassVar, Protocol

from mnist_sgd_serve.http.bodies import SMALL_BODY
from mnist_sgd_serve.http.connection import Connection
from mnist_sgd_serve.http.responses import Reply
from mnist_sgd_serve.inference import BodyBudget, TooManyBodies

UNUSUAL = frozenset({b"expect", b"origin", b"sec-fetch-site", b"transfer-encoding"})
"""Headers of requests that take the usual way: those of browsers, and of bodies without length."""


class Infers(Protocol):
    """What the fast path needs of the application.

    Attributes:
        bodies: what may be in memory.
    """

    bodies: BodyBudget

    @property
    def draining(self) -> bool:
        """Whether the server is about to end."""

    def allows_fast(self, path: bytes, headers: dict[bytes, bytes]) -> bool:
        """Whether the request is for inference, and its sender may make it."""

    async def infer(self, request: "FastInference") -> Reply:
        """Respond to a request; never raises."""

    def reject(self, status: int, message: str, client: str) -> Reply:
        """Count a request that did not arrive completely, and make the response."""


class FastInference:
    """A request on the fast path, in the place of uvicorn's request cycle.

    Attributes:
        method, path, headers: as sent; names of headers are in lower case.
        body: as sent; it is taken by who needs it.
        started: when it was complete, in the time of `time.perf_counter`.
    """

    __slots__ = (
        "body",
        "connection",
        "disconnected",
        "headers",
        "held",
        "keep_alive",
        "path",
        "response_complete",
        "size",
        "started",
        "task",
    )
    method = b"POST"

    def __init__(
        self, connection: "FastConnection", headers: dict[bytes, bytes], *, keep_alive: bool
    ) -> None:
        self.connection = connection
        self.path = connection.url
        self.headers = headers
        self.keep_alive = keep_alive
        self.body: bytes | bytearray = b""
        self.size = self.held = 0
        self.disconnected = self.response_complete = False
        self.started = 0.0

    @property
    def message_event(self) -> "FastInference":
        """What uvicorn sets when the client has left."""
        return self

    @property
    def request_id(self) -> bytes:
        """The client's id for the request, unchecked; empty if there is none."""
        return self.headers.get(b"x-request-id", b"")

    @property
    def client(self) -> str:
        """The client's address, as a trusted proxy names it."""
        return self.connection.forwarded_address(self.headers.get(b"x-forwarded-for", b""))

    def take_body(self) -> bytes:
        """Give the body away."""
        body, self.body = self.body, b""
        return bytes(body)

    def is_disconnected(self) -> bool:
        """Whether the client has left."""
        return self.connection.is_gone()

    def set(self) -> None:
        """Give up a request whose body will not be complete: uvicorn's `message_event.set()`."""
        if not self.started:
            self.response_complete = True
            self.release()

    def add(self, part: bytes) -> None:
        """Append a part of the body."""
        if self.response_complete:
            return
        if not self.size:
            self.body = part
        else:
            if isinstance(self.body, bytes):
                self.body = bytearray(self.body)  # large blocks go back to the system when freed
            self.body += part
        self.size += len(part)
        if self.size > SMALL_BODY:
            bodies = self.connection.application.bodies
            bodies.held += self.size - self.held
            self.held = self.size
            if bodies.held > bodies.max_held:
                self.body = b""
                self.release()
                reject = self.connection.application.reject
                self.answer(reject(503, str(TooManyBodies()), self.client))

    def complete(self) -> None:
        """Handle the request, which has arrived."""
        if not self.response_complete:
            self.started = time.perf_counter()
            self.task = self.connection.loop.create_task(self.run())

    async def run(self) -> None:
        """Respond."""
        try:
            reply = await self.connection.application.infer(self)
        finally:
            self.release()
        self.answer(reply)

    def release(self) -> None:
        """Take the body out of the budget."""
        self.connection.application.bodies.held -= self.held
        self.held = 0

    def answer(self, reply: Reply) -> None:
        """Write a response, and let the next request begin."""
        self.response_complete = True
        connection = self.connection
        if connection.transport.is_closing():
            return
        keep_alive = self.keep_alive and not connection.application.draining
        connection.write(reply, keep_alive=keep_alive)
        if not keep_alive:
            connection.transport.close()
        connection.on_response_complete()


class FastConnection(Connection):
    """A connection with the fast path."""

    application: ClassVar[Infers]

    def start_request(self) -> None:
        """Start the request whose headers have arrived, on the fast path if it may take that."""
        inference = self._fast_inference()
        if inference is None:
            super().start_request()
        else:
            self.cycle = inference

    def _fast_inference(self) -> FastInference | None:
        parser = self.parser
        if parser.get_method() != b"POST" or self._is_busy():
            return None
        headers = dict(self.headers)
        if (
            len(headers) != len(self.headers)
            or not headers.keys().isdisjoint(UNUSUAL)
            or parser.get_http_version() != "1.1"
            or self.flow.write_paused
            or not self.application.allows_fast(self.url, headers)
        ):
            return None
        return FastInference(self, headers, keep_alive=parser.should_keep_alive())

    def on_body(self, body: bytes) -> None:
        """Append a part of the body."""
        if type(self.cycle) is FastInference:
            self.size += len(body)
            self.cycle.add(body)
        else:
            super().on_body(body)

    def complete_request(self) -> None:
        """Handle the end of a request's body."""
        if type(self.cycle) is FastInference:
            self.cycle.complete()
        else:
            super().complete_request()


def connection_class(application: Infers) -> type[FastConnection]:
    """Make the class of the connections to an application."""
    return type("Connection", (FastConnection,), {"application": application})
