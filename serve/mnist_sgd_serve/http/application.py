"""The ASGI application: checks every request, routes it, and turns its error into a response.

Starlette routes, answers preflight requests, and compresses responses. Requests on the fast path
come by `infer` instead, after `allows_fast`; both ways share the handler, the errors and the log.
"""

import asyncio
from dataclasses import dataclass
from functools import partial
from time import perf_counter

from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mnist_sgd_serve.http.cors import Cors
from mnist_sgd_serve.http.fast_path import FastInference
from mnist_sgd_serve.http.responses import (
    CLIENT_CLOSED_REQUEST,
    NO_SNIFFING,
    Headers,
    Reply,
    error_reply,
    reply_to,
)
from mnist_sgd_serve.http.routes import Routes
from mnist_sgd_serve.http.site import Site
from mnist_sgd_serve.logs import LoggedRequest, RequestLog
from mnist_sgd_serve.protocol import Kind, RequestError, quoted
from mnist_sgd_serve.settings import Settings

CLOSE = (b"connection", b"close")


@dataclass(slots=True)
class Call:
    """One request, for the `RequestLog`.

    Attributes:
        method, path: as sent.
        request_id: the client's id for it, unchecked; empty if there is none.
        client: the client's address.
        started: when it was complete, in the time of `time.perf_counter`.
        route: its name in the metrics.
        reply: the error response, if it failed.
    """

    method: bytes
    path: bytes
    request_id: bytes
    client: str
    started: float
    route: str = "other"
    reply: Reply | None = None


def _check_coding(scope: Scope) -> None:
    """Raise an error for a transfer coding that the parser leaves undone: RFC 9112, section 6.1."""
    coding = b", ".join(value for name, value in scope["headers"] if name == b"transfer-encoding")
    if coding.lower() not in (b"", b"chunked"):
        text = f"Transfer-Encoding must be chunked, got {quoted(coding.decode('latin-1'))}"
        raise RequestError(text, Kind.UNKNOWN_CODING)


class Application:
    """Responds to HTTP requests."""

    def __init__(self, settings: Settings, routes: Routes, requests: RequestLog) -> None:
        self.settings = settings
        self.routes = routes
        self.requests = requests
        self.service = routes.service
        self.bodies = routes.service.bodies
        self.authentication = routes.authentication
        self.site = Site(settings)
        self.root_path = routes.root_path
        compressed = GZipMiddleware(routes, minimum_size=1024, compresslevel=6)
        self._routed: ASGIApp = compressed
        if settings.cors:  # errors become responses inside of it, so that pages can read them
            self._routed = Cors(partial(self._respond, compressed), settings.cors)

    @property
    def draining(self) -> bool:
        """Whether the server is about to end."""
        return self.service.draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to a request, and record it when its response begins."""
        headers = dict(scope["headers"])
        call = Call(
            scope["method"].encode(),
            scope["raw_path"],
            headers.get(b"x-request-id", b""),
            scope["client"][0],
            perf_counter(),
        )
        connection = scope["state"].get("connection")
        scope["state"]["call"] = call
        scope["app"] = self  # so that a route raises an error for a wrong method
        if self.root_path:
            scope["root_path"] = self.root_path
            if not f"{scope['path']}/".startswith(f"{self.root_path}/"):
                scope["path"] = self.root_path + scope["path"]

        async def send_recorded(message: Message) -> None:
            if message["type"] == "http.response.start":
                reply = call.reply or Reply(b"", message["status"])
                gone = connection is not None and connection.is_gone()
                request_id = self._record(call, call.route, reply, gone=gone)
                more: Headers = [NO_SNIFFING]
                if request_id is not None:
                    more.append((b"x-request-id", request_id))
                # After Expect a client that is refused may send its body or not: RFC 9110, 10.1.1.
                is_open = call.reply is None or (b"expect" not in headers and reply.status != 501)
                if self.draining or not is_open or scope["http_version"] == "1.0":
                    more.append(CLOSE)
                message["headers"] = [*message["headers"], *more]
            await send(message)

        try:
            await self._respond(self._check, scope, receive, send_recorded)
        except ClientDisconnect:  # before its request was complete
            if connection is None or not connection.refused:
                self.requests.record(call, call.route, CLIENT_CLOSED_REQUEST, "the client has left")
        except asyncio.CancelledError:
            self._record_cancelled(call, call.route)
            raise

    async def _check(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to a request, unless its Host, its origin or its framing is refused."""
        self.site.check(scope)
        _check_coding(scope)
        await self._routed(scope, receive, send)

    async def _respond(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Run an application, and respond with its error if it raises one."""
        started = False

        async def send_noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await app(scope, receive, send_noted)
        except ClientDisconnect:
            raise
        except Exception as error:
            if started:
                raise
            reply = scope["state"]["call"].reply = self._reply(error, scope)
            response = Response(reply.body, reply.status)
            response.raw_headers += reply.headers
            await response(scope, receive, send)

    def _reply(self, error: Exception, scope: Scope) -> Reply:
        """Make the response to a request that has failed.

        Without the token not even the existence of a path is revealed.
        """
        if not isinstance(error, HTTPException):
            return reply_to(error)
        try:
            self.authentication.check(dict(scope["headers"]).get(b"authorization", b""))
        except RequestError as missing:
            return reply_to(missing)
        if error.status_code == 405:
            allowed = ", ".join(sorted((error.headers or {})["Allow"].split(", ")))
            text = f"{quoted(scope['method'])} is not allowed here: use {allowed}"
            return error_reply(405, text, (b"allow", allowed.encode()))
        return reply_to(self.service.unknown_path(scope["path"].removeprefix(self.root_path)))

    def _record(self, call: LoggedRequest, route: str, reply: Reply, *, gone: bool) -> bytes | None:
        """Count and log a request; as 499 if nobody is there to read the response."""
        status, text, failure = reply.status, reply.error, reply.failure
        reply.failure = None  # it leads to this frame: only the garbage collector frees a cycle
        if gone and failure is None:
            status, text = CLIENT_CLOSED_REQUEST, text or "the client has left"
        return self.requests.record(call, route, status, text, failure)

    def _record_cancelled(self, call: LoggedRequest, route: str) -> None:
        self.requests.record(call, route, CLIENT_CLOSED_REQUEST, "the request was cancelled")

    def reject(self, status: int, message: str, client: str) -> Reply:
        """Count a request that did not arrive completely, and make the response."""
        self.requests.rejected(status, message, client)
        return error_reply(status, message)

    # The fast path.

    def allows_fast(self, path: bytes, headers: dict[bytes, bytes]) -> bool:
        """Whether a POST is for inference, and its sender may make it."""
        length = headers.get(b"content-length")
        return (
            path in self.routes.infer_paths
            and length is not None
            and int(length) <= self.bodies.max_body
            and not self.settings.access_log
            and self.site.allows(headers.get(b"host", b""))
            and self.authentication.allows(headers.get(b"authorization", b""))
        )

    async def infer(self, request: FastInference) -> Reply:
        """Respond to a request on the fast path; never raises."""
        try:
            reply = await self.routes.infer(request)
        except Exception as error:
            reply = reply_to(error)
        except asyncio.CancelledError:
            self._record_cancelled(request, "infer")
            raise
        request_id = self._record(request, "infer", reply, gone=request.is_disconnected())
        if request_id is not None:
            reply.headers = [*reply.headers, (b"x-request-id", request_id)]
        return reply
