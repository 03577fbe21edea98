"""The gRPC server of one worker, in the event loop of its HTTP side.

Messages reach the handlers as bytes and are read there, so that what is no message is refused like
any other bad request. A call's way from its bytes to its answer is that of an exchange over HTTP.
"""

import asyncio
import time
from typing import Any

import grpc
import grpc.aio
import orjson

from mnist_sgd_serve.application import Application
from mnist_sgd_serve.exchange import Exchange
from mnist_sgd_serve.logs import Log
from mnist_sgd_serve.metrics import Metrics
from mnist_sgd_serve.protocol import RequestError
from mnist_sgd_serve.rpc.calls import CODES, Receiver
from mnist_sgd_serve.rpc.health import Health
from mnist_sgd_serve.rpc.service import SERVICE, Service
from mnist_sgd_serve.settings import Settings

__all__ = ["RpcServer"]


class RpcServer:
    """A gRPC server of the inference service and of health checks.

    Args:
        settings: of the server; the port must be given.
        service: answers the calls.
        metrics: counts them.
        log: is told of failures, and of every call if the settings say so.
    """

    def __init__(self, settings: Settings, service: Service, metrics: Metrics, log: Log) -> None:
        self.settings = settings
        self.service = service
        self.metrics = metrics
        self.application = Application(settings, service.routes.__getitem__, metrics, log)
        self.receiver = Receiver(settings.body_seconds)
        self.health = Health(self.receiver)
        self.server: Any = None

    async def start(self) -> str:
        """Listen, and give the address.

        Raises:
            OSError: the port cannot be bound.
        """
        host, port = self.settings.host, self.settings.grpc_port
        host = f"[{host}]" if ":" in host else host
        self.server = grpc.aio.server(options=_options(self.settings))
        methods = {
            path.decode().rpartition("/")[2]: grpc.stream_unary_rpc_method_handler(self._call(path))
            for path in self.service.routes
        }
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, methods), self.health.handler)
        )
        try:
            bound = self.server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise OSError(f"cannot listen on {host}:{port} for gRPC") from error
        await self.server.start()
        return f"{host}:{bound}"

    def drain(self) -> None:
        """Tell who asks for its health that the server will end."""
        self.health.drain()

    async def stop(self, grace: float) -> None:
        """Take no more calls, and wait for those that run, at most `grace` seconds."""
        self.drain()
        self.receiver.end()
        await self.server.stop(grace)

    def _call(self, path: bytes) -> Any:
        async def call(_: object, context: Any) -> bytes:
            started = time.perf_counter()
            try:
                content = await self.receiver.receive(context)
                answer = await self.application.answer(_exchange(path, content, context))
            except RequestError as error:
                self.metrics.answered("grpc", error.status, time.perf_counter() - started)
                await context.abort(CODES[error.status], str(error))
            except asyncio.CancelledError:  # the client has left, or its own deadline has passed
                self.metrics.answered("grpc", 499, time.perf_counter() - started)
                raise
            if answer.status != 200:
                await context.abort(CODES[answer.status], orjson.loads(answer.body)["error"])
            return answer.body

        return call


class _Client:
    """What tells whether the caller has left."""

    def __init__(self, context: Any) -> None:
        self.context = context

    @property
    def closed(self) -> bool:
        return bool(self.context.done())


def _exchange(path: bytes, content: bytes, context: Any) -> Exchange:
    metadata = dict(context.invocation_metadata() or ())
    head = {
        name.encode(): metadata[name].encode()
        for name in ("authorization", "x-request-id")
        if name in metadata
    }
    return Exchange(b"POST", path, b"", head, content, _Client(context), time.perf_counter())


def _options(settings: Settings) -> list[tuple[str, int]]:
    milliseconds = 1000
    return [
        # Of a packed message too: grpcio stops unpacking there, from 1.83.2 on.
        ("grpc.max_receive_message_length", min(settings.max_body, 2**31 - 1)),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 1),  # so workers share the port
        # A client that has gone without a word, or that never says what it wants, is let go.
        ("grpc.server_handshake_timeout_ms", int(settings.head_seconds * milliseconds)),
        ("grpc.max_connection_idle_ms", int(settings.idle_seconds * milliseconds)),
        ("grpc.keepalive_time_ms", int(settings.idle_seconds * milliseconds)),
        ("grpc.keepalive_timeout_ms", int(settings.head_seconds * milliseconds)),
    ]
