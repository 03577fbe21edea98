"""The gRPC server of one worker, in the event loop of its HTTP side.

A call's way to its answer is that of an exchange over HTTP. But its message is received on that
way, after the token has been looked at: a stranger's is not received at all. Messages reach the
handlers as bytes and are read there, so that what is no message is refused like any bad request.
"""

import asyncio
import dataclasses
import time
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import orjson

from mnist_sgd_serve.http.application import Application
from mnist_sgd_serve.http.exchange import Answer, Exchange, Route
from mnist_sgd_serve.logs import Log
from mnist_sgd_serve.metrics import Metrics
from mnist_sgd_serve.process.listening import SETTLE_SECONDS, own_listeners, turn_away
from mnist_sgd_serve.protocol import RequestError
from mnist_sgd_serve.rpc.calls import CODES, BodyCount, Receiver, code_of
from mnist_sgd_serve.rpc.farewell import say_goodbye
from mnist_sgd_serve.rpc.health import Health
from mnist_sgd_serve.rpc.service import SERVICE, Service
from mnist_sgd_serve.settings import Settings

__all__ = ["RpcServer"]

MOST_STREAMS = 128
"""Calls of one connection at the same time."""

MOST_CALLS = 4096
"""Calls of all connections at the same time; more are refused by gRPC with RESOURCE_EXHAUSTED."""

QUIET_SECONDS = 0.5
"""For which no call must have come or run before the server ends: one may be on the way."""

MOST_QUIET_SECONDS = 5.0
"""After which it ends although calls keep coming."""

LEAVE_SECONDS = 1.0
"""For answers to be sent and clients to leave, when all calls are answered and the server ends."""


class RpcServer:
    """A gRPC server of the inference service and of health checks.

    Args:
        settings: of the server; the port must be given.
        service: answers the calls.
        metrics: counts them.
        log: is told of failures, and of every call if the settings say so.
        bodies: counts the bytes of all large bodies, those of HTTP too.
    """

    def __init__(
        self,
        settings: Settings,
        service: Service,
        metrics: Metrics,
        log: Log,
        bodies: BodyCount | None = None,
    ) -> None:
        self.settings = settings
        routes = {path: self._receiving(route) for path, route in service.routes.items()}
        self.methods = list(routes)
        self.application = Application(settings, routes.__getitem__, metrics, log)
        self.receiver = Receiver(settings.body_seconds, bodies or self.application)
        self.health = Health(self.receiver)
        self.server: Any = None
        self.port = 0  # that it listens on
        self.running = 0  # calls
        self.quiet_since = 0.0  # when the last call ended

    async def start(self) -> str:
        """Listen, and give the address.

        Raises:
            OSError: the port cannot be bound.
        """
        host, port = self.settings.host, self.settings.grpc_port
        host = f"[{host}]" if ":" in host else host
        self.server = grpc.aio.server(
            options=_options(self.settings), maximum_concurrent_rpcs=MOST_CALLS
        )
        methods = {
            path.decode().rpartition("/")[2]: grpc.stream_unary_rpc_method_handler(self._call(path))
            for path in self.methods
        }
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, methods), self.health.handler)
        )
        try:
            bound = self.server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise OSError(f"cannot listen on {host}:{port} for gRPC") from error
        await self.server.start()
        self.port = bound
        return f"{host}:{bound}"

    def drain(self) -> None:
        """Tell who asks for its health that the server will end."""
        self.health.drain()

    async def stop(self, grace: float) -> None:
        """Take no more calls, and wait for those that run, at most `grace` seconds.

        Clients are told first, so that none of their calls arrives in vain. gRPC would also wait
        for every client to say that it has seen the end, and a client that has stalled never does.
        When all calls are answered it is given a moment and no more.
        """
        self.drain()
        for listener in own_listeners(self.port):
            turn_away(listener)
        await asyncio.sleep(SETTLE_SECONDS)  # gRPC accepts, in threads of its own, what waits
        self.receiver.end()
        if say_goodbye(self.port):
            await self._wait_for_quiet(min(grace, MOST_QUIET_SECONDS))
        stopping = asyncio.create_task(self.server.stop(grace))
        while self.running and not stopping.done():
            await asyncio.sleep(0.05)
        await asyncio.wait([stopping], timeout=LEAVE_SECONDS)
        if not stopping.done():
            await self.server.stop(None)
        await stopping

    async def _wait_for_quiet(self, most: float) -> None:
        """Wait until no call has come for a while."""
        begun = self.quiet_since = time.monotonic()
        while True:
            now = time.monotonic()
            quiet = not self.running and now - self.quiet_since >= QUIET_SECONDS
            if quiet or now - begun >= most:
                return
            await asyncio.sleep(0.05)

    def _receiving(self, route: Route) -> Route:
        """A route whose handler receives the message before it is answered."""

        async def handler(exchange: Exchange) -> Answer:
            assert isinstance(exchange, _Call)
            try:
                exchange.body = await self.receiver.receive(exchange.context, is_open=route.open)
                exchange.started = time.perf_counter()
                return await self._held(route, exchange)
            except RequestError as error:
                exchange.code = code_of(error)
                raise

        return dataclasses.replace(route, handler=handler)

    async def _held(self, route: Route, exchange: Exchange) -> Answer:
        """Answer a call whose message is counted meanwhile."""
        held = self.receiver.hold(exchange.body)
        try:
            return await route.handler(exchange)
        finally:
            self.receiver.bodies.held -= held
            exchange.body = b""  # gRPC may keep the call until the garbage collector comes

    def _call(self, path: bytes) -> Any:
        async def call(_: object, context: Any) -> bytes:
            exchange = _exchange(path, context)
            self.running += 1
            try:
                answer = await self.application.answer(exchange)
            finally:
                self.running -= 1
                self.quiet_since = time.monotonic()
            if answer.status != 200:
                code = exchange.code or CODES[answer.status]
                await context.abort(code, orjson.loads(answer.body)["error"])
            return answer.body

        return call


