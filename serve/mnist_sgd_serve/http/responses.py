"""Responses: the status of each kind of error, and its JSON body.

Every response that is not 2xx is JSON, `{"error": "..."}`, in plain words. A failure of the
server's own is logged with its traceback, of which the client sees nothing.
"""

from dataclasses import dataclass, field

from mnist_sgd_serve.protocol import Kind, describe, error_body

Headers = list[tuple[bytes, bytes]]

NO_SNIFFING = (b"x-content-type-options", b"nosniff")
"""Of every response: no browser is to guess another type."""

JSON: Headers = [(b"content-type", b"application/json")]

CLIENT_CLOSED_REQUEST = 499
"""Counted and logged, as nginx does, but never sent: nobody is there to read it."""

STATUS = {
    Kind.BAD_REQUEST: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.NOT_OFFERED: 404,
    Kind.METHOD_NOT_ALLOWED: 405,
    Kind.SLOW_CLIENT: 408,
    Kind.TOO_LARGE: 413,
    Kind.DECOMPRESSED_TOO_LARGE: 413,
    Kind.UNSUPPORTED: 415,
    Kind.NO_INK: 422,
    Kind.CLIENT_DISCONNECTED: CLIENT_CLOSED_REQUEST,
    Kind.FAILED: 500,
    Kind.UNKNOWN_CODING: 501,
    Kind.OVERLOADED: 503,
    Kind.SHUTTING_DOWN: 503,
    Kind.TIMEOUT: 504,
}

_HEADERS: dict[int, Headers] = {
    401: [(b"www-authenticate", b"Bearer")],
    503: [(b"retry-after", b"1")],
}


@dataclass(slots=True)
class Reply:
    """A whole response. Content-Length is added when it is written.

    Attributes:
        error: the message of its JSON, if it is an error.
        failure: the exception, if the server is to blame.
    """

    body: bytes
    status: int = 200
    headers: Headers = field(default_factory=lambda: JSON)
    error: str | None = None
    failure: Exception | None = None


def error_reply(status: int, message: str, *headers: tuple[bytes, bytes]) -> Reply:
    """Make an error response."""
    given = [*JSON, *_HEADERS.get(status, []), *headers]
    return Reply(error_body(message), status, given, message)


def reply_to(error: Exception) -> Reply:
    """Make the response to a request that has failed."""
    kind, message = describe(error)
    reply = error_reply(STATUS[kind], message)
    reply.failure = error if kind is Kind.FAILED else None
    return reply
