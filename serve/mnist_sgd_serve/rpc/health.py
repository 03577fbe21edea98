"""gRPC's health checks, for balancers and Kubernetes: serving until the server begins to drain.

Source: grpc/grpc, doc/health-checking.md.
"""

import asyncio
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
leave room for others."""

_REQUEST = message_class("grpc.health.v1.HealthCheckRequest")
_RESPONSE = message_class("grpc.health.v1.HealthCheckResponse")


class Health:
    """The status of the server and of its one service, which is the same.

    Args:
        receiver: of the calls' messages.
    """

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self._draining = asyncio.Event()
        self._watching = 0

    def drain(self) -> None:
        """Say from now on that nothing is serving; it cannot be taken back."""
        self._draining.set()

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
        if self._watching >= MOST_WATCHING:
            text = f"{MOST_WATCHING} calls watch the health already"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        self._watching += 1
        try:
            status = await self._asked(context)
            yield _answer(status)
            if status != NOT_SERVING:
                await self._draining.wait()
            if status == SERVING:
                yield _answer(NOT_SERVING)
        finally:
            self._watching -= 1

    async def _asked(self, context: Any) -> int:
        """The status of the service that a message asks for."""
        try:
            service = parse_small(_REQUEST, await self.receiver.receive(context)).service
        except RequestError as error:
            await context.abort(code_of(error), str(error))
        if service not in ("", SERVICE):
            return SERVICE_UNKNOWN
        return NOT_SERVING if self._draining.is_set() else SERVING


def _answer(status: int) -> bytes:
    answer: bytes = _RESPONSE(status=status).SerializeToString()
    return answer
