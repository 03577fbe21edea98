"""gRPC's health checks, for balancers and Kubernetes: serving until the server begins to drain.

Source: grpc/grpc, doc/health-checking.md.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc

from mnist_sgd_serve.protocol import RequestError
from mnist_sgd_serve.rpc.calls import Receiver, code_of
from mnist_sgd_serve.rpc.messages import message_class, parse_small
from mnist_sgd_serve.rpc.service import SERVICE

__all__ = ["Health"]

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3

MOST_WATCHING = 1024
"""Calls that may wait for the status to change: they stay as long as their clients like, and must
leave room for others. One more ends the oldest of the connection that has the most, if that has
more than its own connection would have; else it is refused."""

TOO_MANY = f"{MOST_WATCHING} calls watch the health already"

_REQUEST = message_class("grpc.health.v1.HealthCheckRequest")
_RESPONSE = message_class("grpc.health.v1.HealthCheckResponse")


class _Watch:
    """A call that waits for the status to change.

    Attributes:
        client: the connection that it came by.
        over: there is nothing more to wait for.
        given_up: it has to make room for another.
    """

    def __init__(self, client: str) -> None:
        self.client = client
        self.over = asyncio.Event()
        self.given_up = False


class Health:
    """The status of the server and of its one service, which is the same.

    Args:
        receiver: of the calls' messages.
    """

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self._draining = False
        self._watches: dict[_Watch, None] = {}  # in the order in which they began

    def drain(self) -> None:
        """Say from now on that nothing is serving; it cannot be taken back."""
        self._draining = True
        for watch in self._watches:
            watch.over.set()

    @property
    def handler(self) -> Any:
        """The handler of the service for a gRPC server."""
        return grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health",
            {
                "Check": grpc.stream_unary_rpc_method_handler(self._check),
                "Watch": grpc.stream_stream_rpc_method_handler(self._watch),
            },
        )

    async def _check(self, _: object, context: Any) -> bytes:
        status = await self._asked(context)
        if status == SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service here")
        return _answer(status)

    async def _watch(self, _: object, context: Any) -> AsyncIterator[bytes]:
        """Give the status, and the one to come; a server that drains has no further."""
        watch = _Watch(context.peer())
        if not self._make_room(watch.client):
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, TOO_MANY)
        self._watches[watch] = None
        try:
            status = await self._asked(context)
            yield _answer(status)
            if status != NOT_SERVING:
                await watch.over.wait()
            if watch.given_up:
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, TOO_MANY)
            if status == SERVING:
                yield _answer(NOT_SERVING)
        finally:
            self._watches.pop(watch, None)

    def _make_room(self, client: str) -> bool:
        """End a watch for one more of a client, if need be; False if there is no room for it."""
        if len(self._watches) < MOST_WATCHING:
            return True
        counts = Counter(watch.client for watch in self._watches)
        oldest = max(self._watches, key=lambda watch: counts[watch.client])
        if counts[oldest.client] <= counts[client] + 1:
            return False
        del self._watches[oldest]
        oldest.given_up = True
        oldest.over.set()
        return True

    async def _asked(self, context: Any) -> int:
        """The status of the service that a message asks for."""
        try:
            service = parse_small(
                _REQUEST, await self.receiver.receive(context, is_open=True)
            ).service
        except RequestError as error:
            await context.abort(code_of(error), str(error))
        if service not in ("", SERVICE):
            return SERVICE_UNKNOWN
        return NOT_SERVING if self._draining else SERVING


def _answer(status: int) -> bytes:
    answer: bytes = _RESPONSE(status=status).SerializeToString()
    return answer