@dataclass(slots=True)
class _Call(Exchange):
    """A call as an exchange; its body is there when it has been received.

    Attributes:
        context: gRPC's.
        code: of a request that was refused; an open fault has the code of its status.
    """

    context: Any = None
    code: Any = None


class _Client:
    """What tells whether the caller has left."""

    def __init__(self, context: Any) -> None:
        self.context = context

    @property
    def closed(self) -> bool:
        return bool(self.context.done())


def _exchange(path: bytes, context: Any) -> _Call:
    metadata = dict(context.invocation_metadata() or ())
    head = {
        name.encode(): metadata[name].encode()
        for name in ("authorization", "x-request-id")
        if name in metadata
    }
    client, now = _Client(context), time.perf_counter()
    return _Call(b"POST", path, b"", head, b"", client, now, context=context)


def _options(settings: Settings) -> list[tuple[str, int]]:
    milliseconds = 1000
    return [
        ("grpc.max_receive_message_length", min(settings.max_body, 2**31 - 1)),
        # It would unpack a message before anybody has asked for it, however long that takes.
        ("grpc.per_message_decompression", 0),
        ("grpc.max_send_message_length", -1),
        # Else a client may send megabytes for each call before anybody asks for its message.
        ("grpc.http2.bdp_probe", 0),
        # Of one connection; a client that wants more lets the next ones wait.
        ("grpc.max_concurrent_streams", MOST_STREAMS),
        ("grpc.so_reuseport", 1),  # so workers share the port
        # A client that has gone without a word, or that never says what it wants, is let go.
        ("grpc.server_handshake_timeout_ms", int(settings.head_seconds * milliseconds)),
        ("grpc.max_connection_idle_ms", int(settings.idle_seconds * milliseconds)),
        ("grpc.keepalive_time_ms", int(settings.idle_seconds * milliseconds)),
        ("grpc.keepalive_timeout_ms", int(settings.head_seconds * milliseconds)),
    ]
