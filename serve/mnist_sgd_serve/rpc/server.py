"""The gRPC server of one worker, in the event loop of its HTTP side.

The token is checked before the message is received. Messages reach the methods as bytes and are
parsed there, so that an invalid one is rejected like any bad request.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from mnist_sgd_serve.http.authentication import Authentication
from mnist_sgd_serve.http.responses import CLIENT_CLOSED_REQUEST, STATUS
from mnist_sgd_serve.inference import InferenceService
from mnist_sgd_serve.logs import RequestLog
from mnist_sgd_serve.process.listening import SETTLE_SECONDS, own_listeners, reject_new
from mnist_sgd_serve.protocol import Kind, describe
from mnist_sgd_serve.rpc.calls import CODES, Call, MessageReceiver
from mnist_sgd_serve.rpc.farewell import say_goodbye
from mnist_sgd_serve.rpc.health import Health
from mnist_sgd_serve.rpc.service import OPEN, SERVICE, Method, Methods
from mnist_sgd_serve.settings import Settings

MAX_STREAMS = 128
"""Calls of one connection at the same time."""

MAX_CALLS = 4096
"""Calls of all connections at the same time; gRPC rejects more with RESOURCE_EXHAUSTED."""

QUIET_SECONDS = 0.5
"""How long no call must have come or run before the server ends: one may be on its way."""

MAX_QUIET_SECONDS = 5.0
"""After which it ends although calls keep coming."""

LEAVE_SECONDS = 1.0
"""For responses to be sent and clients to leave, when all calls are over and the server ends."""


class RpcServer:
    """A gRPC server of the inference service and of health checks."""

    def __init__(self, settings: Settings, service: InferenceService, requests: RequestLog) -> None:
        self.settings = settings
        self.methods = Methods(service)
        self.requests = requests
        self.authentication = Authentication(settings.token)
        self.receiver = MessageReceiver(settings.body_timeout, service.bodies)
        self.health = Health(self.receiver)
        self.server: Any = None
        self.port = 0  # the one it listens on
        self.running = 0  # calls
        self.quiet_since = 0.0  # when the last call ended

    async def start(self) -> str:
        """Listen, and return the address.

        Raises:
            OSError: the port cannot be bound.
        """
        host, port = self.settings.host, self.settings.grpc_port
        host = f"[{host}]" if ":" in host else host
        self.server = grpc.aio.server(
            options=_options(self.settings), maximum_concurrent_rpcs=MAX_CALLS
        )
        methods = {
            name: grpc.stream_unary_rpc_method_handler(self._handler(name, method))
            for name, method in self.methods.table.items()
        }
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, methods), self.health.handler)
        )
        try:
            bound = self._add_port(f"{host}:{port}")
        except RuntimeError as error:
            raise OSError(f"cannot listen on {host}:{port} for gRPC") from error
        await self.server.start()
        self.port = bound
        return f"{host}:{bound}"

    def _add_port(self, address: str) -> int:
        certificate, key = self.settings.tls_cert, self.settings.tls_key
        if certificate is None:
            return int(self.server.add_insecure_port(address))
        pair = (Path(key or certificate).read_bytes(), Path(certificate).read_bytes())
        return int(self.server.add_secure_port(address, grpc.ssl_server_credentials([pair])))

    def drain(self) -> None:
        """Report to health checks that the server is about to end."""
        self.health.drain()

    async def stop(self, grace: float) -> None:
        """Accept no more calls, and wait for the running ones, at most `grace` seconds.

        Clients are told first, so that none of their calls arrives too late; over TLS they cannot
        be, and calls are only answered for as long as none comes for a moment. gRPC would also wait
        for every client to acknowledge the end, which a stalled one never does. So when all calls
        are over it is given a moment and no more.
        """
        self.drain()
        for listener in own_listeners(self.port):
            reject_new(listener)
        await asyncio.sleep(SETTLE_SECONDS)  # gRPC accepts what waits, in its own threads
        self.receiver.end()
        # A TLS connection's bytes are encrypted within gRPC: a frame among them would break it.
        if self.settings.tls_cert is not None or say_goodbye(self.port):
            await self._wait_for_quiet(min(grace, MAX_QUIET_SECONDS))
        stopping = asyncio.create_task(self.server.stop(grace))
        while self.running and not stopping.done():
            await asyncio.sleep(0.05)
        await asyncio.wait([stopping], timeout=LEAVE_SECONDS)
        if not stopping.done():
            await self.server.stop(None)
        await stopping

    async def _wait_for_quiet(self, most: float) -> None:
        """Wait until no call has come for `QUIET_SECONDS`."""
        begun = self.quiet_since = time.monotonic()
        while True:
            now = time.monotonic()
            quiet = not self.running and now - self.quiet_since >= QUIET_SECONDS
            if quiet or now - begun >= most:
                return
            await asyncio.sleep(0.05)

    def _handler(self, name: str, method: Method) -> Any:
        """Make gRPC's handler of a method."""
        path = f"/{SERVICE}/{name}".encode()

        async def handler(_: object, context: Any) -> bytes:
            metadata = dict(context.invocation_metadata() or ())
            request_id = metadata.get("x-request-id", "").encode()
            call = Call(context, path, request_id, time.perf_counter())
            self.running += 1
            try:
                authorization = metadata.get("authorization", "").encode()
                response = await self._handle(call, method, authorization, is_open=name in OPEN)
            finally:
                self.running -= 1
                self.quiet_since = time.monotonic()
            if isinstance(response, bytes):
                return response
            kind, message = response
            await context.abort(CODES[kind], message)
            raise AssertionError("abort raises")

        return handler

    async def _handle(
        self, call: Call, method: Method, authorization: bytes, *, is_open: bool
    ) -> bytes | tuple[Kind, str]:
        """Respond to a call with a message, or with an error; count and log it."""
        try:
            if not is_open:
                self.authentication.check(authorization)
            call.body = await self.receiver.receive(call.context, is_open=is_open)
            call.started = time.perf_counter()
            response = await self._run(call, method)
            self._record(call, 200)
            return response
        except Exception as error:
            kind, message = describe(error)
            self._record(call, STATUS[kind], message, error if kind is Kind.FAILED else None)
            return kind, message
        except asyncio.CancelledError:  # gRPC cancels a call whose client has left
            text = "the request was cancelled"
            self.requests.record(call, "grpc", CLIENT_CLOSED_REQUEST, text)
            raise

    def _record(
        self, call: Call, status: int, message: str | None = None, failure: Exception | None = None
    ) -> None:
        """Count and log a call, and tell its client the id under which it is logged, if any."""
        if failure is None and call.is_disconnected():
            status, message = CLIENT_CLOSED_REQUEST, message or "the client has left"
        request_id = self.requests.record(call, "grpc", status, message, failure)
        if request_id is not None:
            call.context.set_trailing_metadata((("x-request-id", request_id.decode()),))

    async def _run(self, call: Call, method: Method) -> bytes:
        """Run a method, and count the call's message in the budget meanwhile."""
        held = self.receiver.hold(call.body)
        try:
            return await method(call)
        finally:
            self.receiver.bodies.held -= held
            call.body = b""  # gRPC may keep the call until it is garbage-collected


def _options(settings: Settings) -> list[tuple[str, int]]:
    milliseconds = 1000
    return [
        ("grpc.max_receive_message_length", min(settings.max_body, 2**31 - 1)),
        # It would decompress a message before the token is checked, however long that takes.
        ("grpc.per_message_decompression", 0),
        ("grpc.max_send_message_length", -1),
        # Else a client may send megabytes for each call before its message is received.
        ("grpc.http2.bdp_probe", 0),
        # Of one connection; the client queues further calls.
        ("grpc.max_concurrent_streams", MAX_STREAMS),
        ("grpc.so_reuseport", 1),  # workers share the port
        # Closes connections of clients that are gone or never send a call.
        ("grpc.server_handshake_timeout_ms", int(settings.header_timeout * milliseconds)),
        ("grpc.max_connection_idle_ms", int(settings.keep_alive_timeout * milliseconds)),
        ("grpc.keepalive_time_ms", int(settings.keep_alive_timeout * milliseconds)),
        ("grpc.keepalive_timeout_ms", int(settings.header_timeout * milliseconds)),
    ]
