"""What all calls have in common: how their message arrives, and what their failures are called."""

import asyncio
from collections import Counter
from typing import Any, Protocol

import grpc
import grpc.aio

from mnist_sgd_serve.protocol import RequestError
from mnist_sgd_serve.rpc.messages import MessageTooLarge

__all__ = ["CODES", "BodyCount", "Receiver", "ShuttingDown", "code_of"]

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

BRIEF_SECONDS = 0.1
"""In which most messages arrive; one that takes longer counts as large until it is there."""

MOST_SLOW, MOST_SLOW_OPEN = 8, 2
"""Messages that may take longer at the same time; and those of methods that ask for no token."""

SMALL = 32 * 2**10
"""Bytes of a message that is not counted."""


class ShuttingDown(RequestError):  # noqa: N818  (it says all without "Error")
    """The server ends, and the message has not come."""

    def __init__(self) -> None:
        super().__init__(503, "shutting_down", "the server is shutting down")


def code_of(error: RequestError) -> grpc.StatusCode:
    """What a failure is called here."""
    if isinstance(error, ShuttingDown):
        return grpc.StatusCode.UNAVAILABLE
    if isinstance(error, MessageTooLarge):  # as gRPC calls it where nothing is compressed
        return grpc.StatusCode.RESOURCE_EXHAUSTED
    return CODES[error.status]


class BodyCount(Protocol):
    """Counts the bytes of all large bodies, as an `Application` does.

    Attributes:
        max_body: bytes of the largest.
        max_held: bytes that all may have.
        held: bytes that they have now.
    """

    max_body: int
    max_held: int
    held: int


class _Arriving:
    """A message that has not come yet.

    Attributes:
        slow: those of its kind that take long, in the order in which they began.
        client: the connection that it comes by.
    """

    def __init__(self, limit: asyncio.Timeout, slow: "_Slow", client: str) -> None:
        self.limit = limit
        self.slow = slow
        self.client = client
        self.given_up = False


class _Slow(dict[_Arriving, None]):
    """Messages that take long."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def next_to_end(self) -> _Arriving:
        """The oldest of the connection that has the most."""
        counts = Counter(message.client for message in self)
        return max(self, key=lambda message: counts[message.client])


class Receiver:
    """Receives the one message of each call, with a deadline and a bound on what arrives at once.

    Left alone, gRPC waits for it as long as the client stays connected. So every method is
    registered as one that takes a stream, which lets its handler do the waiting; on the wire the
    two are the same.

    gRPC says nothing of a message before it is whole, while up to the largest allowed is in memory.
    So one that takes longer than a moment counts as the largest. When there are too many of them,
    one is given up: of the connection that has the most, the one that has had the most time. So a
    client that opens many calls costs itself its calls, and nobody else. Messages of methods that
    ask for no token are small, and have few places of their own: strangers take none from those who
    have the token.

    Args:
        seconds: for a message to arrive.
        bodies: counts what is in memory.
    """

    def __init__(self, seconds: float, bodies: BodyCount) -> None:
        self.seconds = seconds
        self.bodies = bodies
        self._arriving: set[_Arriving] = set()
        self._slow, self._slow_open = _Slow(MOST_SLOW), _Slow(MOST_SLOW_OPEN)
        self._ending = False

    async def receive(self, context: Any, *, is_open: bool) -> bytes:
        """The bytes of a call's message.

        Args:
            context: gRPC's, of the call.
            is_open: whether its method may be called without the bearer token.

        Raises:
            RequestError: 408, it did not arrive in time; 400, the call has none; 503, too many
                are arriving.
            ShuttingDown: it did not arrive before the end.
        """
        limit = asyncio.timeout(LAST_SECONDS if self._ending else self.seconds)
        message = _Arriving(limit, self._slow_open if is_open else self._slow, context.peer())
        self._arriving.add(message)
        slow = asyncio.get_running_loop().call_later(BRIEF_SECONDS, self._count_as_slow, message)
        try:
            async with limit:
                content = await context.read()
        except TimeoutError as error:
            raise self._why(message) from error
        finally:
            slow.cancel()
            self._arriving.discard(message)
            self._forget(message)
        if content is grpc.aio.EOF:
            raise RequestError(400, "no_message", "the call has no message")
        received: bytes = content
        return received

    def hold(self, content: bytes) -> int:
        """Count a message until its call is over; gives by how much.

        Raises:
            RequestError: 503, there are too many bytes already.
        """
        size = len(content) if len(content) > SMALL else 0
        if size and self.bodies.held + size > self.bodies.max_held:
            raise _too_many()
        self.bodies.held += size
        return size

    def end(self) -> None:
        """Wait only for messages that are on their way."""
        self._ending = True
        last = asyncio.get_running_loop().time() + LAST_SECONDS
        for message in self._arriving:
            if not message.limit.expired():
                message.limit.reschedule(last)

    def _count_as_slow(self, message: _Arriving) -> None:
        """Count a message as the largest allowed; if that is too much, give up others, or it."""
        size, slow = self.bodies.max_body, message.slow
        while slow and (len(slow) >= slow.most or self.bodies.held + size > self.bodies.max_held):
            self._give_up(slow.next_to_end())
        if self.bodies.held + size > self.bodies.max_held:
            self._give_up(message)
        else:
            slow[message] = None
            self.bodies.held += size

    def _give_up(self, message: _Arriving) -> None:
        self._forget(message)
        message.given_up = True
        if not message.limit.expired():
            message.limit.reschedule(0)

    def _forget(self, message: _Arriving) -> None:
        if message in message.slow:
            del message.slow[message]
            self.bodies.held -= self.bodies.max_body

    def _why(self, message: _Arriving) -> RequestError:
        if message.given_up:
            return _too_many()
        if self._ending:
            return ShuttingDown()
        text = f"the message did not arrive within {self.seconds:g} s"
        return RequestError(408, "slow_client", text)


def _too_many() -> RequestError:
    text = "too many large bodies are arriving, try again soon"
    return RequestError(503, "overloaded", text)
