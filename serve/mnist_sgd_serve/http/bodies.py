"""Receives request bodies in bounded memory.

One `BodyBudget` counts all large bodies of the server, from their arrival to the end of their
handler.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter

from starlette.requests import Request

from mnist_sgd_serve.inference import BodyBudget, TooManyBodies
from mnist_sgd_serve.protocol import Kind, RequestError

SMALL_BODY = 32 * 2**10
"""Bytes of a body that is not counted."""


class Upload:
    """A request that has arrived.

    Attributes:
        headers: by name in lower case; repeated ones are joined to a list: RFC 9110, section 5.3.
        started: when it was complete, in the time of `time.perf_counter`.
    """

    def __init__(self, request: Request, body: bytes) -> None:
        self.headers = {
            name: b", ".join(value for other, value in request.headers.raw if other == name)
            for name, _ in request.headers.raw
        }
        self.started = perf_counter()
        self._body = body
        self._connection = getattr(request.state, "connection", None)

    def take_body(self) -> bytes:
        """Give the body away."""
        body, self._body = self._body, b""
        return body

    def is_disconnected(self) -> bool:
        """Whether the client has left."""
        return self._connection is not None and self._connection.is_gone()


@asynccontextmanager
async def received(request: Request, bodies: BodyBudget) -> AsyncIterator[Upload]:
    """Receive the body of a request, and keep it in the budget until the end of the block.

    Raises:
        RequestError: it is larger than allowed, or too many others are in memory.
        starlette.requests.ClientDisconnect: the client has left.
    """
    limit = bodies.max_body
    if int(request.headers.get("content-length", 0)) > limit:
        raise too_large(limit)
    body, held = bytearray(), 0
    try:
        async for part in request.stream():
            body += part
            if len(body) > limit:
                raise too_large(limit)
            if len(body) > SMALL_BODY:
                bodies.held += len(body) - held
                held = len(body)
                if bodies.held > bodies.max_held:
                    raise TooManyBodies
        upload = Upload(request, bytes(body))
        del body
        request.state.call.started = upload.started
        yield upload
    finally:
        bodies.held -= held


def too_large(limit: int) -> RequestError:
    """The error for a body of more than `limit` bytes."""
    return RequestError(f"the body is larger than {limit} bytes, the most allowed", Kind.TOO_LARGE)
