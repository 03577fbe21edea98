"""Who may use a workbench: hosts, origins, and the token.

The token comes once, in the start URL, and becomes a cookie that no other site can send. Programs
send it as a bearer token.
"""

import hmac
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mnist_sgd_serve.http.authentication import Authentication
from mnist_sgd_serve.http.responses import STATUS
from mnist_sgd_serve.http.site import Site
from mnist_sgd_serve.protocol.errors import RequestError

COOKIE = "mnist_sgd_workbench"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; media-src 'self' blob:; frame-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'self'"
)

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": POLICY,
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class Access:
    """What `Site` needs to know, and the token.

    Attributes:
        host: the address that the service is bound to.
        allow_host: further names of the service.
        token: None if there is none.
    """

    host: str
    allow_host: tuple[str, ...] = ()
    token: str | None = None
    cors: tuple[str, ...] = ()


class Guard:
    """Checks each request before the application sees it, and adds headers to its response."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self.access = access
        self.site = Site(access)
        self.authentication = Authentication(access.token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.encode(), value.encode())
                        for name, value in HEADERS.items()
                        if name.encode() not in given
                    ),
                ]
            await send(message)

        try:
            self.site.check(scope)
            if scope["method"] == "GET" and scope["path"] == "/" and self._has_token(scope):
                response = RedirectResponse(".", 303)
                response.set_cookie(
                    COOKIE, self.access.token or "", httponly=True, samesite="strict", path="/"
                )
                await response(scope, receive, with_headers)
                return
            if not self._is_known(scope):
                self.authentication.check(_header(scope, b"authorization"))
        except RequestError as error:
            refused = JSONResponse({"error": str(error)}, STATUS[error.kind])
            if refused.status_code == 401:
                refused.headers["www-authenticate"] = "Bearer"
            await refused(scope, receive, with_headers)
            return
        await self.app(scope, receive, with_headers)

    def _has_token(self, scope: Scope) -> bool:
        """Whether the start URL has the token."""
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        return self.access.token is not None and _is_equal(given, self.access.token)

    def _is_known(self, scope: Scope) -> bool:
        """Whether the request has the cookie."""
        if self.access.token is None:
            return True
        try:
            cookies = SimpleCookie(Headers(scope=scope).get("cookie", ""))
        except CookieError:
            return False
        return COOKIE in cookies and _is_equal(cookies[COOKIE].value, self.access.token)


def _is_equal(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")
