"""gRPC's health checks, for load balancers and Kubernetes: serving until shutdown begins.

Source: grpc/grpc, doc/health-checking.md.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc

from mnist_sgd_serve.protocol import RequestError
from mnist_sgd_serve.rpc.calls import CODES, MessageReceiver
from mnist_sgd_serve.rpc.messages import message_class, parse_small
from mnist_sgd_serve.rpc.service import SERVICE

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3

MAX_WATCHING = 1024
"""Calls that may watch the status. One more ends the oldest of the connection that has the most, if
that has more than its own connection would have; else it is rejected."""

TOO_MANY = f"{MAX_WATCHING} calls watch the health already"

_REQUEST = message_class("grpc.health.v1.HealthCheckRequest")
_RESPONSE = message_class("grpc.health.v1.HealthCheckResponse")


class _Watch:
    """A call that waits for the status to change.

    Attributes:
        client: its connection.
        over: set when there is nothing more to wait for.
        given_up: it has to make room for another.
    """

    def __init__(self, client: str) -> None:
        self.client = client
        self.over = asyncio.Event()
        self.given_up = False


class Health:
    """The health service; the server and its one inference service have the same status."""

    def __init__(self, receiver: MessageReceiver) -> None:
        self.receiver = receiver
        self._draining = False
        self._watches: dict[_Watch, None] = {}  # in the order in which they began

    def drain(self) -> None:
        """Report NOT_SERVING from now on."""
        self._draining = True
        for watch in self._watches:
            watch.over.set()

    @property
    def handler(self) -> Any:
        """The service's handler for a gRPC server."""
        return grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health",
            {
                "Check": grpc.stream_unary_rpc_method_handler(self._check),
                "Watch": grpc.stream_stream_rpc_method_handler(self._watch),
            },
        )

    async def _check(self, _: object, context: Any) -> bytes:
        status = await self._status(context)
        if status == SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service here")
        return _response(status)

    async def _watch(self, _: object, context: Any) -> AsyncIterator[bytes]:
        """Stream the status, and its only change, at shutdown."""
        watch = _Watch(context.peer())
        if not self._make_room(watch.client):
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, TOO_MANY)
        self._watches[watch] = None
        try:
            status = await self._status(context)
            yield _response(status)
            if status != NOT_SERVING:
                await watch.over.wait()
            if watch.given_up:
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, TOO_MANY)
            if status == SERVING:
                yield _response(NOT_SERVING)
        finally:
            self._watches.pop(watch, None)

    def _make_room(self, client: str) -> bool:
        """Make room for one more watch of a client; False if there is none."""
        if len(self._watches) < MAX_WATCHING:
            return True
        counts = Counter(watch.client for watch in self._watches)
        oldest = max(self._watches, key=lambda watch: counts[watch.client])
        if counts[oldest.client] <= counts[client] + 1:
            return False
        del self._watches[oldest]
        oldest.given_up = True
        oldest.over.set()
        return True

    async def _status(self, context: Any) -> int:
        """Receive a request, and return the status of its service."""
        try:
            service = parse_small(
                _REQUEST, await self.receiver.receive(context, is_open=True)
            ).service
        except RequestError as error:
            await context.abort(CODES[error.kind], str(error))
        if service not in ("", SERVICE):
            return SERVICE_UNKNOWN
        return NOT_SERVING if self._draining else SERVING


def _response(status: int) -> bytes:
    content: bytes = _RESPONSE(status=status).SerializeToString()
    return content
