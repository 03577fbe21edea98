"""The HTTP status of each kind of error."""

from mnist_sgd_serve.http.messages import JSON, Headers, Response
from mnist_sgd_serve.protocol import Kind, error_body

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
    Kind.OVERLOADED: 503,
    Kind.SHUTTING_DOWN: 503,
    Kind.TIMEOUT: 504,
}

_HEADERS: dict[int, Headers] = {
    401: [(b"www-authenticate", b"Bearer")],
    503: [(b"retry-after", b"1")],
}


def error_response(status: int, message: str, headers: Headers) -> Response:
    """Make an error response: JSON with a sentence."""
    return Response(error_body(message), [*JSON, *_HEADERS.get(status, []), *headers], status)
