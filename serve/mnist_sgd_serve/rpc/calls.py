"""What all calls have in common: their status codes, and how their message is received."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from mnist_sgd_serve.inference import BodyBudget, TooManyBodies
from mnist_sgd_serve.protocol import Kind, RequestError

CODES = {
    Kind.BAD_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Kind.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    Kind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Kind.NOT_OFFERED: grpc.StatusCode.UNIMPLEMENTED,
    Kind.METHOD_NOT_ALLOWED: grpc.StatusCode.UNIMPLEMENTED,
    Kind.SLOW_CLIENT: grpc.StatusCode.DEADLINE_EXCEEDED,
    Kind.TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,  # not RESOURCE_EXHAUSTED: a retry is no use
    Kind.DECOMPRESSED_TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,  # as gRPC does itself
    Kind.UNSUPPORTED: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.NO_INK: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.CLIENT_DISCONNECTED: grpc.StatusCode.CANCELLED,
    Kind.FAILED: grpc.StatusCode.INTERNAL,
    Kind.UNKNOWN_CODING: grpc.StatusCode.UNIMPLEMENTED,
    Kind.OVERLOADED: grpc.StatusCode.UNAVAILABLE,  # as Triton says it: clients retry
    Kind.SHUTTING_DOWN: grpc.StatusCode.UNAVAILABLE,
    Kind.TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""The status code of each kind of error."""

LAST_SECONDS = 0.5
"""For messages to arrive when the server ends."""

BRIEF_SECONDS = 0.1
"""In which most messages arrive; one that takes longer counts as large until it is complete."""

MAX_SLOW, MAX_SLOW_OPEN = 8, 2
"""Slow messages at the same time; and those of methods that need no token."""

SMALL_MESSAGE = 32 * 2**10
"""Bytes of a message that does not count in the `BodyBudget`."""


@dataclass(slots=True)
class Call:
    """One call, which the `RequestLog` can log.

    Attributes:
        context: gRPC's.
        path: of its method.
        request_id: the client's id for the call, unchecked; empty if there is none.
        started: when its message was complete, in the time of `time.perf_counter`.
        body: the message.
    """

    context: Any
    path: bytes
    request_id: bytes
    started: float
    body: bytes = b""
    method: bytes = b"POST"

    @property
    def client(self) -> str:
        """The client's address, as gRPC names it."""
        return str(self.context.peer())

    def is_disconnected(self) -> bool:
        """Whether the client has left."""
        return bool(self.context.done())


class _Arriving:
    """A message that is arriving.

    Attributes:
        slow: the slow ones of its kind, oldest first.
        client: its connection.
    """

    def __init__(self, limit: asyncio.Timeout, slow: "_Slow", client: str) -> None:
        self.limit = limit
        self.slow = slow
        self.client = client
        self.given_up = False


class _Slow(dict[_Arriving, None]):
    """Messages that take long to arrive."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def next_to_end(self) -> _Arriving:
        """The oldest message of the connection that has the most."""
        counts = Counter(message.client for message in self)
        return max(self, key=lambda message: counts[message.client])


class MessageReceiver:
    """Receives the one message of each call, with a timeout and a limit on what arrives at once.

    gRPC itself would wait for it as long as the client stays connected. So every method is
    registered as one that takes a stream, whose handler does the waiting; on the wire the two are
    the same.

    gRPC does not report an incomplete message, though all that has arrived of it is in memory. So
    one that takes longer than a moment counts as the largest allowed. When there are too many, the
    oldest of the connection that has the most is given up: a client that opens many calls loses
    its own, and no others. Messages of methods that need no token are limited separately, so that
    clients without the token take no places from those with it.

    Args:
        timeout: seconds for a message to arrive.
        bodies: counts what is in memory.
    """

    def __init__(self, timeout: float, bodies: BodyBudget) -> None:
        self.timeout = timeout
        self.bodies = bodies
        self._arriving: set[_Arriving] = set()
        self._slow, self._slow_open = _Slow(MAX_SLOW), _Slow(MAX_SLOW_OPEN)
        self._ending = False

    async def receive(self, context: Any, *, is_open: bool) -> bytes:
        """Receive the bytes of a call's message.

        Args:
            context: gRPC's, of the call.
            is_open: whether its method needs no bearer token.

        Raises:
            RequestError: it did not arrive in time or before the shutdown, the call has none, or
                too many are arriving.
        """
        limit = asyncio.timeout(LAST_SECONDS if self._ending else self.timeout)
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
            raise RequestError("the call has no message")
        received: bytes = content
        return received

    def hold(self, content: bytes) -> int:
        """Count a message in the budget, and return how many bytes to take out after the call.

        Raises:
            TooManyBodies: the budget is exhausted.
        """
        size = len(content) if len(content) > SMALL_MESSAGE else 0
        if size and not self.bodies.has_room(size):
            raise TooManyBodies()
        self.bodies.held += size
        return size

    def end(self) -> None:
        """Wait only briefly for further messages."""
        self._ending = True
        last = asyncio.get_running_loop().time() + LAST_SECONDS
        for message in self._arriving:
            if not message.limit.expired():
                message.limit.reschedule(last)

    def _count_as_slow(self, message: _Arriving) -> None:
        """Count a message as the largest allowed; if that is too much, give up others, or this."""
        size, slow = self.bodies.max_body, message.slow
        while slow and (len(slow) >= slow.limit or not self.bodies.has_room(size)):
            self._give_up(slow.next_to_end())
        if not self.bodies.has_room(size):
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
            return TooManyBodies()
        if self._ending:
            return RequestError("the server is shutting down", Kind.SHUTTING_DOWN)
        text = f"the message did not arrive within {self.timeout:g} s"
        return RequestError(text, Kind.SLOW_CLIENT)
