"""A request and its answer, as the handlers see them: no socket, no server, no framework."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from mnist_sgd_serve.http.compression import decompress

__all__ = ["JSON", "READ", "Answer", "Exchange", "Handler", "Headers", "Route"]

Headers = list[tuple[bytes, bytes]]

JSON: Headers = [(b"content-type", b"application/json")]

READ = frozenset(
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
"""The headers that anything here looks at; the others are not kept."""


class Lost(Protocol):
    """What tells whether a client has left."""

    @property
    def closed(self) -> bool:
        """Whether it has."""


@dataclass(slots=True)
class Exchange:
    """One request.

    Attributes:
        method: as sent.
        path: as sent, without the query.
        query: as sent.
        head: the headers in `READ`, by name in lower case.
        body: as sent; at most as long as the server allows.
        connection: that it came by.
        started: when it was complete, in the time of `time.perf_counter`.
        held: bytes of the body that the server's count of large bodies has.
    """

    method: bytes
    path: bytes
    query: bytes
    head: dict[bytes, bytes]
    body: bytes
    connection: Lost
    started: float
    held: int = 0

    def unpacked(self, limit: int) -> bytes:
        """The body without its compression.

        Raises:
            RequestError: 413, it has more than `limit` bytes; 400 or 415, it is damaged, or
                compressed in another way than gzip or deflate.
        """
        encoding = self.head.get(b"content-encoding")
        if encoding is None:
            return self.body
        return decompress(self.body, encoding.decode("latin-1"), limit=limit)

    def gone(self) -> bool:
        """Whether the client has left."""
        return self.connection.closed


@dataclass(slots=True)
class Answer:
    """What a handler gives; the content's length is added on the way out."""

    body: bytes
    headers: Headers = field(default_factory=lambda: JSON)
    status: int = 200


Handler = Callable[[Exchange], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """What is at a path.

    Attributes:
        name: one of `metrics.ROUTES`.
        method: b"GET" or b"POST"; HEAD goes with GET.
        handler: makes the answer.
        open: whether it may be asked without the bearer token.
    """

    name: str
    method: bytes
    handler: Handler
    open: bool = False
