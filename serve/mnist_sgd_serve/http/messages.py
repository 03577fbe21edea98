"""HTTP requests and responses as the handlers see them: no socket, no server, no framework."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from mnist_sgd_serve.http.compression import decompress

Headers = list[tuple[bytes, bytes]]

JSON: Headers = [(b"content-type", b"application/json")]

KEPT_HEADERS = frozenset(
    {
        b"access-control-request-method",
        b"authorization",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"expect",
        b"host",
        b"if-none-match",
        b"inference-header-content-length",
        b"origin",
        b"sec-fetch-site",
        b"transfer-encoding",
        b"upgrade",
        b"x-request-id",
    }
)
"""Headers the server uses; all others are dropped."""


class Client(Protocol):
    """The other end of a connection."""

    @property
    def closed(self) -> bool:
        """Whether it has left."""


@dataclass(slots=True)
class Request:
    """One HTTP request.

    Attributes:
        method: as sent.
        path: as sent, without the query.
        query: as sent.
        headers: those in `KEPT_HEADERS`, by name in lower case.
        body: as sent; at most as long as the server allows.
        client: who sent it.
        started: when it was complete, in the time of `time.perf_counter`.
        held: how many bytes of the body are in the `BodyBudget`.
    """

    method: bytes
    path: bytes
    query: bytes
    headers: dict[bytes, bytes]
    body: bytes
    client: Client
    started: float
    held: int = 0

    @property
    def request_id(self) -> bytes:
        """The client's id for the request, unchecked; empty if there is none."""
        return self.headers.get(b"x-request-id", b"")

    def decompressed_body(self, limit: int) -> bytes:
        """Undo the body's Content-Encoding.

        Raises:
            RequestError: the result has more than `limit` bytes, the body is damaged, or its
                encoding is neither gzip nor deflate.
        """
        encoding = self.headers.get(b"content-encoding")
        if encoding is None:
            return self.body
        return decompress(self.body, encoding.decode("latin-1"), limit=limit)

    def is_disconnected(self) -> bool:
        """Whether the client has left."""
        return self.client.closed


@dataclass(slots=True)
class Response:
    """What a handler returns; Content-Length is added when it is written."""

    body: bytes
    headers: Headers = field(default_factory=lambda: JSON)
    status: int = 200


Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """What is at a path.

    Attributes:
        name: one of `metrics.ROUTES`.
        method: b"GET" or b"POST"; GET includes HEAD.
        handler: makes the response.
        open: whether it needs no bearer token.
    """

    name: str
    method: bytes
    handler: Handler
    open: bool = False
