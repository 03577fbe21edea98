"""From an HTTP request to its response: checks, the route's handler, errors.

Every response that is not 2xx is JSON, `{"error": "..."}`, in plain words. A failure of the
server's own is logged with its traceback, of which the client sees nothing. The paths are in
routes.py, who may ask is decided in authentication.py, cors.py and site.py.
"""

import asyncio
from collections.abc import Callable

from mnist_sgd_serve.http.authentication import Authentication
from mnist_sgd_serve.http.cors import Cors
from mnist_sgd_serve.http.messages import Request, Response, Route
from mnist_sgd_serve.http.site import Site
from mnist_sgd_serve.http.status import CLIENT_CLOSED_REQUEST, STATUS, error_response
from mnist_sgd_serve.logs import RequestLog
from mnist_sgd_serve.protocol import Kind, RequestError, describe, quoted
from mnist_sgd_serve.settings import Settings


class MethodNotAllowed(RequestError):  # noqa: N818  (it says all without "Error")
    """The method is not one of those allowed at the path."""

    def __init__(self, given: bytes, allowed: bytes) -> None:
        self.allowed = b"GET, HEAD" if allowed == b"GET" else allowed
        text = f"{quoted(given.decode())} is not allowed here: use {self.allowed.decode()}"
        super().__init__(text, Kind.METHOD_NOT_ALLOWED)


class Application:
    """Responds to HTTP requests."""

    def __init__(
        self, settings: Settings, find: Callable[[bytes], Route], requests: RequestLog
    ) -> None:
        self.find = find
        self.requests = requests
        self.authentication = Authentication(settings.token)
        self.cors = Cors(settings.cors)
        self.site = Site(settings)

    async def handle(self, request: Request) -> Response:
        """Respond to a request; never raises."""
        name, headers = "other", self.cors.headers
        try:
            self.site.check(request)
            response = self.cors.preflight(request)
            if response is None:
                route = self._route(request)
                name = route.name
                _check_method(request.method, route.method)
                response = await route.handler(request)
            status = _outcome(request, response.status)
            left = "the client has left" if status == CLIENT_CLOSED_REQUEST else None
            request_id = self.requests.record(request, name, status, left)
        # The error must not outlive this clause: it leads to this frame, and so to the body, and
        # only the garbage collector could free the cycle.
        except Exception as error:
            kind, message = describe(error)
            allow = [(b"allow", error.allowed)] if isinstance(error, MethodNotAllowed) else []
            response = error_response(STATUS[kind], message, allow)
            status = 500 if kind is Kind.FAILED else _outcome(request, response.status)
            failure = error if kind is Kind.FAILED else None
            request_id = self.requests.record(request, name, status, message, failure)
            del failure
        except asyncio.CancelledError:
            text = "the request was cancelled"
            self.requests.record(request, name, CLIENT_CLOSED_REQUEST, text)
            raise
        if request_id is not None:
            headers = [*headers, (b"x-request-id", request_id)]
        if headers:
            response = Response(response.body, [*response.headers, *headers], response.status)
        return response

    def reject(self, status: int, message: str) -> Response:
        """Respond to a request that did not arrive completely."""
        self.requests.rejected(status, message)
        return error_response(status, message, self.cors.headers)

    def _route(self, request: Request) -> Route:
        """Find the route of a request that has the token, where it needs one.

        Without the token not even the existence of a path is revealed.
        """
        authorization = request.headers.get(b"authorization", b"")
        try:
            route = self.find(request.path)
        except RequestError:
            self.authentication.check(authorization)
            raise
        if not route.open:
            self.authentication.check(authorization)
        return route


def _outcome(request: Request, status: int) -> int:
    """The status to count and to log: 499 if nobody is there to read the response."""
    return CLIENT_CLOSED_REQUEST if request.is_disconnected() else status


def _check_method(given: bytes, allowed: bytes) -> None:
    if given != allowed and not (given == b"HEAD" and allowed == b"GET"):
        raise MethodNotAllowed(given, allowed)
