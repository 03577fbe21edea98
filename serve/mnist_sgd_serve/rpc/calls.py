"""What all calls have in common: how their message arrives, and what their failures are called."""

import asyncio
from typing import Any

import grpc
import grpc.aio

from mnist_sgd_serve.protocol import RequestError

__all__ = ["CODES", "Receiver"]

CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.INVALID_ARGUMENT,  # not RESOURCE_EXHAUSTED: to try again is no use
    499: grpc.StatusCode.CANCELLED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.RESOURCE_EXHAUSTED,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""What an HTTP status is called here."""

LAST_SECONDS = 0.5
"""For messages to arrive when the server ends."""


class Receiver:
    """Receives the one message of each call, with a deadline.

    Left alone, gRPC waits for it as long as the client stays connected. So every method is
    registered as one that takes a stream, which lets its handler do the waiting; on the wire the
    two are the same.

    Args:
        seconds: for a message to arrive.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._limits: set[asyncio.Timeout] = set()
        self._ending = False

    async def receive(self, context: Any) -> bytes:
        """The bytes of a call's message.

        Raises:
            RequestError: 408, it did not arrive in time; 400, the call has none.
            grpc.aio.AbortError: it did not arrive before the end; the client has been told.
        """
        limit = asyncio.timeout(LAST_SECONDS if self._ending else self.seconds)
        self._limits.add(limit)
        try:
            async with limit:
                message = await context.read()
        except TimeoutError as error:
            if self._ending:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is shutting down")
            text = f"the message did not arrive within {self.seconds:g} s"
            raise RequestError(408, "slow_client", text) from error
        finally:
            self._limits.discard(limit)
        if message is grpc.aio.EOF:
            raise RequestError(400, "no_message", "the call has no message")
        content: bytes = message
        return content

    def end(self) -> None:
        """Wait only for messages that are on their way."""
        self._ending = True
        last = asyncio.get_running_loop().time() + LAST_SECONDS
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(last)
